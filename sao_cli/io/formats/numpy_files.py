"""numpy's .npy and .npz files, scipy's sparse .npz among them; read without ever unpickling.

Of a checkpoint each array is read, and its zip member unpacked, when it is asked for.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import PRECISIONS
from sao_cli.io.formats.archives import DAMAGED, open_archive
from sao_cli.io.formats.sparse_npz import is_sparse, read_sparse
from sao_cli.io.formats.tensor_file import Path, Snapshot, Stored, TensorFile
from sao_cli.io.output import brief, shown
from sao_cli.io.provenance import (
    named_provenance,
    parsed_provenance,
    provenance_json,
    provenance_with_dtype,
    told_dtype,
)
from sao_cli.io.source import PathOrFile, Source, WholeCopy, open_source
from sao_cli.io.tensors import NO_BFLOAT16, no_names, tensor_names, weight_of, weights_in

if TYPE_CHECKING:
    from sao_cli.data.kernel import Weight

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_PROVENANCE = "sao"
_MOST_HEADER = 10_000  # bytes, numpy's own limit, which it applies when it has read them


def read_npy(source: Source, tensor: str | None) -> list[Weight]:
    """The weight in a .npy stream, of any real dtype. Raises FormatError for objects (pickles) and other damage."""
    no_names(tensor, source.name)
    array = _read_array(source)
    require_end(source)
    return [weight_of(array, None, source.name)]


def read_inputs(path: PathOrFile, n: int) -> NDArray[np.float64]:
    """(B, n) float64: the inputs in a .npy file, one a row, or the one that a vector of n numbers is.

    Raises FormatError for another shape, other than real numbers, and numbers that are not finite.
    """
    with open_source(path) as source:
        array = _read_array(source)
        require_end(source)
        if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or array.shape[-1] != n or not array.size:
            raise source.fail(
                f"an array of {array.dtype} and shape {array.shape}; inputs are real, ({n},) or (B, {n}), one a row"
            )
        inputs = np.atleast_2d(array).astype(np.float64)
        if not np.isfinite(inputs).all():
            row, column = np.argwhere(~np.isfinite(inputs))[0].tolist()
            raise source.fail(
                f"{inputs[row, column]} at row {row + 1}, column {column + 1}; every input must be finite"
            )
        return inputs


def read_npz(source: Source, tensor: str | None) -> list[Weight]:
    """The weights in a .npz: scipy's sparse layout, or plain arrays of which `tensor` may choose one."""
    file = NpzFile(source)
    if file.is_sparse:
        no_names(tensor, source.name)
    return weights_in(file, tensor)


def write_npy(weights: Sequence[Weight], file: IO[bytes]) -> None:
    """Write one dense weight: bool for a mask, else of its own dtype, which is not bfloat16."""
    [weight] = weights
    npy.write_array(file, weight.to_dense(), allow_pickle=False)


def write_npz(weights: Sequence[Weight], file: IO[bytes]) -> None:
    """Write one matrix as scipy.sparse.load_npz reads it, a csr_array, or else dense arrays by their tensor_names.

    The provenance is one more array, "sao": JSON, by the name of the array where they are dense.
    """
    matrix = weights[0]
    if len(weights) > 1 or not isinstance(matrix, Matrix):
        _write_dense(weights, file)
        return
    mask = matrix.mask
    arrays: dict[str, Any] = {
        "indices": mask.indices,
        "indptr": mask.indptr,
        "format": np.array(b"csr"),
        "shape": np.array(mask.shape),
        "data": np.ones(mask.nnz, bool) if matrix.values is None else _stored(matrix),
        "_is_array": np.array(True),
    }
    if told := provenance_with_dtype(matrix):
        arrays[_PROVENANCE] = np.array(provenance_json(told).encode())
    np.savez_compressed(file, **arrays)


def _write_dense(weights: Sequence[Weight], file: IO[bytes]) -> None:
    """As np.savez_compressed does it, with one array in memory at a time."""
    named = dict(zip(tensor_names(weights), weights, strict=True))
    told = {name: provenance for name, weight in named.items() if (provenance := provenance_with_dtype(weight))}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, weight in named.items():
            _add(archive, name, weight.to_dense())
        if told:
            _add(archive, _PROVENANCE, np.array(provenance_json(told).encode()))


def _add(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        npy.write_array(member, array, allow_pickle=False)


def _stored(matrix: Matrix) -> NDArray[Any]:
    """The values in their own precision; scipy's sparse arrays know no float16."""
    assert matrix.values is not None
    return matrix.values.astype(np.float64 if matrix.dtype == "float64" else np.float32)


def _sparse(archive: zipfile.ZipFile, members: dict[str, str], name: str) -> Weight:
    def array(key: str) -> NDArray[Any]:
        if key not in members:
            raise FormatError(f"{name}: a sparse matrix, and its array {key!r} is missing")
        return _member(archive, members[key], name)

    with _decoding(name):
        provenance = parsed_provenance(array(_PROVENANCE).item()) if _PROVENANCE in members else None
        return read_sparse(array, members, provenance, name)


def _member(archive: zipfile.ZipFile, member: str, name: str) -> NDArray[Any]:
    where = f"{name}: {shown(member)}"
    try:
        with archive.open(member) as raw:
            return _read_array(Source(raw, where, failures=DAMAGED))
    except DAMAGED as error:
        raise FormatError(f"{where} is damaged ({brief(error)})") from error


def _read_array(source: Source) -> NDArray[Any]:
    shape, fortran_order, dtype = _read_header(source)
    if dtype.hasobject:
        raise source.fail("it holds Python objects, which only unpickling could read; save plain numbers")
    if dtype.kind == "V" and dtype.names is None and dtype.itemsize <= 2:  # as ml_dtypes are written
        raise source.fail(f"its numbers are of type {dtype}, which has lost its name: {NO_BFLOAT16}")
    count = math.prod(shape)
    data = source.read_exactly(
        count * dtype.itemsize, f"an array of {brief('x'.join(map(str, shape)) or 'one number', 80)}"
    )
    if dtype.itemsize == 0:
        raise source.fail(f"its numbers are of type {dtype}, which holds nothing")
    with _decoding(source.name):  # numpy has no arrays of more than 64 axes, nor of 0 x 2^62 x 2^62
        return np.frombuffer(data, dtype, count).reshape(shape, order="F" if fortran_order else "C")


def require_end(source: Source) -> None:
    if following := source.peek(len(npy.MAGIC_PREFIX)):
        what = "another array" if following == npy.MAGIC_PREFIX else "more"
        raise source.fail(f"there is {what} after the array; a .npy holds one only: save several by numpy.savez")


def _read_header(source: Source) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    with _decoding(source.name):
        version = npy.read_magic(source)
        if version not in _HEADERS:
            raise ValueError(f"version {version} of the format is not known")
        told = int.from_bytes(source.peek(2 * version[0]), "little")
        if told > _MOST_HEADER:
            raise ValueError(f"its header of {told} bytes is longer than {_MOST_HEADER}")
        shape, fortran_order, dtype = _HEADERS[version](source)
        if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize >= 2**63:
            raise ValueError(f"its shape {brief(shape, 80)} is negative, or too large for any file")
        return shape, fortran_order, dtype


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Whatever numpy, zipfile and scipy raise over damaged content is a FormatError here."""
    try:
        yield
    except SaoError:
        raise
    except MemoryError as error:  # numpy's reader of headers, for brackets inside brackets
        raise FormatError(f"{name}: the arrays in it can't be read: they take more memory than there is") from error
    except Exception as error:
        told = brief(error, 200) if str(error) else type(error).__name__
        raise FormatError(f"{name}: the arrays in it can't be read: {told}") from error


class NpyFile(TensorFile):
    """A .npy file: one array, under the name of the file."""

    def __init__(self, place: Path | WholeCopy) -> None:
        self._file = Snapshot(place)
        self.name, self.metadata = self._file.name, {}
        with self._file.opened() as source:
            stored = _told(source)
            missing = stored.bytes - (source.left() or 0)
            if stored.problem is None and missing > 0:
                problem = f"cut off: the input ends {missing} byte{'s' * (missing != 1)} before the array does"
                stored = stored._replace(problem=problem, damaged=True)
            elif stored.problem is None:
                source.skip(stored.bytes, "the array")
                require_end(source)
            self.stored = {self._file.stem: stored}

    def read(self, name: str) -> NDArray[Any]:
        """The array. FormatError for Python objects, and where the file is cut off."""
        self.require(name)
        with self._file.opened() as source:
            return _native(_read_array(source))


class NpzFile(TensorFile):
    """A .npz file of arrays, or the one array of a sparse layout under the name of the file; or what a Source has."""

    def __init__(self, place: Path | Source | WholeCopy) -> None:
        self._file = Snapshot(place)
        self.name, self.metadata = self._file.name, {}
        self._origins: dict[str, dict[str, Any]] = {}
        with self._archive() as archive:
            self._members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
            stored = {name: self._listed(archive, member) for name, member in self._members.items()}
            self._sparse = _sparse(archive, self._members, self.name) if is_sparse(self._members) else None
            if self._sparse is not None:
                stored = {self._file.stem: _of_sparse(self._sparse, stored)}
                self._origins = {self._file.stem: dict(self._sparse.mask.provenance)}
            elif _PROVENANCE in stored and stored[_PROVENANCE].shape == ():
                del stored[_PROVENANCE]
                self._take_origins(archive, stored)
            self.stored = stored

    @property
    def is_sparse(self) -> bool:
        """Whether its arrays make one sparse array together."""
        return self._sparse is not None

    def read(self, name: str) -> NDArray[Any]:
        """The named array. FormatError for Python objects and for a damaged member."""
        [(_, array)] = self.each([name])
        return array

    def each(self, names: Collection[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """The named arrays as `read` has them."""
        for name in names:
            self.require(name)
        with self._archive() as archive:
            for name in names:
                whole = self._sparse
                yield name, whole.to_dense() if whole else _native(_member(archive, self._members[name], self.name))

    def sparse(self, name: str, where: str) -> Weight | None:
        """The one weight of a sparse layout."""
        return self._sparse

    def origins(self) -> dict[str, dict[str, Any]]:
        """The provenance in the array "sao", by array; of a sparse layout its own."""
        return self._origins

    def _archive(self) -> zipfile.ZipFile:
        return open_archive(self._file.seekable(), self.name)

    def _listed(self, archive: zipfile.ZipFile, member: str) -> Stored:
        try:
            with archive.open(member) as raw:
                return _told(Source(raw, f"{self.name}: {shown(member)}", failures=DAMAGED))
        except (*DAMAGED, SaoError) as error:
            problem = f"damaged ({brief(error).removeprefix(f'{self.name}: ')})"
            return Stored((), "unknown", 0, problem, damaged=True)

    def _take_origins(self, archive: zipfile.ZipFile, stored: dict[str, Stored]) -> None:
        """Provenance; and what it tells truly of an array's precision, of which numpy lacks bfloat16."""
        self._origins = named_provenance(_member(archive, self._members[_PROVENANCE], self.name).item())
        for name, own in self._origins.items():
            if name in stored and stored[name].dtype in PRECISIONS and "dtype" in own:
                values = _member(archive, self._members[name], self.name).astype(np.float64)
                told, dtype = told_dtype(own, values, stored[name].dtype)
                self._origins[name], stored[name] = told or {}, stored[name]._replace(dtype=dtype)


def _of_sparse(weight: Weight, listed: dict[str, Stored]) -> Stored:
    dtype = listed["data"].dtype
    dtype = weight.dtype if dtype in PRECISIONS else dtype
    return Stored(weight.shape, dtype, sum(part.bytes for part in listed.values()))


def _told(source: Source) -> Stored:
    shape, _, dtype = _read_header(source)
    if dtype.hasobject:
        return Stored(shape, "object", 0, "Python objects, which only unpickling could read: never done")
    size = dtype.itemsize * math.prod(shape)
    return Stored(shape, dtype.newbyteorder("=").name if dtype.kind in "biufc" else brief(dtype, 40), size)


def _native(array: NDArray[Any]) -> NDArray[Any]:
    ordered = np.ascontiguousarray(array).reshape(array.shape)
    return ordered.astype(array.dtype.newbyteorder("="), copy=False)
