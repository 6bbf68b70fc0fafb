"""Write Matrix Market text, and stacks of it; apart from the reader, which a command that only writes need not load."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.data.arrays import Values
from sao_cli.data.matrix import Matrix
from sao_cli.io.provenance import provenance_json, provenance_with_dtype

Fours = NDArray[np.uint32]

BANNER = b"%%MatrixMarket"
PROVENANCE = b"%sao "
_WRITTEN_AT_ONCE = 1 << 14  # entries; their digits stay in the cache

_VALUE_WIDTH = 24  # bytes, of which repr needs no more
_PLACES = range(-4, 16)  # of a first digit, where repr writes no exponent
_NUMBERS = np.arange(10_000, dtype=np.int16)[:, None]
_TENS = np.array([1000, 100, 10, 1], np.int16)


def write_matrix_market(matrices: Sequence[Matrix], file: IO[bytes]) -> None:
    """Write each matrix as one coordinate document, row by row: pattern without values, else real.

    A value is written as the shortest text that reads back as the same float64. Equal matrices with equal
    provenance give equal bytes. O(nnz), in blocks of constant size.
    """
    for matrix in matrices:
        file.write(_header_text(matrix))
        mask = matrix.mask
        rows, columns = mask.entry_rows, mask.indices
        for start in range(0, mask.nnz, _WRITTEN_AT_ONCE):
            part = slice(start, start + _WRITTEN_AT_ONCE)
            values = None if matrix.values is None else matrix.values[part]
            file.write(_text(rows[part], columns[part], values, mask.shape))


def _header_text(matrix: Matrix) -> bytes:
    mask = matrix.mask
    field = "pattern" if matrix.values is None else "real"
    lines = [f"{BANNER.decode()} matrix coordinate {field} general"]
    if told := provenance_with_dtype(matrix):
        lines.append(PROVENANCE.decode() + provenance_json(told))
    lines.append(f"{mask.m} {mask.n} {mask.nnz}")
    return "".join(line + "\n" for line in lines).encode()


def _text(rows: NDArray[Any], columns: NDArray[Any], values: Values | None, shape: tuple[int, int]) -> bytes:
    """One line an entry, put together in fields as wide as any entry needs, with null bytes that are taken out."""
    row_end, column_end = (len(str(size)) for size in shape)
    column_end += row_end + 1
    end = column_end if values is None else column_end + 1 + _VALUE_WIDTH
    text = np.zeros((len(rows), max(end + 1, row_end + 5)), np.uint8)  # at least four bytes from each number's start on
    _put_position(text, 0, row_end, rows)
    text[:, row_end] = ord(" ")
    _put_position(text, row_end + 1, column_end, columns)
    if values is not None:
        text[:, column_end] = ord(" ")
        _put_values(text, column_end + 1, values)
    text[:, end] = ord("\n")
    return text.tobytes().translate(None, b"\0")


def _put_position(text: NDArray[np.uint8], start: int, end: int, positions: NDArray[Any]) -> None:
    """The decimal digits of positions + 1 from `start` to `end`, with null bytes for leading zeros.

    Four digits at a time, from the first on: what four have too much is overwritten by what comes after them.
    """
    numbers = positions.astype(np.int64) + 1
    for place in range((end - start - 1) // 4 * 4, -1, -4):
        left = numbers // 10**place
        before = left // 10_000
        four = _leading().take(left - 10_000 * (before - (before > 0)))
        spare = max(place + 4 - (end - start), 0)
        _put(text, end - place - 4 + spare, four >> 8 * spare)


def _put_values(text: NDArray[np.uint8], start: int, values: Values) -> None:
    """Each value as repr writes it, from `start` on: a sign, 0.000, a digit, a point, 16 digits, as far as needed."""
    from sao_cli.io.formats.text.decimals import shortest_digits  # only here: masks have no values

    trailing, fields = _trailing(), _fields()
    digits, exponents, known = shortest_digits(values)
    places = exponents - _PLACES[0]
    after = np.zeros(len(values), bool)
    for group in range(5, 1, -1):
        left = digits // 10_000
        four = digits - 10_000 * left
        _put(text, start + 4 * group, trailing.take(four + 10_000 * after) | fields[group].take(places))
        after |= four > 0
        digits = left
    for group in range(2):
        _put(text, start + 4 * group, fields[group].take(places))
    text[:, start] = (values < 0) * np.uint8(ord("-"))
    text[:, start + 6] = digits + ord("0")
    _move_points(text[:, start + 7 : start + _VALUE_WIDTH], np.where(known, exponents, 0))
    rare = np.flatnonzero(~known)
    exact = np.array([repr(value) for value in values[rare].tolist()], f"S{_VALUE_WIDTH}")
    text[rare, start : start + _VALUE_WIDTH] = exact.view(np.uint8).reshape(-1, _VALUE_WIDTH)


def _put(text: NDArray[np.uint8], start: int, four: Fours) -> None:
    """Four bytes of each line, from `start` on."""
    np.ndarray(len(text), "<u4", text, start, text.strides[:1])[:] = four


def _move_points(text: NDArray[np.uint8], places: NDArray[np.int64]) -> None:
    """Move the point, which comes first, behind as many digits as `places` says, where that is more than 0."""
    for place in range(1, int(places.max(initial=0)) + 1):
        lines = np.flatnonzero(places == place)
        text[lines, :place] = text[lines, 1 : place + 1]
        text[lines, place] = ord(".")


@cache
def _leading() -> Fours:
    """The text of 0 .. 9999 with null bytes for leading zeros, and after them of 0 .. 9999 with all four digits."""
    return _tabled(_NUMBERS >= _TENS)


@cache
def _trailing() -> Fours:
    """The same with null bytes for zeros at the end."""
    return _tabled(_NUMBERS % (10 * _TENS) > 0)


def _tabled(shown: NDArray[np.bool_]) -> Fours:
    digits = _NUMBERS // _TENS % 10 + ord("0")
    return np.concatenate([digits * shown, digits]).astype(np.uint8).reshape(-1).view("<u4")


@cache
def _fields() -> Fours:
    """What a value's field holds whatever its digits are: (6, 20), four bytes each, by the first digit's place."""
    fields = np.frombuffer(b"".join(map(_field, _PLACES)), "<u4")
    return fields.reshape(len(_PLACES), -1).T.copy()


def _field(place: int) -> bytes:
    before = b"\0" + b"0." + b"0" * (-place - 1) if place < 0 else b"\0" * 7 + b"." + b"0" * (place + 1)
    return before.ljust(_VALUE_WIDTH, b"\0")  # where the point comes last, repr writes a zero after it
