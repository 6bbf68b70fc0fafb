"""The idx files of MNIST and its kin, gzipped or not."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sao_cli.base.errors import FormatError
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import DataSet
from sao_cli.data.arrays import Bytes
from sao_cli.io.datasets.dataset import Dataset, Part, dataset_of, missing, require_labels
from sao_cli.io.source import Source, open_source

_UNSIGNED_BYTES = 8  # idx's number for the type that all of these files have
_MOST_AXES = 4
_CLASSES = 10
_DAMAGED = (gzip.BadGzipFile, zlib.error, EOFError)


def read_idx(path: Path) -> Bytes:
    """The array in an idx file (`.gz` too): two zero bytes, type, number of axes, sizes (big-endian), then the data.

    Raises FileError where it can't be read; FormatError for another type than unsigned bytes, and where bytes are
    missing or left over; MemoryLimitError before memory is taken. O(size).
    """
    with _opened(path) as source:
        zeros, kind, axes = _numbers(source, 2, 1, 1)
        if zeros or not 1 <= axes <= _MOST_AXES:
            raise source.fail("no idx file: it begins with two zero bytes, a type and a number of axes up to 4")
        if kind != _UNSIGNED_BYTES:
            raise source.fail(f"an idx file of type {kind:#04x}; images and labels are unsigned bytes (0x08)")
        shape = _numbers(source, *[4] * axes)
        data = source.read_exactly(math.prod(shape), f"its {'x'.join(map(str, shape))} bytes")
        if source.peek(1):
            raise source.fail(f"there is more after its {math.prod(shape)} bytes")
        return np.frombuffer(data, np.uint8).reshape(shape)


def read_mnist(row: DataSet, folder: Path, progress: Progress = silent) -> Dataset:
    """The four idx files of `row` in `folder`, or in the place below it where torchvision keeps them."""
    train, test = (_part(row, folder, part) for part in ("train", "t10k"))
    if train[0].shape[1:] != test[0].shape[1:]:
        sides = f"{train[0].shape[2]} pixels to train on, and of {test[0].shape[2]} to test on"
        raise FormatError(f"{folder}: images of {sides}")
    return dataset_of(row.name, train, test)


def _part(row: DataSet, folder: Path, part: str) -> Part:
    paths = [_found(row, folder, f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")]
    images, labels = map(read_idx, paths)
    if images.ndim != 3 or images.shape[1] != images.shape[2] or not images.size:
        raise FormatError(f"{paths[0]}: an array of shape {images.shape}; images are (count, side, side)")
    if labels.shape != images.shape[:1]:
        raise FormatError(f"{paths[1]}: labels of shape {labels.shape} for {len(images)} images")
    return images[:, None], require_labels(labels, _CLASSES, str(paths[1]))


def _found(row: DataSet, folder: Path, name: str) -> Path:
    places = (folder / row.place, folder)
    for path in (place / f"{name}{suffix}" for place in places for suffix in ("", ".gz")):
        if path.is_file():
            return path
    said = f"there is no {name} or {name}.gz in it, nor in its {row.place}"
    raise missing(row.name, folder, said, f"name its folder, or `sao train --data {row.name} --download` fetches it")


@contextmanager
def _opened(path: Path) -> Iterator[Source]:
    with open_source(path) as source:
        if path.suffix != ".gz":
            yield source
            return
        with gzip.GzipFile(fileobj=source) as raw:  # type: ignore[call-overload]  # it needs no more than read()
            yield Source(raw, source.name, failures=_DAMAGED, packed=source)


def _numbers(source: Source, *sizes: int) -> list[int]:
    header = bytes(source.read_exactly(sum(sizes), "its header"))
    ends = np.cumsum(sizes).tolist()
    return [int.from_bytes(header[end - size : end], "big") for size, end in zip(sizes, ends, strict=True)]
