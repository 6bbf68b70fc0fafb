"""CIFAR's binary batches; its other version is pickles, which nothing here unpickles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.names import load
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import DataSet
from sao_cli.io.datasets.dataset import Dataset, Part, dataset_of, missing, require_labels
from sao_cli.io.source import open_source

_IMAGE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_TEN = ([f"data_batch_{number}.bin" for number in range(1, 6)], ["test_batch.bin"])
_HUNDRED = (["train.bin"], ["test.bin"])  # each record has a coarse label first


def read_cifar10(row: DataSet, folder: Path, progress: Progress = silent) -> Dataset:
    """The binary batches of CIFAR-10: one label and 3 x 32 x 32 bytes an image."""
    return _read(row, folder, progress, _TEN, labels=1, classes=10)


def read_cifar100(row: DataSet, folder: Path, progress: Progress = silent) -> Dataset:
    """The binary batches of CIFAR-100: a coarse label, which is passed over, a fine one and 3 x 32 x 32 bytes."""
    return _read(row, folder, progress, _HUNDRED, labels=2, classes=100)


def _read(
    row: DataSet, folder: Path, progress: Progress, names: tuple[list[str], list[str]], labels: int, classes: int
) -> Dataset:
    place = next((one for one in (folder / row.place, folder) if (one / names[0][0]).is_file()), None)
    if place is None:
        return _pickled(row, folder, progress, names[0][0])
    train, test = (_joined([_batch(place / name, labels, classes) for name in part]) for part in names)
    return dataset_of(row.name, train, test)


def _batch(path: Path, labels: int, classes: int) -> Part:
    """The images and labels of one file. Raises FileError, FormatError where it ends within a record."""
    with open_source(path) as source:
        size = source.left() or 0
        record = labels + _PIXELS
        if not size or size % record:
            raise FormatError(f"{path}: {size} bytes, and a record takes {record}: it is cut off, or no such batch")
        data = np.frombuffer(source.read_exactly(size, "its images"), np.uint8).reshape(-1, record)
    require_memory(data.size, f"{path}: its images")
    return data[:, labels:].reshape(-1, *_IMAGE), require_labels(data[:, labels - 1], classes, str(path))


def _joined(parts: list[Part]) -> Part:
    require_memory(2 * sum(images.size for images, _ in parts), "the images of all batches")
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def _pickled(row: DataSet, folder: Path, progress: Progress, name: str) -> Dataset:
    """torchvision's reading of its own version, which checks its sums before it unpickles; an error without it."""
    way_out = f"unpack {row.archive} there (the binary version, https://www.cs.toronto.edu/~kriz/cifar.html)"
    if not (folder / row.pickled).is_dir():
        raise missing(row.name, folder, f"there is no {name} in it, nor in its {row.place}", way_out)
    try:
        data: Dataset = load("nets.training.vision:vision_dataset")(row, folder, progress)
    except SaoError as error:
        said = f"only the pickled version is there, which is never unpickled here ({error})"
        raise missing(row.name, folder, said, way_out) from error
    return data
