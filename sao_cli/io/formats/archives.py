"""Zip archives (.npz, .pt) whose directory can be true: checked before anything in them is unpacked or mapped."""

from __future__ import annotations

import os
import zipfile
import zlib
from typing import IO

from sao_cli.base.errors import FormatError
from sao_cli.io.output import brief, file_error
from sao_cli.io.proportions import require_count, require_proportion

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
_HEADER = 30  # bytes of a member's own header before its name


def open_archive(file: str | os.PathLike[str] | IO[bytes], name: str) -> zipfile.ZipFile:
    """The zip archive in a path or a seekable file; to be closed, which leaves a file object open.

    Its members are stored or deflated, under names of their own, and each lies within the file, apart from the
    others. Raises FileError for a path that can't be read, and FormatError, naming `name`, for any other archive and
    for one that would become more than require_proportion allows. O(members).
    """
    try:
        archive = zipfile.ZipFile(file)
    except (*DAMAGED, ValueError, IndexError, OverflowError, OSError) as error:
        if isinstance(error, OSError) and not hasattr(file, "read"):
            raise file_error(error, name, "read") from error
        raise _damaged(name, error) from error
    try:
        _require_true(archive, name)
    except BaseException:
        archive.close()
        raise
    return archive


def _require_true(archive: zipfile.ZipFile, name: str) -> None:
    require_count(len(archive.infolist()), name)
    members = sorted(archive.infolist(), key=lambda member: member.header_offset)
    if len({member.filename.lower() for member in members}) < len(members):  # torch's reader knows no capitals
        raise _damaged(name, "two of its members have one name")
    if wrong := [
        member for member in members if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    ]:
        raise _damaged(name, f"{wrong[0].filename} is compressed by a method other than deflate")
    ends = [*(member.header_offset for member in members), archive.start_dir][1:]
    for member, end in zip(members, ends, strict=True):
        if (start := _start(archive, member)) is None or start + member.compress_size > end:
            raise _damaged(name, f"{member.filename} is not where its directory has it")
    packed = sum(member.compress_size for member in members)
    require_proportion(packed, sum(member.file_size for member in members), name)


def _start(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int | None:
    """Where the member's data begins, behind its own header; None where there is no such header."""
    assert archive.fp is not None
    if member.header_offset < 0:
        return None
    archive.fp.seek(member.header_offset)
    header = archive.fp.read(_HEADER)
    if len(header) < _HEADER or not header.startswith(b"PK\3\4"):
        return None
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return member.header_offset + _HEADER + lengths


def _damaged(name: str, detail: object) -> FormatError:
    return FormatError(f"{name}: a zip archive (.npz or .pt) that is damaged or cut off ({brief(detail)})")
