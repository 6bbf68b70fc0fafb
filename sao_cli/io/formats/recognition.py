"""Which format a source has, by its first bytes or, in a zip archive, by its members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sao_cli.base.errors import FormatError
from sao_cli.io.formats.registry import FORMATS, START, Door, Format, expected
from sao_cli.io.source import Source, WholeCopy, open_source

if TYPE_CHECKING:
    from sao_cli.io.formats.tensor_file import Path, TensorFile

GZIP = b"\x1f\x8b"
_SHORTEST = 9  # bytes, of which no file of any format is shorter
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


def recognised(source: Source, door: Door) -> Format:
    """The format that `source` has by its first bytes, or by the members of the archive that it is; none is taken.

    Raises FormatError for nothing at all and for a format without this door, with the way out where it is known.
    """
    start = source.peek(START)
    if not start:
        raise source.fail(f"it is empty; {expected(door)}")
    for row in FORMATS:
        if row.starts is not None and getattr(row, door) and row.starts(start):
            return row
    if start.startswith(_ZIP):
        return _archived(source, door)
    raise _strange(source, door)


def _archived(source: Source, door: Door) -> Format:
    from sao_cli.io.formats.archives import open_archive
    from sao_cli.io.formats.foreign_formats import foreign_archive

    with open_archive(source.whole(), source.name) as archive:
        members = archive.namelist()
    if (foreign := foreign_archive(members)) is not None:
        raise source.fail(foreign)
    for row in FORMATS:
        if row.member and getattr(row, door) and any(member.endswith(row.member) for member in members):
            return row
    known = " nor ".join(row.name for row in FORMATS if row.member)
    raise source.fail(f"a zip archive that is neither {known}; {expected(door)}")


def _strange(source: Source, door: Door) -> FormatError:
    from sao_cli.io.formats.foreign_formats import RECOGNISED_BY, foreign_format

    start = source.peek(RECOGNISED_BY)
    if (foreign := foreign_format(start)) is not None:
        return source.fail(foreign)
    short = f"{len(start)} bytes, cut off or of another format: " if len(start) < _SHORTEST else ""
    return source.fail(f"{short}found {start[:START]!r} at its start; {expected(door)}")


def unpacked(source: Source) -> Source:
    """What gzip packed into `source`, read forwards."""
    import gzip
    import zlib

    raw: Any = gzip.GzipFile(fileobj=source)  # type: ignore[call-overload]  # it needs no more than read()
    return Source(raw, source.name, failures=(gzip.BadGzipFile, EOFError, zlib.error), packed=source)


def open_tensors(place: Path | WholeCopy, *, listed: bool = False, compressed: bool = False) -> TensorFile:
    """The TensorFile in a regular file of any format that has one, or in a copy of a stream; "-" is standard input.

    To be closed. What gzip packed is unpacked into memory, unless it is `compressed` twice. `listed`: an index names
    it. What is cut off in a pipe is refused, as of a writer that failed. Raises FileError for what can't be opened, and
    FormatError, of one line, where nothing of it can be read.
    """
    from sao_cli.io.formats.tensor_file import Snapshot

    if place == "-":
        with open_source("-") as source:
            place = WholeCopy(source)
    with Snapshot(place).opened() as source:
        if not compressed and source.peek(len(GZIP)) == GZIP:
            return open_tensors(WholeCopy(unpacked(source)), compressed=True)
        found = recognised(source, "opens")
        if listed and not found.read:
            raise _strange(source, "opens")
        if isinstance(place, WholeCopy) and not found.read:
            raise source.fail(f"{found.name} names files beside it, which a pipe has not; name the file")
    opened: TensorFile = found.door(found.opens)(place)
    if isinstance(place, WholeCopy):
        opened.require_whole()
    return opened
