"""Read Matrix Market text, as NIST defines it (https://math.nist.gov/MatrixMarket/formats.html), and stacks of it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoWarning
from sao_cli.base.memory import require_memory
from sao_cli.data.arrays import Values
from sao_cli.data.mask import index_dtype
from sao_cli.data.matrix import FINITE, Matrix
from sao_cli.io.formats.matrix_market_writer import BANNER, PROVENANCE
from sao_cli.io.formats.text.lines import (
    POSITION,
    POSITION_AND_VALUE,
    VALUE,
    Block,
    Lines,
    entry_lines,
    numbers,
    quoted,
)
from sao_cli.io.provenance import parsed_provenance, told_dtype
from sao_cli.io.source import Source
from sao_cli.io.tensors import choose_tensors, tensor_names

_FIELDS = ("pattern", "real", "integer", "double", "unsigned-integer")
_SYMMETRIES = ("general", "symmetric", "skew-symmetric")
_MORE = "check the number of entries in its line of sizes"


class _Header(NamedTuple):
    layout: str
    field: str
    symmetry: str
    shape: tuple[int, int]
    entries: int
    provenance: Mapping[str, Any] | None


class _Entries(NamedTuple):
    rows: NDArray[np.signedinteger[Any]]
    columns: NDArray[np.signedinteger[Any]]
    values: Values | None


def read_matrix_market(source: Source, tensor: str | None = None) -> list[Matrix]:
    """The matrices of a stream, one a document, first document first; or of them `tensor`: layer.1, layer.2 ....

    Coordinate and array layouts; pattern, real, double and (unsigned-)integer fields; general, symmetric and
    skew-symmetric, expanded. Repeated entries are merged and explicit zeros dropped, each with one SaoWarning a
    document. Raises FormatError for anything else, and MemoryLimitError for sizes that would not fit, before
    allocating. O(nnz) where entries come row by row, else O(nnz log nnz), and O(m n) for the array layout.
    """
    lines = Lines(source)
    matrices: list[Matrix] = []
    while (banner := _next_banner(lines)) is not None:
        matrices.append(_document(banner, lines))
    if tensor is None:
        return matrices
    named = dict(zip(tensor_names(matrices), matrices, strict=True))
    shapes = {name: matrix.shape for name, matrix in named.items()}
    return [named[name] for name in choose_tensors(shapes, tensor, source.name)]


def _next_banner(lines: Lines) -> bytes | None:
    """The next header line. Before it, only blank lines and comments may come."""
    while (found := lines.line()) is not None:
        line, finished = found
        if _is_banner(line):
            lines.document += 1
            return line
        text = line.strip()
        if text and not finished and BANNER.lower().startswith(text.lower()):
            lines.document += 1
            raise lines.fail(f"the input ends inside a header, {quoted(line)}: it is cut off", lines.number)
        if text and not text.startswith(b"%"):
            raise lines.fail(f"found {quoted(line)} after the last entry; {_MORE}", lines.number)
    return None


def _document(banner: bytes, lines: Lines) -> Matrix:
    layout, field, symmetry = _kind(banner, lines)
    sizes, provenance = _sizes(lines)
    header = _header(layout, field, symmetry, sizes, provenance, lines)
    if layout == "array":
        return Matrix.from_dense(_dense(header, lines), provenance, lines.where)
    entries = _expanded(_coordinate_entries(header, lines), header, lines)
    told, dtype = told_dtype(header.provenance, entries.values)
    return Matrix.from_entries(entries.rows, entries.columns, entries.values, header.shape, told, lines.where, dtype)


def _is_banner(line: bytes) -> bool:
    return line[: len(BANNER)].lower() == BANNER.lower()


def _kind(banner: bytes, lines: Lines) -> tuple[str, str, str]:
    words = banner.decode("latin-1").lower().split()
    if len(words) != 5 or words[:2] != [BANNER.decode().lower(), "matrix"] or words[2] not in ("coordinate", "array"):
        expected = "%%MatrixMarket matrix coordinate|array FIELD SYMMETRY"
        raise lines.fail(f"expected the header {expected}, found {quoted(banner)}", lines.number)
    layout, field, symmetry = words[2:]
    if field == "complex" or symmetry == "hermitian":
        raise lines.fail("the matrix is complex, and the weights of a network are real; save its real part")
    if field not in _FIELDS or (layout, field) == ("array", "pattern"):
        raise lines.fail(f"field {field!r} of an {layout} matrix; expected one of {', '.join(_FIELDS)}", lines.number)
    if symmetry not in _SYMMETRIES or (field, symmetry) == ("pattern", "skew-symmetric"):
        raise lines.fail(f"symmetry {symmetry!r} of a {field} matrix; expected one of {', '.join(_SYMMETRIES)}")
    return layout, field, symmetry


def _sizes(lines: Lines) -> tuple[bytes, Mapping[str, Any] | None]:
    """The line of sizes, and the provenance among the comments before it."""
    provenance = None
    while (found := lines.line()) is not None and not _is_banner(found[0]):
        line = found[0]
        if line.startswith(PROVENANCE) and provenance is None:
            provenance = _provenance(line, lines)
        elif line.strip() and not line.lstrip().startswith(b"%"):
            return line, provenance
    raise lines.fail("the header is not followed by a line of sizes; the input is cut off, or no Matrix Market text")


def _provenance(line: bytes, lines: Lines) -> Mapping[str, Any]:
    if (found := parsed_provenance(line[len(PROVENANCE) :])) is not None:
        return found
    warnings.warn(f"{lines.where}: line {lines.number}: the %sao comment is no JSON object; passed over", SaoWarning, 2)
    return {}


def _header(
    layout: str, field: str, symmetry: str, line: bytes, provenance: Mapping[str, Any] | None, lines: Lines
) -> _Header:
    words = line.split()
    expected = "rows columns entries" if layout == "coordinate" else "rows columns"
    if len(words) != len(expected.split()) or not all(re.fullmatch(rb"[+-]?\d{1,19}", word) for word in words):
        raise lines.fail(f'expected the sizes "{expected}" as whole numbers, found {quoted(line)}', lines.number)
    m, n, *declared = (int(word) for word in words)
    if m < 1 or n < 1 or min(declared, default=0) < 0:
        raise lines.fail(f"sizes {quoted(line)}; a layer needs at least one output and one input", lines.number)
    if m * n >= 2**63:
        raise lines.fail(f"a matrix of {m} x {n}: positions past 2^63 can't be counted; use smaller sizes")
    if symmetry != "general" and m != n:
        raise lines.fail(f"a {symmetry} matrix must be square, and this one is {m} x {n}", lines.number)
    count = declared[0] if declared else _stored(m, n, symmetry)
    _require_room(m, n, m * n if layout == "array" else count, field, lines)
    return _Header(layout, field, symmetry, (m, n), count, provenance)


def _stored(m: int, n: int, symmetry: str) -> int:
    """How many numbers the array layout lists."""
    if symmetry == "general":
        return m * n
    return n * (n + 1) // 2 if symmetry == "symmetric" else n * (n - 1) // 2


def _require_room(m: int, n: int, count: int, field: str, lines: Lines) -> None:
    width = np.dtype(index_dtype(m, n, count)).itemsize
    entry = 2 * width if field == "pattern" else 2 * width + 8
    needed = 2 * entry * count + 2 * width * (m + n)  # twice, for putting them in order
    require_memory(needed, f"{lines.where}: a matrix of {m} x {n} with {count} numbers", "check its line of sizes")


def _coordinate_entries(header: _Header, lines: Lines) -> _Entries:
    kind = POSITION if header.field == "pattern" else POSITION_AND_VALUE
    dtype = index_dtype(*header.shape, header.entries)
    rows, columns = np.empty(header.entries, dtype), np.empty(header.entries, dtype)
    values = np.empty(header.entries) if kind is POSITION_AND_VALUE else None
    done = 0
    while done < header.entries:
        block = _next_block(lines, done, header)
        found = numbers(block, kind, lines)
        _require_positions(found.positions, block, header.shape, lines)
        part = slice(done, _end(done + len(found.positions), header, lines))
        rows[part] = found.positions[:, 0] - 1
        columns[part] = found.positions[:, 1] - 1
        if values is not None:
            _require_values(found.values, block, header.field, lines)
            values[part] = found.values
        done = part.stop
        if block.unfinished and done == header.entries and not _is_plainly_whole(header, rows, columns):
            _doubt_last_line(header, lines)
    return _Entries(rows, columns, values)


def _dense(header: _Header, lines: Lines) -> NDArray[np.float64]:
    stored = np.empty(header.entries)
    done = 0
    while done < header.entries:
        block = _next_block(lines, done, header)
        found = numbers(block, VALUE, lines).values
        _require_values(found, block, header.field, lines)
        part = slice(done, _end(done + len(found), header, lines))
        stored[part] = found
        done = part.stop
        if block.unfinished and done == header.entries:
            _doubt_last_line(header, lines)
    m, n = header.shape
    if header.symmetry == "general":  # column after column
        return np.ascontiguousarray(stored.reshape(n, m).T)
    sign = -1 if header.symmetry == "skew-symmetric" else 1
    columns, rows = np.triu_indices(n, 1 if sign < 0 else 0)  # the lower triangle, column after column
    dense = np.zeros((n, n))
    dense[columns, rows] = sign * stored
    dense[rows, columns] = stored
    return dense


def _next_block(lines: Lines, done: int, header: _Header) -> Block:
    """The next lines of a body, past comments and blank lines."""
    while (block := lines.block()) is None:
        found = lines.line()
        if found is None or _is_banner(found[0]):
            end = "the input ends" if found is None else "the next header comes"
            raise lines.fail(f"{header.entries} entries declared, and {end} after {done}: it is cut off")
    return block


def _is_plainly_whole(header: _Header, rows: NDArray[Any], columns: NDArray[Any]) -> bool:
    """Whether the mask is (c, d)-biregular as its provenance says: one column off, and it would not be."""
    told = header.provenance or {}
    c, d = told.get("c"), told.get("d")
    if header.field != "pattern" or not (isinstance(c, int) and isinstance(d, int)):
        return False
    m, n = header.shape
    return bool((np.bincount(rows, minlength=m) == d).all() and (np.bincount(columns, minlength=n) == c).all())


def _doubt_last_line(header: _Header, lines: Lines) -> None:
    """Where the last line has no end, its last number may lack digits: 12 of 128 is a number too."""
    if header.provenance is not None:  # our writer ends every line
        problem = "the input ends inside the last line: it is cut off (if not, add the missing line end)"
        raise lines.fail(problem, lines.number)
    problem = "the last line has no end; if the input was cut off, its number is wrong"
    warnings.warn(f"{lines.where}: line {lines.number}: {problem}", SaoWarning, stacklevel=2)


def _end(end: int, header: _Header, lines: Lines) -> int:
    if end > header.entries:
        raise lines.fail(f"{header.entries} entries declared, and there are at least {end}; {_MORE}")
    return end


def _require_positions(found: NDArray[np.int64], block: Block, shape: tuple[int, int], lines: Lines) -> None:
    for axis, position, size in zip(("row", "column"), found.T, shape, strict=True):
        if len(position) and (position.min() < 1 or position.max() > size):
            wrong = np.flatnonzero((position < 1) | (position > size))[0]
            number, line = entry_lines(block)[wrong]
            raise lines.fail(f"found {quoted(line)}; its {axis} must be one of 1 .. {size}, counted from 1", number)


def _require_values(values: Values, block: Block, field: str, lines: Lines) -> None:
    right = np.isfinite(values)
    if field.endswith("integer"):
        right &= values == np.rint(values)
    if not right.all():
        number, line = entry_lines(block)[int(np.argmin(right))]
        rule = "its header says that values are whole numbers" if np.isfinite(values).all() else FINITE
        raise lines.fail(f"found {quoted(line)}; {rule}", number)


def _expanded(entries: _Entries, header: _Header, lines: Lines) -> _Entries:
    if header.symmetry == "general":
        return entries
    rows, columns, values = entries.rows, entries.columns, entries.values
    off = rows != columns
    _warn_of_both_triangles(rows, columns, header, lines)
    mirrored = None
    if values is not None:
        sign = -1.0 if header.symmetry == "skew-symmetric" else 1.0
        if sign < 0 and values[~off].any():
            raise lines.fail("a skew-symmetric matrix has zeros on its diagonal, and this one has others")
        mirrored = np.concatenate([values, sign * values[off]])
    return _Entries(np.concatenate([rows, columns[off]]), np.concatenate([columns, rows[off]]), mirrored)


def _warn_of_both_triangles(rows: NDArray[Any], columns: NDArray[Any], header: _Header, lines: Lines) -> None:
    """Say where entries of one triangle are given in the other too, although the header says that they mirror."""
    above, below = columns > rows, columns < rows
    if not (above.any() and below.any()):
        return
    n = np.int64(header.shape[1])
    twice = len(np.intersect1d(rows[above] * n + columns[above], columns[below] * n + rows[below]))
    if twice:
        done = "counted once" if header.field == "pattern" else "added up, so that they come out doubled"
        problem = f"{twice} entries stand in both triangles of a {header.symmetry} matrix, and are {done}"
        rule = "list one triangle, or say general in its header"
        warnings.warn(f"{lines.where}: {problem}; {rule}", SaoWarning, stacklevel=2)
