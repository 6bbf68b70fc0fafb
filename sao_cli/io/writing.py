"""One writer for every format; on files the suffix decides, streams get Matrix Market text or safetensors bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import numpy as np

from sao_cli.base.errors import FileError, FormatError
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import FINITE, Matrix
from sao_cli.io.formats.registry import either, format_of, suffixes_for
from sao_cli.io.output import atomic_output, naming_output, refuse_terminal, shown, standard_output
from sao_cli.io.tensors import NO_BFLOAT16

if TYPE_CHECKING:
    from sao_cli.data.kernel import Kernel, Weight
    from sao_cli.io.source import PathOrFile


def write_masks(masks: Mask | Sequence[Mask], destination: PathOrFile) -> None:
    """Write a mask, or a stack of them, first layer first; see write_matrices.

    >>> write_masks([Mask.from_dense([[1, 0], [0, 1]])], "identity.mtx")
    """
    stack = [masks] if isinstance(masks, Mask) else masks
    write_matrices([Matrix(mask) for mask in stack], destination)


def write_matrices(matrices: Matrix | Sequence[Matrix], destination: PathOrFile) -> None:
    """Write a matrix, or a stack of them, so that read_matrices gives them back bit for bit.

    `destination` is "-" (standard output) or a binary file object, which get Matrix Market text, or a path, whose
    suffix decides: .mtx and .mtx.gz (text), .npz (scipy.sparse csr; of a stack dense arrays), .npy (dense; one matrix),
    .safetensors and .pt (dense tensors layer.1, layer.2 ...). Files appear whole or not at all (atomic_output). All but
    .npy carry the provenance. The same matrices give the same bytes.

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
        if not format_of(suffix).bfloat16 and stack[0].values is not None and stack[0].dtype == "bfloat16":
            raise FormatError(f"{shown(destination)}: {NO_BFLOAT16}, or --round-to float32")
        with atomic_output(destination) as file:
            _write(stack, suffix, file)
    else:
        with naming_output(str(getattr(destination, "name", "the output"))):
            _write(stack, _streamed(kernels), destination)


def _write(stack: list[Weight], suffix: str, file: IO[bytes]) -> None:
    format = format_of(suffix)
    write = format.door(format.write)
    if not suffix.endswith(".gz"):
        write(stack, file)
        return
    import gzip

    with gzip.GzipFile("", "wb", 6, file, mtime=0) as compressed:  # no name, no time: the same bytes each time
        write(stack, compressed)


def suffix_for(path: str | os.PathLike[str], count: int, *, kernels: bool = False) -> str:
    """The suffix that decides how `count` matrices are written to `path`; to be asked before long work.

    With `kernels` some of them are convolution kernels. Raises FileError for an unknown suffix, and for one whose
    format has no place for kernels, and FormatError for several matrices where the format holds one.
    """
    suffix = _suffix_of(path, kernels)
    format = format_of(suffix)
    if kernels and not format.kernels:
        raise FileError(f"{shown(path)}: a {suffix} file holds matrices, and a kernel has taps too; use .safetensors")
    if not format.several and count > 1:
        better = either(tuple(dict.fromkeys((_streamed(kernels), _streamed(kernels=True)))))
        raise FormatError(f"{shown(path)}: a {suffix} file holds one matrix, and there are {count}; use {better}")
    return suffix


def _suffix_of(path: str | os.PathLike[str], kernels: bool) -> str:
    name = os.path.basename(os.fsdecode(path)).lower()
    for suffix in suffixes_for():
        if name.endswith(suffix) and name != suffix:
            return suffix
    if path == "-" or _is_stream(path):
        return _streamed(kernels)
    possible = ", ".join(suffixes_for(kernels=kernels))
    raise FileError(f"can't tell a format from the name {shown(path)}; end it in one of {possible}")


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
