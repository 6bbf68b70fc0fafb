"""Samples as a network reads them: named data, standardised, or the arrays of a file, as they are."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError, SaoWarning
from sao_cli.base.memory import require_memory
from sao_cli.base.names import check, load
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import DATA
from sao_cli.io.datasets.dataset import Dataset, Labels
from sao_cli.io.formats.numpy_files import NpzFile
from sao_cli.io.output import shown

SPLITS = {"train": "the images to train on", "test": "the images to test on"}
_SUFFIX = ".npz"


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs `x` (N, ...) of real numbers and labels `y` (N,), from 0 to `classes` - 1; of the data of that name."""

    x: NDArray[np.floating]
    y: Labels
    classes: int
    name: str

    @property
    def flat(self) -> NDArray[np.floating]:
        """(N, pixels): each input as a vector, channel by channel, as a chain of matrices reads it."""
        return self.x.reshape(len(self.x), -1)


def load_samples(
    data: str,
    folder: str | None = None,
    count: int | None = None,
    split: str = "train",
    *,
    inputs: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Samples:
    """The first `count` samples (all by default) of named data, or of FILE.npz.

    Named data are float64, (N, channels, side, side), standardised by one mean and deviation a channel of all training
    pixels, as training does; `split` is train or test, and `seed` chooses the digits to test on. Where the network
    reads `inputs` = 1,024 numbers, images of 28 pixels have the border of 2 that training gives them.
    A file has arrays `x` (N, ...), used as they are and never rescaled, and whole numbers `y` (N,); it is one split.

    Raises SaoError for an unknown name, with the nearest; FileError and FormatError for what is missing or damaged;
    MemoryLimitError. Warns where the first `count` have fewer classes than all. O(numbers).

    >>> samples = load_samples("digits", count=100)
    >>> samples.x.shape, samples.flat.shape, samples.classes
    ((100, 1, 8, 8), (100, 64), 10)
    """
    check("split", split, SPLITS)
    if count is not None and count < 1:
        raise SaoError(f"{count} samples: one is the least")
    if data not in DATA and data.lower().endswith(_SUFFIX):
        x, y = _arrays(data)
        return _first(Samples(x, y, int(y.max()) + 1, data), count)
    check("data", data, DATA, f", or a FILE{_SUFFIX} with arrays x and y")
    found = read_dataset(data, folder, seed=seed, progress=progress)
    if inputs is not None and inputs == found.channels * 32**2:
        found = found.bordered()
    return _standardised(found, split, count)


def of_class(samples: Samples, label: int) -> Samples:
    """Those of one class alone. Raises SaoError where there are none of it.

    >>> samples = load_samples("digits", count=100)
    >>> sum(len(of_class(samples, label).y) for label in range(10))
    100
    """
    chosen = samples.y == label
    if not chosen.any():
        raise SaoError(f"none of the {len(samples.y)} samples of {samples.name} is of class {label}; take more samples")
    return Samples(samples.x[chosen], samples.y[chosen], samples.classes, samples.name)


def read_dataset(
    name: str, folder: str | None = None, *, seed: int = 0, download: bool = False, progress: Progress = silent
) -> Dataset:
    """The named data from `folder`, or the digits, whose test images `seed` chooses; `download` fetches by torchvision.

    Raises SaoError, FileError and FormatError, one line each, MemoryLimitError.
    """
    row = DATA[name]
    if row.bundled:
        if folder is not None or download:
            raise SaoError("the digits come with scikit-learn; a data folder and download are for the other data")
        bundled: Dataset = load(row.home)(row, seed)
        return bundled
    if folder is None:
        raise SaoError(f"{name} is read from a local folder; name it by --data-folder")
    home = "nets.training.vision:vision_dataset" if download else row.home
    fetching = {"download": True} if download else {}
    found: Dataset = load(home)(row, Path(folder), progress, **fetching)
    return found


def _standardised(data: Dataset, split: str, count: int | None) -> Samples:
    images, labels = (
        (data.train_images, data.train_labels) if split == "train" else (data.test_images, data.test_labels)
    )
    chosen = images[:count]
    require_memory(3 * 8 * chosen.size, f"{len(chosen)} images of {data.name} in float64", "choose fewer samples")
    mean, spread = data.moments
    return _first(Samples((chosen - mean) / spread, labels, data.classes, data.name), count)


def _first(samples: Samples, count: int | None) -> Samples:
    chosen = Samples(samples.x[:count], samples.y[:count], samples.classes, samples.name)
    seen, there = (len(np.unique(one.y)) for one in (chosen, samples))
    if seen < there:
        told = f"the first {len(chosen.y)} samples of {samples.name} are of {seen} of its {there} classes"
        warnings.warn(f"{told}; more samples would tell of all", SaoWarning, stacklevel=3)
    return chosen


def _arrays(path: str) -> tuple[NDArray[np.floating], Labels]:
    """x and y of a .npz file, checked."""
    file = NpzFile(path)
    if absent := [name for name in ("x", "y") if name not in file.stored]:
        there = ", ".join(sorted(file.stored)[:5]) or "nothing"
        raise FormatError(f"{shown(path)}: it has no array {absent[0]!r}, but {there}; data are x (N, ...) and y (N,)")
    arrays = dict(file.each(["x", "y"]))
    x, y = _inputs(arrays["x"], path), _whole(arrays["y"], path)
    if len(x) != len(y):
        raise FormatError(f"{shown(path)}: {len(x)} inputs in x and {len(y)} labels in y; each input has one label")
    return x, y


def _inputs(x: NDArray[Any], path: str) -> NDArray[np.floating]:
    if x.dtype.kind not in "biuf" or x.ndim < 2 or not x.size:
        told = f"x of {x.dtype} and shape {x.shape}"
        raise FormatError(f"{shown(path)}: {told}; inputs are real numbers, (N, ...), an input each")
    if not np.isfinite(x).all():
        raise FormatError(f"{shown(path)}: x holds {x[~np.isfinite(x)][0]}; every input must be finite")
    if x.dtype in (np.float32, np.float64):
        return x
    require_memory(8 * x.size, f"{shown(path)}: x in float64")
    return x.astype(np.float64)


def _whole(y: NDArray[Any], path: str) -> Labels:
    if y.dtype.kind not in "biuf" or y.ndim != 1 or not y.size:
        raise FormatError(f"{shown(path)}: y of {y.dtype} and shape {y.shape}; labels are whole numbers, (N,)")
    if (wrong := y[(y != np.floor(y)) | (y < 0) | ~(y < 2**53)]).size:
        raise FormatError(f"{shown(path)}: y holds {wrong[0]}; labels are whole numbers from 0")
    return y.astype(np.int64)
