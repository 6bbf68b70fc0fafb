"""One reader for every format, recognised by its first bytes, so that each can also come through a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sao_cli.base.errors import FormatError
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.io.formats.recognition import GZIP, recognised, unpacked
from sao_cli.io.source import PathOrFile, Source, open_source

if TYPE_CHECKING:
    from sao_cli.data.kernel import Kernel, Weight


def read_masks(source: PathOrFile, *, tensor: str | None = None) -> list[Mask]:
    """The masks in a file, pipe or stream, first layer first: those of what read_weights returns.

    A matrix's is where it is not zero; a kernel's, (c_out, c_in), is which pairs of channels have a kernel.

    >>> read_masks("layer.npz")
    [Mask(512 x 256, nnz=4096, method='ramanujan')]
    """
    return [weight.mask for weight in read_weights(source, tensor=tensor)]


def read_matrices(source: PathOrFile, *, tensor: str | None = None) -> list[Matrix]:
    """The matrices in `source`, first layer first, as read_weights reads them where there are no kernels.

    Raises FormatError for a convolution kernel, and what read_weights does.

    >>> read_matrices("layer.npz")
    [Matrix(512 x 256, nnz=4096, pattern)]
    """
    with open_source(source) as opened:
        return [require_matrix(weight, opened.name) for weight in read_from(opened, tensor)]


def read_weights(source: PathOrFile, *, tensor: str | None = None) -> list[Matrix | Kernel]:
    """The matrices and convolution kernels in `source`, first layer first.

    A tensor with two axes is a Matrix: a mask, with float64 values where the input holds numbers. One with three to
    five, (c_out, c_in, k_1, ...), is a Kernel; booleans make one of ones.

    `source` is a path, "-" (standard input) or a binary file object. Its first bytes tell the format, whatever its
    name: Matrix Market text with any number of documents, scipy's sparse .npz, .npz and .npy of dense arrays,
    .safetensors, torch's .pt, and any of them in gzip. `tensor` chooses one of several named tensors. What
    torch.nn.utils.prune keeps as NAME_orig and NAME_mask is read as NAME, their product.

    Entries of one position are summed (in masks they count once) and zeros are dropped, said by a SaoWarning.
    Raises FileError for what can't be opened or read, FormatError for content that is no weight or is cut off, and
    MemoryLimitError before allocating for sizes that would not fit. Nothing in the input is ever executed.

    >>> import numpy as np
    >>> np.savez("model.npz", conv=np.ones((8, 4, 3, 3), np.float32), fc=np.eye(8))
    >>> read_weights("model.npz", tensor="conv")
    [Kernel(8 x 4 x 3 x 3, kernels=32, float32)]
    """
    with open_source(source) as opened:
        return list(read_from(opened, tensor))


def require_matrix(weight: Weight, name: str) -> Matrix:
    """The matrix that a weight is, of a source that messages call `name`. Raises FormatError for a kernel."""
    if not isinstance(weight, Matrix):
        shape = "x".join(map(str, weight.shape))
        raise FormatError(
            f"{name}: a convolution kernel of {shape}, where a matrix is needed; read it with `sao spectrum FILE "
            "--image N`, and its mask with `sao verify` or `sao reach`"
        )
    return weight


def read_from(source: Source, tensor: str | None, compressed: bool = False) -> Sequence[Weight]:
    """What read_weights reads, from an open Source."""
    if not compressed and source.peek(len(GZIP)) == GZIP:
        return read_from(unpacked(source), tensor, compressed=True)
    found = recognised(source, "read")
    weights: Sequence[Weight] = found.door(found.read)(source, tensor)
    return weights
