"""Data sets that torchvision reads from a local folder, and the augmentation that the paper has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sao_cli.base.errors import FileError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress
from sao_cli.catalog import DataSet
from sao_cli.io.datasets.dataset import Dataset, Images, Part, dataset_of, missing

_MARGIN = 4  # of random crops, as is usual for CIFAR; the paper does not tell


def vision_dataset(row: DataSet, folder: Path, progress: Progress, download: bool = False) -> Dataset:
    """The data of `row` as torchvision reads them from `folder`, and fetches them there where it is told to.

    Raises SaoError without torchvision, FileError where the data are not there or can't be read.
    """
    if not row.vision:
        raise SaoError(f"torchvision can't fetch {row.name}; unpack its archive, and name the folder by --data-folder")
    torchvision = _torchvision()
    return dataset_of(row.name, *(_known(torchvision, row, folder, train, download) for train in (True, False)))


def class_folders(row: DataSet, folder: Path, progress: Progress) -> Dataset:
    """The data of folders `train` and `test`, each with a folder of images for each class, as cinic10 is published.

    Raises as vision_dataset does.
    """
    torchvision = _torchvision()
    parts = [_folder_images(torchvision, row, folder / part, progress) for part in ("train", "test")]
    return dataset_of(row.name, *parts)


def augmented(images: Images, rng: np.random.Generator) -> Images:
    """The images, each shifted by up to 4 pixels, mirrored half the times, and changed by AutoAugment for CIFAR-10.

    Random crop, random horizontal flip and AutoAugment (SAO, section III-D.1). torch's random state is left alone.
    """
    count, _, side, _ = images.shape
    margin = [(0, 0), (0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN)]
    wide = np.pad(images, margin)
    shifts = rng.integers(0, 2 * _MARGIN + 1, size=(count, 2))
    mirrored = rng.random(count) < 0.5
    cut = np.stack([one[:, y : y + side, x : x + side] for one, (y, x) in zip(wide, shifts.tolist(), strict=True)])
    cut[mirrored] = cut[mirrored][..., ::-1]
    transforms = _torchvision().transforms
    policy = transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63 - 1)))
        changed = [policy(one) for one in torch.from_numpy(cut)]
    return np.asarray(torch.stack(changed).numpy())


def _torchvision() -> Any:
    try:
        import torchvision
    except ImportError as error:
        raise SaoError("torchvision reads these data, and is not there: pip install 'sao-cli[vision]'") from error
    except (RuntimeError, OSError) as error:  # what a build for another torch raises
        reason = " ".join(str(error).split())[:100]
        raise SaoError(
            f"torchvision can't be loaded: {reason}; install the version that goes with torch {torch.__version__}"
        ) from error
    return torchvision


def _known(torchvision: Any, row: DataSet, folder: Path, train: bool, download: bool) -> Part:
    try:
        found = getattr(torchvision.datasets, row.vision)(os.fspath(folder), train=train, download=download)
    except (RuntimeError, OSError, ValueError) as error:
        raise _missing(row, folder, error) from error
    images = np.asarray(found.data)
    images = images[:, None] if images.ndim == 3 else np.ascontiguousarray(np.moveaxis(images, 3, 1))
    return images, np.asarray(found.targets, dtype=np.int64)


def _folder_images(torchvision: Any, row: DataSet, folder: Path, progress: Progress) -> Part:
    try:
        found = torchvision.datasets.ImageFolder(os.fspath(folder))
        count = len(found)
        first = np.asarray(found[0][0].convert("RGB"))
        require_memory(2 * count * first.size, f"{count} images")
        images = np.empty((count, *first.shape), dtype=np.uint8)
        for number, (image, _) in enumerate(found):
            images[number] = np.asarray(image.convert("RGB"))
            progress(f"reading {folder.name} images", number, count)
    except (RuntimeError, OSError, ValueError, IndexError) as error:
        raise _missing(row, folder, error) from error
    return np.ascontiguousarray(np.moveaxis(images, 3, 1)), np.asarray(found.targets, dtype=np.int64)


def _missing(row: DataSet, folder: Path, error: Exception) -> FileError:
    reason = " ".join(str(error).split())[:200].rstrip(". ")
    way_out = f"`sao train --data {row.name} --download` fetches it" if row.vision else "unpack its archive there"
    return missing(row.name, folder, reason, f"name its folder, or {way_out}")
