"""Checkpoints in numpy's .npz and .npy files: each array is read, and its zip member unpacked, when it is asked for."""

from __future__ import annotations

import math
import os
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.errors import FormatError, SaoError
from sao_cli.io.checkpoints.files import Path, Snapshot, Stored, TensorFile, brief
from sao_cli.io.files import file_error, shown
from sao_cli.io.numpy_files import _DAMAGED, _read_array, _read_header, read_npz
from sao_cli.io.source import Source, open_source

_PROVENANCE = "sao"


class NpyFile(TensorFile):
    """A .npy file: one array, under the name of the file."""

    def __init__(self, path: Path) -> None:
        self._file = Snapshot(path)
        self.name, self.metadata = self._file.name, {}
        with open_source(path) as source:
            self.stored = {stem(path): _stored(source)}

    def read(self, name: str) -> NDArray[Any]:
        """The array. FormatError for Python objects, and where the file is cut off."""
        _require_readable(self, name)
        self._file.require_same()
        with open_source(self._file.path) as source:
            return _native(_read_array(source))


class NpzFile(TensorFile):
    """A .npz file of arrays, or the one matrix of scipy's sparse layout, under the name of the file."""

    def __init__(self, path: Path) -> None:
        self._file = Snapshot(path)
        self.name, self.metadata = self._file.name, {}
        with self._archive() as archive:
            self._members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
            stored = {name: self._listed(archive, member) for name, member in self._members.items()}
            self._is_sparse = "format" in stored and "data" in stored
            if self._is_sparse:
                stored = {stem(path): self._sparse(archive, stored)}
            elif _PROVENANCE in stored and stored[_PROVENANCE].shape == ():
                del stored[_PROVENANCE]
            self.stored = stored

    def read(self, name: str) -> NDArray[Any]:
        """The named array. FormatError for Python objects and for a damaged member."""
        _require_readable(self, name)
        self._file.require_same()
        with self._archive() as archive:
            if self._is_sparse:
                return read_npz(archive, self.name, None)[0].to_dense()
            return _native(self._member(archive, self._members[name]))

    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._file.path)
        except OSError as error:
            raise file_error(error, self.name, "read") from error
        except (*_DAMAGED, ValueError) as error:
            raise FormatError(f"{self.name}: a .npz archive that is damaged or cut off ({brief(error)})") from error

    def _listed(self, archive: zipfile.ZipFile, member: str) -> Stored:
        try:
            with archive.open(member) as raw:
                return _stored(Source(raw, f"{self.name}: {shown(member)}", failures=_DAMAGED))
        except _DAMAGED as error:
            return Stored((), "unknown", 0, f"damaged ({brief(error)})")
        except SaoError as error:
            return Stored((), "unknown", 0, f"damaged ({brief(error).removeprefix(f'{self.name}: ')})")

    def _sparse(self, archive: zipfile.ZipFile, stored: dict[str, Stored]) -> Stored:
        try:
            shape = tuple(int(size) for size in self._member(archive, self._members["shape"]))
        except (KeyError, SaoError) as error:
            raise FormatError(f"{self.name}: a sparse matrix in scipy's layout without its shape") from error
        return Stored(shape, stored["data"].dtype, sum(part.bytes for part in stored.values()))

    def _member(self, archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
        where = f"{self.name}: {shown(member)}"
        try:
            with archive.open(member) as raw:
                return _read_array(Source(raw, where, failures=_DAMAGED))
        except _DAMAGED as error:
            raise FormatError(f"{where} is damaged ({brief(error)})") from error


def stem(path: Path) -> str:
    """The name of a file without its folder and suffix, for the one tensor of a format without names."""
    return os.path.splitext(os.path.basename(os.fsdecode(path)))[0]


def _require_readable(file: TensorFile, name: str) -> None:
    if (problem := file.stored[name].problem) is not None:
        raise FormatError(f"{file.name}: {shown(name)}: {problem}")


def _stored(source: Source) -> Stored:
    shape, _, dtype = _read_header(source)
    if dtype.hasobject:
        return Stored(shape, "object", 0, "Python objects, which only unpickling could read: never done")
    size = dtype.itemsize * math.prod(shape)
    return Stored(shape, dtype.newbyteorder("=").name if dtype.kind in "biufc" else brief(dtype, 40), size)


def _native(array: NDArray[Any]) -> NDArray[Any]:
    ordered = np.ascontiguousarray(array).reshape(array.shape)
    return ordered.astype(array.dtype.newbyteorder("="), copy=False)
