"""What a file by torch.save claims of its storages, held against the bytes that are there, before torch reads it.

torch takes a storage's length from the pickle and its place from the archive, and where the record is shorter it reads
on into whatever comes next. So the pickle's instructions are followed here, building nothing: a stack of strings,
numbers and tuples is all that an account of the storages needs.
"""

from __future__ import annotations

import os
import pickletools
import zipfile
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory
from sao_cli.io.formats.archives import DAMAGED, open_archive
from sao_cli.io.formats.registry import LEGACY_MAGIC
from sao_cli.io.output import brief

_BEFORE_LEGACY_DATA = 3  # pickles: magic number, protocol, system
_MOST_STEPS = 10_000_000  # a tensor takes some thirty
_PICKLED = 48  # bytes of Python objects that a byte of a pickle may become
_WIDTHS = {
    "Bool": 1, "Byte": 1, "Char": 1, "Short": 2, "Int": 4, "Long": 8, "Half": 2, "BFloat16": 2, "Float": 4, "Double": 8,
    "ComplexFloat": 8, "ComplexDouble": 16, "QUInt8": 1, "QInt8": 1, "QInt32": 4, "QUInt4x2": 1, "QUInt2x4": 1,
    "Untyped": 1,
}  # fmt: skip


class Claim(NamedTuple):
    """A storage as a pickle tells of it: the `key` of its record, and the bytes that its numbers take."""

    key: str
    size: int


class _Global(NamedTuple):
    path: str


def require_sound(file: IO[bytes], name: str) -> bool:
    """Raise FormatError where a record of the seekable `file` is missing, or shorter than a storage that is claimed.

    Also for a pickle that would build something large out of nothing. Returns whether all records are stored as they
    are, so that the file can be mapped. O(bytes of the pickle), and no storage is read.
    """
    file.seek(0)
    if file.read(len(LEGACY_MAGIC)) == LEGACY_MAGIC:
        _require_sound_legacy(file, name)
        return False
    with open_archive(file, name) as archive:
        members = {member.filename: member for member in archive.infolist()}
        folder = next(iter(members), "").partition("/")[0]
        if (pickled := members.get(f"{folder}/data.pkl")) is None:
            raise FormatError(f"{name}: a zip archive whose first folder has no data.pkl: no file by torch.save")
        require_memory(_PICKLED * pickled.file_size, f"{name}: its data.pkl")
        for claim in _claims(_unpacked(archive, pickled, name), name):
            record = members.get(f"{folder}/data/{claim.key}")
            if claim.size and (record is None or record.file_size < claim.size):
                found = "is missing" if record is None else f"has {record.file_size} bytes"
                told = f"its record data/{brief(claim.key, 40)} {found}, and the tensors in it take {claim.size}"
                raise FormatError(f"{name}: {told}: it is damaged")
        return all(member.compress_type == zipfile.ZIP_STORED for member in members.values())


def _require_sound_legacy(file: IO[bytes], name: str) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    require_memory(2 * size, f"{name}, of a format that is read as a whole,")
    for _ in range(_BEFORE_LEGACY_DATA):
        list(_claims(file, name))
    sizes: dict[str, int] = {}
    for claim in _claims(file, name):
        sizes[claim.key] = max(sizes.get(claim.key, 0), claim.size)
    if sum(sizes.values()) > size - file.tell():
        told = f"its tensors take {sum(sizes.values())} bytes, and {size - file.tell()} are left for them"
        raise FormatError(f"{name}: {told}: it is cut off")


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> bytes:
    try:
        return archive.read(member)
    except (*DAMAGED, ValueError) as error:
        raise FormatError(f"{name}: its data.pkl is damaged or cut off ({brief(error)})") from error


def _claims(pickled: bytes | IO[bytes], name: str) -> Iterator[Claim]:
    """The storages that a pickle asks for, in its order; a file is left behind the end of the pickle."""
    try:
        yield from _followed(pickled)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise FormatError(f"{name}: its pickle is damaged or cut off ({brief(error)})") from error


def _followed(pickled: bytes | IO[bytes]) -> Iterator[Claim]:
    stacks: list[list[Any]] = [[]]  # a new one for each mark
    memo: dict[Any, Any] = {}
    for step, (code, argument, _) in enumerate(pickletools.genops(pickled)):
        if step > _MOST_STEPS:
            raise ValueError(f"more than {_MOST_STEPS} instructions, which no network takes")
        kind, stack = code.name, stacks[-1]
        if kind == "MARK":
            stacks.append([])
        elif kind.endswith("GET"):
            stack.append(memo[argument])
        elif kind.endswith("PUT") or kind == "MEMOIZE":
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif kind == "GLOBAL":
            stack.append(_Global(str(argument).replace(" ", ".")))
        elif "PERSID" in kind:
            yield _claim(stack.pop())
            stack.append(None)
        else:
            taken = _taken(stacks, code)
            if kind in ("REDUCE", "NEWOBJ"):
                _require_small(*taken)
            stacks[-1] += [_made(kind, argument, taken)] * len(code.stack_after)


def _taken(stacks: list[list[Any]], code: pickletools.OpcodeInfo) -> list[Any]:
    """What an instruction takes, first in first: what came after a mark, or as many as it needs."""
    needed, taken = code.stack_before, []
    if pickletools.markobject in needed:
        taken = stacks.pop()
        needed = needed[: needed.index(pickletools.markobject)]
    stack = stacks[-1]
    if len(needed) > len(stack):
        raise IndexError("it takes more from its stack than there is")
    place = len(stack) - len(needed)
    taken = taken or stack[place:]
    del stack[place:]
    return taken


def _made(kind: str, argument: Any, taken: list[Any]) -> Any:
    """What an instruction leaves, where that can be a part of a storage's account; None for all else."""
    if "TUPLE" in kind:
        return tuple(taken)
    if kind == "STACK_GLOBAL":
        return _Global(f"{taken[0]}.{taken[1]}")
    return None if taken else argument


def _claim(told: Any) -> Claim:
    if not isinstance(told, tuple) or len(told) not in (5, 6) or told[0] != "storage":
        raise ValueError("a persistent object that is no storage")
    kind, key, numbers = told[1], told[2], told[4]
    if not isinstance(kind, _Global) or not isinstance(key, str) or type(numbers) is not int or numbers < 0:
        raise ValueError("a storage without type, key and length")
    width = _WIDTHS.get(kind.path.rpartition(".")[2].removesuffix("Storage"))
    if width is None:
        raise ValueError(f"a storage of the unknown type {kind.path}")
    return Claim(key, width * numbers)


def _require_small(call: Any, arguments: Any) -> None:
    """What a short pickle could make large: arrays of a length that it names, and codecs of quadratic cost."""
    path = call.path if isinstance(call, _Global) else ""
    last = path.rpartition(".")[2]
    if last == "bytearray" or (last.endswith("Tensor") and not last.startswith("_")):
        raise ValueError(f"it calls {path}, which no file of plain tensors does")
    if last == "encode" and not (isinstance(arguments, tuple) and arguments[1:] == ("latin1",)):
        raise ValueError("it encodes text other than by latin1")
