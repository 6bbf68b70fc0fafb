"""`RareLinear`: a linear layer W = P W' Q whose parallel rows and columns are fused, which makes W' smaller."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear as product

from sao_cli.base.errors import SaoError
from sao_cli.data.matrix import Matrix
from sao_cli.measure.redundancy.fusing import COLUMNS, ROWS, Fused
from sao_cli.nets.layers.blank import blank
from sao_cli.nets.layers.linear import current_tensor

FACTORS = ("row_index", "row_scale", "col_index", "col_scale")
_NOT_SEARCHED, _NO_PAIR = -1, -2


class RareLinear(nn.Module):  # type: ignore[misc]
    """y = P W' Q x + b, where W' (m', n') alone is trained; P and Q are an index and a scale for each row and column.

    W[a, b] = row_scale[a] W'[row_index[a], col_index[b]] col_scale[b] (Lee et al., Appl. Sci. 2021, 11, 725, section
    4.2). It begins with W' = W and identities; `fuse_` makes two vectors one. Parameters are `weight`, W', and `bias`;
    buffers, kept in the state_dict, `row_index` (m,) and `col_index` (n,), int64, `row_scale` and `col_scale`, of the
    weight's dtype. A state_dict of smaller shapes loads, and makes the layer as small; load it before an optimizer is
    made. These are the tensors that `sao train --rare` and `sao reduce` write.

    With `frobenius` W is k g W'/||W'||_F (Eq. 15): `norm`, k, is the norm at the start, `g` a parameter that starts at
    1. `dropout` is the rate at which the inputs of W' are dropped in training, times n'/n (Eq. 14); `generator`, None
    for torch's own, draws them. `fuse_rows` and `fuse_columns` say what may be fused: of a network's input layer no
    columns, and of its class layer no rows.

    Forward gathers the inputs, multiplies with W', and spreads the outputs: O(B (m' n' + m + n)).

    >>> layer = RareLinear.from_linear(nn.Linear(4, 3))
    >>> layer(torch.ones(2, 4)).shape, layer.shape
    (torch.Size([2, 3]), (3, 4))
    """

    weight: nn.Parameter
    row_index: Tensor
    row_scale: Tensor
    col_index: Tensor
    col_scale: Tensor
    norm: Tensor | None
    pairs: dict[int, tuple[int, int] | None]

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        frobenius: bool = False,
        dropout: float = 0.0,
        fuse_rows: bool = True,
        fuse_columns: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        told: dict[str, Any] = {
            "frobenius": frobenius,
            "dropout": dropout,
            "fuse_rows": fuse_rows,
            "fuse_columns": fuse_columns,
        }
        self._assemble(in_features, out_features, bias, {"device": device, "dtype": dtype}, **told)
        self.reset_parameters()

    def _assemble(
        self,
        in_features: int,
        out_features: int,
        bias: bool,
        place: dict[str, Any],
        *,
        frobenius: bool = False,
        dropout: float = 0.0,
        fuse_rows: bool = True,
        fuse_columns: bool = True,
    ) -> None:
        """All but the values of the weight and the bias, which are left undefined."""
        if not 0 <= dropout < 1:
            raise SaoError(f"dropout {dropout}: it is a rate, from 0 to below 1")
        self.in_features, self.out_features, self.dropout = in_features, out_features, dropout
        self.fuse_rows, self.fuse_columns = fuse_rows, fuse_columns
        self.generator: torch.Generator | None = None
        self.weight = nn.Parameter(torch.empty(out_features, in_features, **place))
        self.bias = nn.Parameter(torch.empty(out_features, **place)) if bias else None
        for name, size in (("row", out_features), ("col", in_features)):
            self.register_buffer(f"{name}_index", torch.arange(size, device=place["device"]))
            self.register_buffer(f"{name}_scale", torch.ones(size, **place))
        self.g = nn.Parameter(torch.ones((), **place)) if frobenius else None
        self.register_buffer("norm", torch.ones((), **place) if frobenius else None)
        self.forget_pairs()
        self.steps = 0  # of training, by which the pairs are searched for again
        self.decay = 0.0  # so many times W' is added to its next gradient, within the product that makes it
        self._look()

    @classmethod
    def from_linear(cls, linear: nn.Linear, **told: Any) -> Self:
        """The same layer as `linear`, a copy in its dtype and on its device; the rest is told as to RareLinear.

        A mask of torch.nn.utils.prune is multiplied in, and forgotten. Raises SaoError for what is no nn.Linear.
        """
        if not isinstance(linear, nn.Linear):
            raise SaoError(f"a {type(linear).__name__} is no torch.nn.Linear; only such a layer can be converted")
        weight, bias = current_tensor(linear, "weight"), current_tensor(linear, "bias")
        assert weight is not None
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        place = {"device": weight.device, "dtype": weight.dtype}
        made._assemble(linear.in_features, linear.out_features, bias is not None, place, **told)
        with torch.no_grad():
            made.weight.copy_(weight)
            if made.bias is not None:
                made.bias.copy_(bias)
        made._set_norm()
        return made

    def reset_parameters(self) -> None:
        """Draw the weight and the bias anew from torch's generator, as nn.Linear does."""
        if self.weight.is_meta:
            return
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            nn.init.uniform_(self.bias, -1 / math.sqrt(self.in_features), 1 / math.sqrt(self.in_features))
        self._set_norm()

    @property
    def shape(self) -> tuple[int, int]:
        """(m', n'), that of W'."""
        rows, columns = self.weight.shape
        return int(rows), int(columns)

    @property
    def axis(self) -> int | None:
        """The axis of W' along which vectors may be fused now, the longer one: 0, rows, 1, columns; None for neither.

        Where they are equally long it is the columns (our choice; the paper does not tell), unless these stay.

        >>> RareLinear(4, 4).axis, RareLinear(3, 4).axis, RareLinear(3, 4, fuse_rows=False).axis
        (1, 0, None)
        """
        rows, columns = self.shape
        if self.fuse_columns and columns >= rows:
            return COLUMNS
        return ROWS if self.fuse_rows and rows >= columns else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., m) outputs of (..., n) inputs. Raises SaoError for inputs of another width."""
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise SaoError(
                f"inputs of shape {tuple(x.shape)} for a layer of {self.in_features} inputs; the last axis must agree"
            )
        if self._fused[COLUMNS]:
            x = x.new_zeros((*x.shape[:-1], self.shape[1])).index_add(-1, self.col_index, x * self.col_scale)
        if self.training and self.dropout:
            x = self._dropped(x)
        bias = None if self._fused[ROWS] else self.bias
        if self.g is not None and self.training and torch.is_grad_enabled():
            y = self._normalised(x, bias)
        else:
            y = product(x, self.to_core(), bias)
        if not self._fused[ROWS]:
            return y
        y = y.index_select(-1, self.row_index) * self.row_scale
        return y if self.bias is None else y + self.bias

    def to_core(self) -> Tensor:
        """W' as the next forward uses it, (m', n'), with the factor of the Frobenius normalisation multiplied in."""
        return self.weight if self.g is None else self.weight * self._factor()

    def to_dense(self) -> Tensor:
        """The weight P W' Q as an (m, n) tensor, through which gradients flow back. O(m n)."""
        rows = self.to_core().index_select(0, self.row_index) * self.row_scale[:, None]
        return rows.index_select(1, self.col_index) * self.col_scale

    def to_linear(self) -> nn.Linear:
        """The same layer as an nn.Linear, a copy. O(m n)."""
        place = {"device": self.weight.device, "dtype": self.weight.dtype}
        made = blank(nn.Linear, self.in_features, self.out_features, bias=self.bias is not None, **place)
        with torch.no_grad():
            made.weight.copy_(self.to_dense())
            if self.bias is not None:
                made.bias.copy_(self.bias)
        return made

    def to_matrix(self) -> Matrix:
        """The weight P W' Q as a Matrix, on the CPU, to be measured or written. O(m n)."""
        return Matrix.of(self.to_dense().detach())

    def factors(self) -> dict[str, Tensor]:
        """The tensors that files have of P, W' and Q: `weight` with the normalisation in it, indices and scales.

        P W' Q of them is to_dense() to the last bit.
        """
        return {"weight": self.to_core().detach(), **{name: getattr(self, name) for name in FACTORS}}

    def get_extra_state(self) -> Tensor:
        """The steps that were trained, and the pairs that the loss is of: what a run goes on from."""
        pairs = [
            (_NOT_SEARCHED,) * 2 if axis not in self.pairs else self.pairs[axis] or (_NO_PAIR,) * 2 for axis in (0, 1)
        ]
        return torch.tensor([self.steps, *pairs[0], *pairs[1]])

    def set_extra_state(self, state: Tensor) -> None:
        """Take what get_extra_state gave."""
        self.steps, *places = (int(one) for one in state.tolist())
        pairs = {axis: (places[2 * axis], places[2 * axis + 1]) for axis in (ROWS, COLUMNS)}
        self.pairs = {
            axis: None if pair[0] == _NO_PAIR else pair for axis, pair in pairs.items() if pair[0] != _NOT_SEARCHED
        }

    def forget_pairs(self) -> None:
        """Have the pairs searched for again before the next loss."""
        self.pairs = {}

    def take_decay(self) -> float:
        """The `decay` that no gradient has taken yet; none is left."""
        taken, self.decay = self.decay, 0.0
        return taken

    def to_fused(self) -> Fused:
        """W' as it is trained, in float64 on the CPU, with the indices and scales of P and Q."""
        weight = self.weight.detach().cpu().double().numpy()
        factors = [getattr(self, name).cpu() for name in FACTORS]
        return Fused(weight, *[one.double().numpy() if one.is_floating_point() else one.numpy() for one in factors])

    def replace_(self, fused: Fused) -> nn.Parameter:
        """Take another W', and its indices and scales; gives the new parameter `weight`.

        A Frobenius normalisation keeps its factor: g grows as ||W'||_F does.
        """
        with torch.no_grad():
            before = None if self.g is None else self.weight.norm()
            weight = torch.from_numpy(np.ascontiguousarray(fused.weight)).to(self.weight)
            self.weight = nn.Parameter(weight, requires_grad=self.weight.requires_grad)
            for name in FACTORS:
                setattr(self, name, torch.from_numpy(getattr(fused, name)).to(getattr(self, name)))
            if self.g is not None:
                self.g.mul_(self.weight.norm() / before)
        self._look()
        return self.weight

    def extra_repr(self) -> str:
        """The layer's sizes, as print shows them."""
        sizes = (
            f"in_features={self.in_features}, out_features={self.out_features}, core={self.shape[0]} x {self.shape[1]}"
        )
        return f"{sizes}, bias={self.bias is not None}, frobenius={self.g is not None}"

    def _normalised(self, x: Tensor, bias: Tensor | None) -> Tensor:
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        y: Tensor = _Normalised.apply(rows, self.weight, bias, self.norm, self.g, self)
        return y if x.ndim == 2 else y.view(*x.shape[:-1], len(self.weight))

    def _factor(self) -> Tensor:
        assert self.norm is not None
        return self.norm * self.g / torch.linalg.vector_norm(self.weight)

    def _set_norm(self) -> None:
        if self.norm is not None:
            self.norm.copy_(torch.linalg.vector_norm(self.weight.detach()))

    def _dropped(self, x: Tensor) -> Tensor:
        kept = 1 - self.dropout * self.shape[1] / self.in_features
        return x * torch.empty_like(x).bernoulli_(kept, generator=self.generator).div_(kept)

    def _look(self) -> None:
        """Note whether P and Q are still identities, which forward leaves out then."""
        self._fused = tuple(
            not bool((index == torch.arange(len(index), device=index.device)).all() and (scale == 1).all())
            if not index.is_meta
            else False
            for index, scale in ((self.row_index, self.row_scale), (self.col_index, self.col_scale))
        )

    def _holds(self, shape: Sequence[int]) -> bool:
        limits = self.out_features, self.in_features
        return len(shape) == 2 and all(0 < size <= limit for size, limit in zip(shape, limits, strict=True))

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        weight = state_dict.get(f"{prefix}weight")
        if isinstance(weight, Tensor) and weight.shape != self.weight.shape and self._holds(weight.shape):
            self.weight.data, self.weight.grad = self.weight.data.new_empty(weight.shape), None
        told = (local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        super()._load_from_state_dict(state_dict, prefix, *told)
        if (extra := f"{prefix}_extra_state") in missing_keys:  # files of weights have none
            missing_keys.remove(extra)
            self.forget_pairs()
        for name, size in zip(("row_index", "col_index"), self.shape, strict=True):
            index = getattr(self, name)
            if not index.is_meta and not bool(((index >= 0) & (index < size)).all()):
                error_msgs.append(f"{prefix}{name} names vectors that a weight of {self.shape} has not")
        self._look()


class _Normalised(torch.autograd.Function):  # type: ignore[misc]
    """x W^T k g/||W||_F + b, x (B, n), whose gradient by W is one product: the norm adds W times a number to it.

    With s = k g/||W|| and t = s <dL/dy, x W^T>, which is <dL/dx, x>, dL/dW = s (dL/dy)^T x - t/||W||^2 W, and dL/dg is
    t/g. Factors and sums are told to the products, so that for the norm no more than W is read twice and copied once.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, norm: Tensor, g: Tensor, layer: RareLinear
    ) -> Tensor:
        length = math.sqrt(float(torch.dot(weight.reshape(-1), weight.reshape(-1))))
        ctx.g, ctx.rate, ctx.length, ctx.layer = float(g), float(norm) / length, length, layer
        if ctx.needs_input_grad[0]:
            kept, y = None, _scaled(x, weight.t(), ctx.g * ctx.rate, bias)
        else:  # as of the first layer: dL/dx is not asked for, and t is that of y
            kept = _scaled(x, weight.t(), ctx.g * ctx.rate)
            y = kept.clone() if bias is None else kept + bias  # not kept itself: ReLU may be in place
        ctx.save_for_backward(x, weight, kept)
        ctx.biased = bias is not None
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, kept = ctx.saved_tensors
        scale = ctx.g * ctx.rate
        back = _scaled(grad, weight, scale) if kept is None else None
        change = _inner(grad, kept) if back is None else _inner(back, x)
        by_g = change / ctx.g if ctx.g else ctx.rate * _inner(grad, product(x, weight))
        own = ctx.layer.take_decay() - change / ctx.length**2
        by_weight = torch.addmm(weight, grad.t(), x, beta=own, alpha=scale)
        by_bias = grad.sum(dim=0) if ctx.biased else None
        return back, by_weight, by_bias, None, grad.new_tensor(by_g), None


def _inner(one: Tensor, other: Tensor) -> float:
    return float(torch.dot(one.reshape(-1), other.reshape(-1)))


def _scaled(left: Tensor, right: Tensor, scale: float, added: Tensor | None = None) -> Tensor:
    """scale * left @ right + added, (m, n), in one product."""
    if added is None:
        return torch.addmm(left.new_empty(()), left, right, beta=0, alpha=scale)
    return torch.addmm(added, left, right, alpha=scale)
