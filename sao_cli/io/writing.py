"""One writer for every format; on files the suffix decides, streams get Matrix Market text or safetensors bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, cast

import numpy as np

from sao_cli.base.errors import FileError, FormatError
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import FINITE, Matrix
from sao_cli.io.formats.matrix_market_writer import write_matrix_market
from sao_cli.io.output import atomic_output, naming_output, refuse_terminal, shown, standard_output
from sao_cli.io.tensors import NO_BFLOAT16

if TYPE_CHECKING:
    from sao_cli.data.kernel import Kernel, Weight
    from sao_cli.io.source import PathOrFile

SUFFIXES = (".mtx", ".mtx.gz", ".npz", ".npy", ".safetensors", ".pt")
_SINGLE = (".npz", ".npy")
_TEXT = (".mtx", ".mtx.gz")


def write_masks(masks: Mask | Sequence[Mask], destination: PathOrFile) -> None:
    """Write a mask, or a stack of them, first layer first; see write_matrices.

    >>> write_masks([Mask.from_dense([[1, 0], [0, 1]])], "identity.mtx")
    """
    stack = [masks] if isinstance(masks, Mask) else masks
    write_matrices([Matrix(mask) for mask in stack], destination)


def write_matrices(matrices: Matrix | Sequence[Matrix], destination: PathOrFile) -> None:
    """Write a matrix, or a stack of them, so that read_matrices gives them back bit for bit.

    `destination` is "-" (standard output) or a binary file object, which get Matrix Market text, or a path, whose
    suffix decides: .mtx and .mtx.gz (text), .npz (scipy.sparse csr; one matrix), .npy (dense; one matrix),
    .safetensors and .pt (dense tensors layer.1, layer.2 ...). Files appear whole or not at all (atomic_output). All
    but .npy carry the provenance. The same matrices give the same bytes.

    Raises FormatError for a stack where the format holds one matrix, for bfloat16 in .npy, which has no name for it,
    and for values that are 0 or not finite (no reader could give them back), FileError for an unknown suffix and for
    what can't be written, MemoryLimitError where a dense format would not fit, and BrokenPipeError where the reader
    of standard output has gone.
    """
    write_weights(matrices, destination)


def write_kernel(kernel: Kernel, destination: PathOrFile) -> None:
    """Write a convolution kernel so that read_weights gives it back bit for bit.

    `destination` is "-" (standard output) or a binary file object, which get safetensors bytes, or a path, whose
    suffix decides: .safetensors and .pt (a tensor "weight" of the kernel's own dtype, as torch.nn.Conv2d's state_dict
    has it), .npz (a dense array "weight") and .npy (not of bfloat16, which it can't name). All but .npy carry the
    provenance, and which of the kernels are kept though they are zero as wholes. The rest is as in write_matrices.

    Raises FileError for .mtx, which has no place for taps, and what write_matrices raises.

    >>> from sao_cli.data.kernel import Kernel
    >>> write_kernel(Kernel.from_dense(np.ones((8, 4, 3, 3))), "kernel.safetensors")
    """
    write_weights(kernel, destination)


def write_weights(weights: Weight | Sequence[Weight], destination: PathOrFile) -> None:
    """Write a matrix, a kernel or a stack of them so that read_weights gives them back bit for bit.

    Without kernels this is write_matrices; a single kernel is written as write_kernel does it. A stack with kernels
    goes to .safetensors or .pt, as tensors layer.1, layer.2 ..., or to a stream as safetensors bytes.
    """
    stack = list(weights) if isinstance(weights, Sequence) else [weights]
    _require_writable(stack)
    kernels = not all(isinstance(weight, Matrix) for weight in stack)
    if destination == "-":
        if kernels:
            refuse_terminal("a kernel")
        with standard_output() as file:
            _write(stack, _streamed(kernels), file)
    elif isinstance(destination, str | os.PathLike):
        suffix = suffix_for(destination, len(stack), kernels=kernels)
        if suffix == ".npy" and stack[0].values is not None and stack[0].dtype == "bfloat16":
            raise FormatError(f"{shown(destination)}: {NO_BFLOAT16}, or --dtype float32")
        with atomic_output(destination) as file:
            _write(stack, suffix, file)
    else:
        with naming_output(str(getattr(destination, "name", "the output"))):
            _write(stack, _streamed(kernels), destination)


def _write(stack: list[Weight], suffix: str, file: IO[bytes]) -> None:
    if suffix == ".mtx":
        write_matrix_market(cast("list[Matrix]", stack), file)
    elif suffix == ".mtx.gz":
        import gzip

        with gzip.GzipFile("", "wb", 6, file, mtime=0) as compressed:  # no name, no time: the same bytes each time
            write_matrix_market(cast("list[Matrix]", stack), compressed)  # type: ignore[arg-type]
    elif suffix in _SINGLE:
        from sao_cli.io.formats import numpy_files

        (numpy_files.write_npz if suffix == ".npz" else numpy_files.write_npy)(stack[0], file)
    elif suffix == ".safetensors":
        from sao_cli.io.formats.safetensors_files import write_safetensors

        write_safetensors(stack, file)
    else:
        from sao_cli.io.formats.torch_files import write_torch

        write_torch(stack, file)


def suffix_for(path: str | os.PathLike[str], count: int, *, kernels: bool = False) -> str:
    """The suffix that decides how `count` matrices are written to `path`; to be asked before long work.

    With `kernels` some of them are convolution kernels. Raises FileError for an unknown suffix, and for one whose
    format has no place for kernels, and FormatError for several matrices where the format holds one.
    """
    name = os.path.basename(os.fsdecode(path)).lower()
    known = [suffix for suffix in SUFFIXES if name.endswith(suffix) and name != suffix]
    if not known and path != "-" and not _is_stream(path):
        possible = ", ".join(suffix for suffix in SUFFIXES if not (kernels and suffix in _TEXT))
        raise FileError(f"can't tell a format from the name {shown(path)}; end it in one of {possible}")
    suffix = known[0] if known else _streamed(kernels)
    if kernels and suffix in _TEXT:
        raise FileError(f"{shown(path)}: a {suffix} file holds matrices, and a kernel has taps too; use .safetensors")
    if suffix in _SINGLE and count > 1:
        better = ".safetensors" if kernels else ".mtx or .safetensors"
        raise FormatError(f"{shown(path)}: a {suffix} file holds one matrix, and there are {count}; use {better}")
    return suffix


def _streamed(kernels: bool) -> str:
    return ".safetensors" if kernels else ".mtx"


def _is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether the path is there and is no file that a suffix could describe: a pipe, a device, a descriptor."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return os.fsdecode(path).startswith(("/dev/", "/proc/")) or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _require_writable(stack: list[Weight]) -> None:
    if not stack:
        raise FormatError("there is no matrix to write; give at least one")
    for number, weight in enumerate(stack, 1):
        if weight.values is None:
            continue
        kind = "matrix" if isinstance(weight, Matrix) else "kernel"
        zeros = (weight.values == 0) & (kind == "matrix")  # within a kernel, any tap may be 0
        wrong = weight.values[~np.isfinite(weight.values) | zeros]
        if len(wrong):
            rule = "a mask's ones have other values" if wrong[0] == 0 else FINITE
            raise FormatError(f"{kind} {number} has the value {wrong[0]} on its mask; {rule}")
