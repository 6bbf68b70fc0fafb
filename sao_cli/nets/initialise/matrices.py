"""Initialisers in the manner of torch.nn.init: they fill a weight (m, n) in place and return it."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import PRECISIONS
from sao_cli.masks.two_stage import METHOD as TWO_STAGE
from sao_cli.weights.build_weights import weight_stack
from sao_cli.weights.givens import METHOD as EOI


def initialize_(
    tensor: torch.Tensor,
    method: str = "sao",
    *,
    degree: int | None = None,
    sparsity: float | None = None,
    values: str | None = None,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """`tensor` (m, n), filled in place with the weights of the method of that name; all else in it becomes 0.

    `method` and `values` are those of weight_stack, and so is the rule for `degree` (ones a row) and `sparsity`: one
    of them, or the feasible degree nearest to 4 by neither. The shape is torch.nn.Linear.weight's: rows are outputs.
    The weights are drawn in float64 on the CPU and rounded once to the tensor's dtype, float64, float32, float16 or
    bfloat16; every device gets the same ones. Autograd does not record it. As in torch.nn.init, a tensor on the meta
    device stays as it is.

    Its seed is one number drawn from `generator`, torch's default one unless told, so that torch.manual_seed makes
    it reproducible.

    Raises FormatError for a tensor that is no matrix of such numbers, and what weight_stack raises. The method's cost,
    and O(m n) to clear the tensor; O(nnz) numbers go to the device.

    >>> weight = initialize_(torch.empty(8, 16), "sao", degree=4, generator=torch.Generator().manual_seed(0))
    >>> (weight != 0).sum(1).unique(), torch.allclose(weight @ weight.T, torch.eye(8), atol=1e-6)
    (tensor([4]), True)
    """
    check_matrix(tensor)
    if tensor.is_meta:
        return tensor
    m, n = tensor.shape
    degree = whole_degree(degree)
    seed = drawn_seed(generator)
    [weight] = weight_stack([n, m], method=method, values=values, d=degree, sparsity=sparsity, gain=gain, seed=seed)
    return fill_(tensor, weight)


def sao_orthogonal_(
    tensor: torch.Tensor, degree: int = 4, gain: float = 1.0, generator: torch.Generator | None = None
) -> torch.Tensor:
    """`tensor` (m, n), filled in place with an exactly orthogonal SAO layer of `degree` ones a row, times `gain`.

    See sao_cli.weights.orthogonal.sao_weight for what it is, and initialize_ for all else.

    >>> weight = sao_orthogonal_(torch.empty(256, 256), degree=4)
    >>> bool(((weight != 0).sum(0) == 4).all())
    True
    """
    return initialize_(tensor, "sao", degree=degree, gain=gain, generator=generator)


def two_stage_orthogonal_(
    tensor: torch.Tensor, degree: int = 4, gain: float = 1.0, generator: torch.Generator | None = None
) -> torch.Tensor:
    """`tensor` (m, n), filled in place with a product of two SAO stages: exactly orthogonal, and connected.

    See sao_cli.weights.two_stage_weight.two_stage_weight, and initialize_ for all else.

    >>> weight = two_stage_orthogonal_(torch.empty(16, 16, dtype=torch.float64))
    >>> torch.allclose(weight.T @ weight, torch.eye(16, dtype=torch.float64))
    True
    """
    return initialize_(tensor, TWO_STAGE, degree=degree, gain=gain, generator=generator)


def eoi_orthogonal_(
    tensor: torch.Tensor, degree: int = 4, gain: float = 1.0, generator: torch.Generator | None = None
) -> torch.Tensor:
    """`tensor` (m, n), any sizes, filled in place with a product of Givens rotations of about `degree` ones a row.

    Exactly orthogonal; see sao_cli.weights.givens.eoi_weight, and initialize_ for all else.

    >>> weight = eoi_orthogonal_(torch.empty(10, 7, dtype=torch.float64))
    >>> torch.allclose(weight.T @ weight, torch.eye(7, dtype=torch.float64))
    True
    """
    return initialize_(tensor, EOI, degree=degree, gain=gain, generator=generator)


def check_matrix(tensor: torch.Tensor) -> None:
    """Raise FormatError unless `tensor` is strided, has two axes, and a dtype in which weights are kept."""
    if tensor.ndim != 2:
        raise FormatError(f"a tensor of shape {tuple(tensor.shape)}; these initialisers fill a matrix (m, n)")
    if tensor.layout is not torch.strided:
        raise FormatError(f"a tensor of layout {tensor.layout}; these initialisers fill a strided one")
    if dtype_name(tensor) not in PRECISIONS:
        raise FormatError(f"a tensor of {tensor.dtype}; weights are one of {', '.join(PRECISIONS)}")


def fill_(tensor: torch.Tensor, weight: Matrix) -> torch.Tensor:
    """`tensor` (m, n), whose entries are `weight`'s from now on, rounded to its dtype; autograd records nothing.

    Raises FormatError for a weight that overflows the dtype, before anything is changed. O(m n).

    >>> from sao_cli.weights.orthogonal import sao_weight
    >>> weight = sao_weight(4, 4, 2)
    >>> bool((fill_(torch.empty(4, 4).double(), weight).numpy() == weight.to_dense()).all())
    True
    """
    rounded = weight.as_dtype(dtype_name(tensor)).values
    # torch.tensor, not from_numpy: these arrays are read-only, and it copies.
    numbers = torch.tensor(rounded, dtype=tensor.dtype, device=tensor.device)
    with torch.no_grad():
        if weight.mask.nnz == tensor.numel():
            return tensor.copy_(numbers.view(weight.shape))
        tensor.zero_()
        tensor[places(weight, tensor.device)] = numbers
    return tensor


def places(weight: Matrix, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(nnz,) rows and (nnz,) columns of the ones of `weight`, int64, on `device`, as they index a tensor. O(nnz)."""
    mask = weight.mask
    rows, columns = (torch.tensor(part, dtype=torch.int64, device=device) for part in (mask.entry_rows, mask.indices))
    return rows, columns


def dtype_name(tensor: torch.Tensor) -> str:
    """The dtype of `tensor` as numpy and this package call it: float32."""
    return str(tensor.dtype).removeprefix("torch.")


def whole_degree(degree: Any) -> int | None:
    """`degree` as an int, or None; SaoError where it is no whole number."""
    if degree is None:
        return None
    try:
        return operator.index(degree)
    except TypeError:
        raise SaoError(f"degree {degree!r} is no whole number; it counts the ones of a row") from None


def check_gain(gain: float) -> None:
    """Raise SaoError unless `gain` is a positive finite number."""
    if not (math.isfinite(gain) and gain > 0):
        raise SaoError(f"gain {gain} is no positive finite number; 1 leaves the weights as they are")


def drawn_seed(generator: torch.Generator | None) -> int:
    """One seed below 2^63 - 1, drawn from `generator`, on whatever device it lives, or from torch's default one."""
    device = "cpu" if generator is None else generator.device  # not the default device: one stream for every device
    return int(torch.randint(2**63 - 1, (), dtype=torch.int64, device=device, generator=generator))
