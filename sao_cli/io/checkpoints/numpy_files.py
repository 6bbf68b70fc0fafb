"""Checkpoints in numpy's .npz and .npy files: each array is read, and its zip member unpacked, when it is asked for."""

from __future__ import annotations

import math
import os
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.data.precision import PRECISIONS
from sao_cli.io.formats.archives import DAMAGED, open_archive
from sao_cli.io.formats.numpy_files import _read_array, _read_header, read_npz, require_end
from sao_cli.io.formats.sparse_npz import is_sparse
from sao_cli.io.formats.tensor_file import Path, Snapshot, Stored, TensorFile
from sao_cli.io.output import brief, shown
from sao_cli.io.provenance import named_provenance, told_dtype
from sao_cli.io.source import Source, open_source

if TYPE_CHECKING:
    from sao_cli.data.kernel import Weight

_PROVENANCE = "sao"


class NpyFile(TensorFile):
    """A .npy file: one array, under the name of the file."""

    def __init__(self, path: Path) -> None:
        self._file = Snapshot(path)
        self.name, self.metadata = self._file.name, {}
        with open_source(path) as source:
            stored = _stored(source)
            if stored.problem is None and stored.bytes <= (source.left() or 0):  # the rest is a problem of its own
                source.skip(stored.bytes, "the array")
                require_end(source)
            self.stored = {stem(path): stored}

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
            self._sparse = read_npz(archive, self.name, None)[0] if is_sparse(self._members) else None
            stored = {name: self._listed(archive, member) for name, member in self._members.items()}
            if self._sparse is not None:
                stored = {stem(path): _of_sparse(self._sparse, stored)}
            elif _PROVENANCE in stored and stored[_PROVENANCE].shape == ():
                del stored[_PROVENANCE]
                stored |= self._with_precisions(archive, stored)
            self.stored = stored

    def read(self, name: str) -> NDArray[Any]:
        """The named array. FormatError for Python objects and for a damaged member."""
        _require_readable(self, name)
        self._file.require_same()
        if self._sparse is not None:
            return self._sparse.to_dense()
        with self._archive() as archive:
            return _native(self._member(archive, self._members[name]))

    def _archive(self) -> zipfile.ZipFile:
        return open_archive(self._file.path, self.name)

    def _listed(self, archive: zipfile.ZipFile, member: str) -> Stored:
        try:
            with archive.open(member) as raw:
                return _stored(Source(raw, f"{self.name}: {shown(member)}", failures=DAMAGED))
        except DAMAGED as error:
            return Stored((), "unknown", 0, f"damaged ({brief(error)})")
        except SaoError as error:
            return Stored((), "unknown", 0, f"damaged ({brief(error).removeprefix(f'{self.name}: ')})")

    def _with_precisions(self, archive: zipfile.ZipFile, stored: dict[str, Stored]) -> dict[str, Stored]:
        """Those whose precision a file of ours tells beside them, bfloat16, where it is true of their values."""
        found = {}
        for name, own in named_provenance(self._member(archive, self._members[_PROVENANCE]).item()).items():
            if name in stored and stored[name].dtype in PRECISIONS and "dtype" in own:
                values = self._member(archive, self._members[name]).astype(np.float64)
                found[name] = stored[name]._replace(dtype=told_dtype(own, values, stored[name].dtype)[1])
        return found

    def _member(self, archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
        where = f"{self.name}: {shown(member)}"
        try:
            with archive.open(member) as raw:
                return _read_array(Source(raw, where, failures=DAMAGED))
        except DAMAGED as error:
            raise FormatError(f"{where} is damaged ({brief(error)})") from error


def stem(path: Path) -> str:
    """The name of a file without its folder and suffix, for the one tensor of a format without names."""
    return os.path.splitext(os.path.basename(os.fsdecode(path)))[0]


def _require_readable(file: TensorFile, name: str) -> None:
    if (problem := file.stored[name].problem) is not None:
        raise FormatError(f"{file.name}: {shown(name)}: {problem}")


def _of_sparse(weight: Weight, listed: dict[str, Stored]) -> Stored:
    dtype = listed["data"].dtype
    dtype = weight.dtype if dtype in PRECISIONS else dtype
    return Stored(weight.shape, dtype, sum(part.bytes for part in listed.values()))


def _stored(source: Source) -> Stored:
    shape, _, dtype = _read_header(source)
    if dtype.hasobject:
        return Stored(shape, "object", 0, "Python objects, which only unpickling could read: never done")
    size = dtype.itemsize * math.prod(shape)
    return Stored(shape, dtype.newbyteorder("=").name if dtype.kind in "biufc" else brief(dtype, 40), size)


def _native(array: NDArray[Any]) -> NDArray[Any]:
    ordered = np.ascontiguousarray(array).reshape(array.shape)
    return ordered.astype(array.dtype.newbyteorder("="), copy=False)
