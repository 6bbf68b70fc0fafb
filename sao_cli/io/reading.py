"""One reader for every format, recognised by its first bytes, so that each can also come through a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sao_cli.base.errors import FormatError
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.io.formats.matrix_market_reader import read_matrix_market
from sao_cli.io.formats.matrix_market_writer import BANNER
from sao_cli.io.formats.safetensors_header import looks_like_safetensors
from sao_cli.io.source import PathOrFile, Source, open_source
from sao_cli.io.tensors import no_names

if TYPE_CHECKING:
    from sao_cli.data.kernel import Kernel, Weight

_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_NPY = b"\x93NUMPY"
_PICKLE = b"\x80"
_EXPECTED = "expected Matrix Market text (%%MatrixMarket ...), .npz, .npy, .safetensors or .pt"


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
        return [_matrix(weight, opened.name) for weight in _read(opened, tensor)]


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
        return list(_read(opened, tensor))


def _matrix(weight: Weight, name: str) -> Matrix:
    if not isinstance(weight, Matrix):
        shape = "x".join(map(str, weight.shape))
        raise FormatError(
            f"{name}: a convolution kernel of {shape}, where a matrix is needed; read it with `sao spectrum FILE "
            "--image N`, and its mask with `sao verify` or `sao reach`"
        )
    return weight


def _read(source: Source, tensor: str | None, compressed: bool = False) -> Sequence[Weight]:
    start = source.peek(len(BANNER))
    if not start:
        raise source.fail(f"it is empty; {_EXPECTED}")
    if start.startswith(_GZIP) and not compressed:
        return _read_gzip(source, tensor)
    if start.lower() == BANNER.lower():
        no_names(tensor, source.name)
        return read_matrix_market(source)
    if start.startswith(_NPY):
        from sao_cli.io.formats.numpy_files import read_npy

        return read_npy(source, tensor)
    if looks_like_safetensors(start):
        from sao_cli.io.formats.safetensors_files import read_safetensors

        return read_safetensors(source, tensor)
    if start.startswith(_ZIP):
        return _read_zip(source, tensor)
    if start.startswith(_PICKLE):
        return _read_legacy_torch(source, tensor)
    from sao_cli.io.formats.foreign_formats import RECOGNISED_BY, foreign_format

    raise source.fail(foreign_format(source.peek(RECOGNISED_BY)) or f"found {start!r} at its start; {_EXPECTED}")


def _read_gzip(source: Source, tensor: str | None) -> Sequence[Weight]:
    import gzip
    import zlib

    with gzip.GzipFile(fileobj=source) as raw:  # type: ignore[call-overload]  # it needs no more than read()
        failures = (gzip.BadGzipFile, EOFError, zlib.error)
        return _read(Source(raw, source.name, failures=failures, packed=source), tensor, compressed=True)


def _read_zip(source: Source, tensor: str | None) -> Sequence[Weight]:
    from sao_cli.io.formats.archives import open_archive
    from sao_cli.io.formats.foreign_formats import foreign_archive
    from sao_cli.io.formats.numpy_files import read_npz
    from sao_cli.io.formats.torch_files import read_torch

    file = source.whole()
    with open_archive(file, source.name) as archive:
        names = archive.namelist()
        if any(name.endswith(".npy") for name in names):
            return read_npz(archive, source.name, tensor)
    if (foreign := foreign_archive(names)) is not None:
        raise source.fail(foreign)
    if any(name.endswith("data.pkl") for name in names):
        file.seek(0)
        return read_torch(file, source.name, tensor)
    raise source.fail("a zip archive that is neither .npz nor .pt")


def _read_legacy_torch(source: Source, tensor: str | None) -> Sequence[Weight]:
    from sao_cli.io.formats.foreign_formats import PICKLE
    from sao_cli.io.formats.torch_files import read_torch
    from sao_cli.io.formats.torch_records import LEGACY_MAGIC

    if source.peek(len(LEGACY_MAGIC)) != LEGACY_MAGIC:
        raise source.fail(f"this is {PICKLE}")
    return read_torch(source.whole(), source.name, tensor)
