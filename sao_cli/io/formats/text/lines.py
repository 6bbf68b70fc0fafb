"""Lines and blocks of lines from a stream of text, and the numbers in them, at the speed of numpy."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from sao_cli.base.errors import FormatError
from sao_cli.io.formats.text.plain_numbers import Numbers, plain_numbers
from sao_cli.io.source import CHUNK, Source

MAX_LINE = 1 << 20  # bytes; no line of a matrix comes near, and input without line ends must not be read for ever
MAX_IDLE = 1 << 20  # bytes of comments and blank lines in a row; nor must endless ones
_LEAST = 16  # bytes that a line by itself counts for: a million empty ones take their time too
BLOCK = 3 << 17  # bytes parsed at once, about: many for each step in Python, few enough for the cache

_REAL = rb"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
_BLANKS = bytes.maketrans(b"\t\r\v\f", b"    ")
_LARGEST = np.iinfo(np.int64).max


class LineKind(NamedTuple):
    """What each line of a body must hold: `positions` whole numbers, then a real `value` or none."""

    positions: int
    value: bool
    pattern: bytes
    description: str


POSITION = LineKind(2, False, rb"(\d+)\s+(\d+)", '"row column"')
POSITION_AND_VALUE = LineKind(2, True, rb"(\d+)\s+(\d+)\s+" + _REAL, '"row column value"')
VALUE = LineKind(0, True, _REAL, "one number a line")


class Block(NamedTuple):
    """Consecutive whole lines of a body; `unfinished` where the last one lacks its line end."""

    text: bytes
    first_line: int
    unfinished: bool


class Lines:
    """The lines of `source`, with their numbers.

    `document` (1, 2 ...) goes into messages from the second one on; `idle` counts the bytes since the last number.
    """

    def __init__(self, source: Source) -> None:
        self.document = 0
        self.number = 0
        self.idle = 0
        self._source = source
        self._buffer = b""
        self._start = 0
        self._ended = False

    @property
    def where(self) -> str:
        """What opens a message about the present document."""
        return self._source.name if self.document <= 1 else f"{self._source.name}: matrix {self.document}"

    def fail(self, problem: str, line: int | None = None) -> FormatError:
        """A FormatError that names the source, the document and the line."""
        return FormatError(f"{self.where}: {problem}" if line is None else f"{self.where}: line {line}: {problem}")

    def line(self) -> tuple[bytes, bool] | None:
        """The next line without its end, and whether it has one; None after the last."""
        end = self._buffer.find(b"\n", self._start)
        while end < 0 and not self._ended:
            self._fill()
            end = self._buffer.find(b"\n")
        finished = end >= 0
        if not finished:
            end = len(self._buffer)
            if end == self._start:
                return None
        line = self._buffer[self._start : end]
        self._start = min(end + 1, len(self._buffer))
        self.number += 1
        self._pass(max(len(line) + 1, _LEAST))
        return line, finished

    def block(self) -> Block | None:
        """Some whole lines, up to the next comment or header line at most; None at either or at the end."""
        while (end := self._end_of_lines()) == 0 and not self._ended:
            self._fill()
        unfinished = end == 0 and self._start < len(self._buffer)
        text = self._buffer[self._start : end or len(self._buffer)]
        if b"%" in text:
            text = text[: 0 if text[:1] == b"%" else text.find(b"\n%") + 1 or len(text)]
        if not text:
            return None
        self._start += len(text)
        block = Block(text + b"\n" if unfinished else text, self.number + 1, unfinished)
        self.number += int(np.count_nonzero(np.frombuffer(block.text, np.uint8) == ord("\n")))
        self._pass(len(text))
        return block

    def _end_of_lines(self) -> int:
        """Where the last line ends of about BLOCK bytes at hand; 0 where none does."""
        end = self._buffer.rfind(b"\n", self._start, self._start + BLOCK) + 1
        return end or self._buffer.find(b"\n", self._start + BLOCK) + 1

    def _pass(self, count: int) -> None:
        self.idle += count
        if self.idle > MAX_IDLE + CHUNK:
            raise self.fail(f"more than {MAX_IDLE} bytes of comments and blank lines; this is no Matrix Market text")

    def _fill(self) -> None:
        rest = self._buffer[self._start :]
        if len(rest) > MAX_LINE:
            raise self.fail(f"a line of more than {MAX_LINE} bytes; this is no Matrix Market text", self.number + 1)
        more = self._source.read(CHUNK)
        self._ended = not more
        self._buffer, self._start = rest + more, 0


def numbers(block: Block, kind: LineKind, lines: Lines) -> Numbers:
    """The numbers in those lines of `block` that are neither blank nor comments; values correctly rounded.

    Raises FormatError for the first line that does not hold what `kind` says, all of it and nothing else.
    """
    found = plain_numbers(block.text, kind.positions, kind.value)
    if found is None:
        found = plain_numbers(_squeezed(block.text), kind.positions, kind.value)
    if found is None:
        found = _line_by_line(block, kind, lines)
    if len(found.positions) or len(found.values):
        lines.idle = 0
    return found


def entry_lines(block: Block) -> list[tuple[int, bytes]]:
    """Number and text of each line of `block` that is neither blank nor a comment."""
    numbered = enumerate(block.text.split(b"\n"), block.first_line)
    stripped = ((number, line.strip()) for number, line in numbered)
    return [(number, line) for number, line in stripped if line and not line.startswith(b"%")]


def quoted(line: bytes) -> str:
    """`line` for a message: shortened, and with what can't be printed escaped."""
    text = repr(line[:40].decode("latin-1"))
    return text if len(line) <= 40 else text[:-1] + "..." + text[0]


def _squeezed(text: bytes) -> bytes:
    """`text` with one blank between numbers, and none elsewhere: no other white space, no blank lines."""
    text = text.translate(_BLANKS)
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    text = text.replace(b" \n", b"\n").replace(b"\n ", b"\n")
    while b"\n\n" in text:
        text = text.replace(b"\n\n", b"\n")
    return text.lstrip(b" \n")


def _line_by_line(block: Block, kind: LineKind, lines: Lines) -> Numbers:
    """The numbers of lines among which there are comments, very many digits, or faults, of which the first is told."""
    positions: list[list[int]] = []
    values: list[float] = []
    for number, line in entry_lines(block):
        if (match := re.fullmatch(kind.pattern, line)) is None:
            raise _fault(line, number, kind, lines)
        positions.append([_position(digits) for digits in match.groups()[: kind.positions]])
        values += [float(text) for text in match.groups()[kind.positions :]]
    return Numbers(np.array(positions, np.int64).reshape(len(positions), kind.positions), np.array(values))


def _position(digits: bytes) -> int:
    """The number, or the largest of int64 where it has 19 digits or more: no matrix is that large."""
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) < 19 else _LARGEST


def _fault(line: bytes, number: int, kind: LineKind, lines: Lines) -> FormatError:
    if re.search(rb"(?i)\b(nan|inf|infinity)\b", line):
        return lines.fail(f"found {quoted(line)}; every value must be a finite number", number)
    return lines.fail(f"expected {kind.description}, found {quoted(line)}", number)
