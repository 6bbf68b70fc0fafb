"""Lines and blocks of lines from a stream of text, and the numbers in them, at the speed of numpy."""

from __future__ import annotations

import re
import warnings
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from sao_cli.errors import FormatError
from sao_cli.io.source import CHUNK, Source

MAX_LINE = 1 << 20  # bytes; no line of a matrix comes near, and input without line ends must not be read for ever
MAX_IDLE = 1 << 20  # bytes of comments and blank lines in a row; nor must endless ones

_DIGITS = b"0123456789"
_REAL = rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


class LineKind(NamedTuple):
    """What each line of a body must hold: `positions` whole numbers, then a real `value` or none."""

    positions: int
    value: bool
    pattern: bytes
    description: str

    @property
    def blanks(self) -> bytes:
        """What is left of a well-formed line when its numbers are taken out."""
        return b" " * (self.positions + self.value - 1) + b"\n"

    @property
    def characters(self) -> bytes:
        """The characters that its numbers are made of."""
        return _DIGITS + b"+-.eE" if self.value else _DIGITS


POSITION = LineKind(2, False, rb"\d+\s+\d+", '"row column"')
POSITION_AND_VALUE = LineKind(2, True, rb"\d+\s+\d+\s+" + _REAL, '"row column value"')
VALUE = LineKind(0, True, _REAL, "one number a line")


class Numbers(NamedTuple):
    """What k lines hold: `positions` (k, 2) int64 and `values` (k,) float64, of which a kind may have none."""

    positions: NDArray[np.int64]
    values: NDArray[np.float64]


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
        self._pass(len(line) + 1)
        return line, finished

    def block(self) -> Block | None:
        """As many whole lines as are at hand, up to the next comment or header line; None at either or at the end."""
        end = self._buffer.rfind(b"\n", self._start) + 1
        while end == 0 and not self._ended:
            self._fill()
            end = self._buffer.rfind(b"\n") + 1
        unfinished = end == 0 and self._start < len(self._buffer)
        text = self._buffer[self._start : end or len(self._buffer)]
        if b"%" in text:
            text = text[: 0 if text[:1] == b"%" else text.find(b"\n%") + 1 or len(text)]
        if not text:
            return None
        self._start += len(text)
        block = Block(text + b"\n" if unfinished else text, self.number + 1, unfinished)
        self.number += block.text.count(b"\n")
        self._pass(len(text))
        return block

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
    parsed = _parsed(block.text, kind)
    if parsed is None:  # not in the form that most writers choose; first the differences that can be mended fast
        parsed = _parsed(block.text.replace(b"\r\n", b"\n").replace(b"\t", b" "), kind)
    if parsed is None:
        entries = [b" ".join(line.split()) for _, line in entry_lines(block)]
        parsed = _parsed(b"".join(entry + b"\n" for entry in entries), kind)
    if parsed is None:
        _blame(block, kind, lines)
    if len(parsed.positions) or len(parsed.values):
        lines.idle = 0
    return parsed


def entry_lines(block: Block) -> list[tuple[int, bytes]]:
    """Number and text of each line of `block` that is neither blank nor a comment."""
    numbered = enumerate(block.text.split(b"\n"), block.first_line)
    stripped = ((number, line.strip()) for number, line in numbered)
    return [(number, line) for number, line in stripped if line and not line.startswith(b"%")]


def quoted(line: bytes) -> str:
    """`line` for a message: shortened, and with what can't be printed escaped."""
    text = repr(line[:40].decode("latin-1"))
    return text if len(line) <= 40 else text[:-1] + "..." + text[0]


def _parsed(text: bytes, kind: LineKind) -> Numbers | None:
    # The text without its numbers must be exactly the blanks of `count` lines, and there must be one number to each
    # blank: then no line has more or fewer than it should. np.fromstring alone takes any white space for any other.
    # With fewer numbers than that, np.fromiter or reshape raises ValueError; more there can't be.
    blanks = text.translate(None, kind.characters)
    count = len(blanks) // len(kind.blanks)
    if blanks != kind.blanks * count:
        return None
    try:
        if not kind.value:
            return Numbers(_integers(text).reshape(count, kind.positions), np.empty(0))
        words = text.split()
        values = np.fromiter(map(float, words[kind.positions :: kind.positions + 1]), np.float64, count)
        del words[kind.positions :: kind.positions + 1]
        return Numbers(_integers(b" ".join(words)).reshape(count, kind.positions), values)
    except ValueError:
        return None


def _integers(text: bytes) -> NDArray[np.int64]:
    """Raises ValueError for anything but whole numbers; those past int64 become its largest."""
    if not text:
        return np.empty(0, np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how numpy < 2.3 says what later ones raise
        try:
            return np.fromstring(text, dtype=np.int64, sep=" ")
        except DeprecationWarning as error:
            raise ValueError(str(error)) from error


def _blame(block: Block, kind: LineKind, lines: Lines) -> NoReturn:
    for number, line in entry_lines(block):
        if re.fullmatch(kind.pattern, line) is None:
            if re.search(rb"(?i)\b(nan|inf|infinity)\b", line):
                raise lines.fail(f"found {quoted(line)}; every value must be a finite number", number)
            raise lines.fail(f"expected {kind.description}, found {quoted(line)}", number)
    raise lines.fail("these lines can't be read as numbers", block.first_line)
