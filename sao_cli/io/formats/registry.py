"""Every file format, a row each: how it is recognised, what it can hold, and where its readers and its writer are.

Strings and looks at first bytes only: a format's own module is imported when a file of it is read or written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from sao_cli.base.names import load

Door = Literal["read", "opens"]
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began a file before version 1.6
START = 16  # bytes, which tell every format
MAX_HEADER = 100_000_000  # bytes, the limit of safetensors itself


class Format(NamedTuple):
    """A format. Its doors are "module:function" in this folder, or empty where it has none.

    `read` takes a Source and the name of a tensor, or None, and gives the weights, first layer first; `opens` takes a
    path and gives its TensorFile, for a checkpoint; `write` takes the weights and a binary file.
    """

    name: str  # in messages
    starts: Callable[[bytes], bool] | None = None  # whether these are its first bytes
    member: str = ""  # in a zip archive, how the name of a member of it ends
    read: str = ""
    opens: str = ""
    write: str = ""
    suffixes: tuple[str, ...] = ()  # of the files that are written
    in_folders: tuple[str, ...] = ()  # of the files that a folder's name may stand for
    several: bool = True  # more than one weight
    forwards: bool = False  # no names need be known before it is read
    kernels: bool = True
    bfloat16: bool = True

    def door(self, home: str) -> Callable[..., Any]:
        """The function of one of its doors, imported now."""
        return load(f"io.formats.{home}")


def _starts_safetensors(start: bytes) -> bool:
    """Whether the first 9 bytes are the length of a header and the brace that opens it."""
    return start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= MAX_HEADER


FORMATS = (  # in the order in which they are offered, and members of archives looked for
    Format(
        "Matrix Market text (%%MatrixMarket ...)",
        lambda start: start.lower().startswith(b"%%matrixmarket"),
        read="matrix_market_reader:read_matrix_market",
        opens="matrix_market_file:MatrixMarketFile",
        write="matrix_market_writer:write_matrix_market",
        suffixes=(".mtx", ".mtx.gz"),
        forwards=True,
        kernels=False,
    ),
    Format(
        ".npz",
        member=".npy",
        read="numpy_files:read_npz",
        opens="numpy_files:NpzFile",
        write="numpy_files:write_npz",
        suffixes=(".npz",),
    ),
    Format(
        ".npy",
        lambda start: start.startswith(b"\x93NUMPY"),
        read="numpy_files:read_npy",
        opens="numpy_files:NpyFile",
        write="numpy_files:write_npy",
        suffixes=(".npy",),
        several=False,
        bfloat16=False,
    ),
    Format(
        ".safetensors",
        _starts_safetensors,
        read="safetensors_files:read_safetensors",
        opens="safetensors_files:SafetensorsFile",
        write="safetensors_files:write_safetensors",
        suffixes=(".safetensors",),
        in_folders=(".safetensors",),
    ),
    Format(
        ".pt",
        lambda start: start.startswith(LEGACY_MAGIC),
        member="data.pkl",
        read="torch_files:read_torch",
        opens="torch_files:TorchFile",
        write="torch_files:write_torch",
        suffixes=(".pt",),
        in_folders=(".pt", ".pth", ".bin"),
    ),
    Format(
        "an index (.safetensors.index.json)",
        lambda start: start.lstrip().startswith(b"{"),
        opens="shards:ShardedFiles",
    ),
)


def expected(door: Door) -> str:
    """The formats that have this door, for a message.

    >>> expected("read")
    'expected Matrix Market text (%%MatrixMarket ...), .npz, .npy, .safetensors or .pt'
    """
    return "expected " + either([row.name for row in FORMATS if getattr(row, door)])


def either(names: list[str] | tuple[str, ...]) -> str:
    """Names for a sentence: commas, and "or" before the last.

    >>> either([".npz", ".npy", ".pt"])
    '.npz, .npy or .pt'
    """
    return " or ".join(", ".join(names).rsplit(", ", 1))


def suffixes_for(*, kernels: bool = False) -> tuple[str, ...]:
    """The suffixes of files that are written: of those that hold kernels, where that is asked."""
    return tuple(suffix for row in FORMATS if row.kernels or not kernels for suffix in row.suffixes)


def format_of(suffix: str) -> Format:
    """The format of one of the suffixes."""
    return next(row for row in FORMATS if suffix in row.suffixes)
