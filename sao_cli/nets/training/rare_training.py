"""RaRe: a loss that turns two rows or columns of a layer to one line, and what makes them one when they are there."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.measure.redundancy.fusing import COLUMNS, TAU_COS, TAU_EUC, fuse_pair
from sao_cli.measure.redundancy.pairs import Pair, nearest_pairs
from sao_cli.measure.redundancy.unit_vectors import FLOOR
from sao_cli.nets.layers.rare_linear import RareLinear
from sao_cli.reports.fusions import Fusion

CHECK_EVERY = 10
_AXES = ("rows", "columns")


def make_rare_(model: nn.Module, *, frobenius: bool = True, dropout: float = 0.0) -> nn.Module:
    """`model`, in place: each of its nn.Linear is a RareLinear, the first without fused columns, the last without rows.

    Layers are counted in the order of model.modules(), which has to be that of the signal: the columns of the first
    read the inputs, and the rows of the last are the classes (Lee et al., section 4.5). Make the optimizer afterwards.
    Raises SaoError for a model without an nn.Linear, and for one that is a single nn.Linear itself.

    >>> model = make_rare_(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)))
    >>> [layer.axis for layer in rare_layers(model).values()]
    [0, 1]
    """
    found = [
        (owner, name, part)
        for owner in model.modules()
        for name, part in owner._modules.items()  # shared ones by each of their names
        if isinstance(part, nn.Linear)
    ]
    if not found:
        raise SaoError(f"a {type(model).__name__} holds no torch.nn.Linear, of which a RareLinear could be made")
    made: dict[int, RareLinear] = {}
    last = found[-1][2]
    for owner, name, part in found:
        if id(part) not in made:
            ends = {"fuse_rows": part is not last, "fuse_columns": part is not found[0][2]}
            made[id(part)] = RareLinear.from_linear(part, frobenius=frobenius, dropout=dropout, **ends)
        setattr(owner, name, made[id(part)])
    return model


def rare_layers(model: nn.Module) -> dict[str, RareLinear]:
    """The RareLinear layers of `model` by their names. Raises SaoError where there are none."""
    found = {name: layer for name, layer in model.named_modules() if isinstance(layer, RareLinear)}
    if not found:
        raise SaoError(f"a {type(model).__name__} holds no RareLinear; make_rare_ makes them of its torch.nn.Linear")
    return found


def rare_loss(model: nn.Module, strength: float = 20.0, l2: float = 0.1, *, floor: float = FLOOR) -> Tensor:
    """lambda_1 L_RaRe + lambda_2 L_L2 of the RareLinear layers of `model`, to be added to the loss of the task.

    L_RaRe = 1/(2c) sum m' n' (1 - |cos|)^2 over the layers, where cos is that of the pair nearest to parallel along the
    axis on which the layer may be fused now, RareLinear.axis, and c is the sum of all m' n'; L_L2 is the mean of
    ||W'||_F^2 over the layers (Lee et al., Appl. Sci. 2021, 11, 725, Eqs. 16 and 17, with |cos| where Eq. 5 has cos,
    which would push anti-parallel vectors apart). Over both axes it would turn the rows of the class layer to one line.

    The pair is the one that the last rare_step_ found; where there is none yet, it is searched for. Its indices are
    constants: the gradient is that through the minimum over all pairs, nonzero in two vectors, and orthogonal to them.
    `strength` is lambda_1, `l2` lambda_2, the paper's unless told. O(m' n') a layer for L2, and O(m' + n') a pair.

    >>> model = make_rare_(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), frobenius=False)
    >>> for layer in rare_layers(model).values():
    ...     _ = layer.weight.data.copy_(torch.eye(2))
    >>> float(rare_loss(model, 20.0, 0.0).detach())
    10.0
    """
    layers = list(rare_layers(model).values())
    total = sum(layer.weight.numel() for layer in layers)
    penalty = layers[0].weight.new_zeros(())
    for layer in layers:
        pull = strength * layer.weight.numel() / (2 * total)
        turn = _turn(layer, floor) if strength else None
        penalty = penalty + _Penalty.apply(layer.weight, turn, pull, l2 / len(layers))
    return penalty


def rare_backward_(
    model: nn.Module, strength: float = 20.0, l2: float = 0.1, *, floor: float = FLOOR, loss: Tensor | None = None
) -> None:
    """Add the gradient of rare_loss(model, strength, l2) to what `loss.backward()` has left in the weights' `grad`.

    The same numbers as of (loss + rare_loss(...)).backward(), to rounding, at less cost: only two vectors of a weight
    change for RaRe, and one pass adds that of L2. A weight without a gradient gets one. With `loss` its backward is run
    here, and where layers have the Frobenius normalisation that pass is saved too.

    >>> model = make_rare_(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    >>> rare_backward_(model, loss=model(torch.ones(1, 4)).square().sum())
    >>> rare_layers(model)["0"].weight.grad.shape
    torch.Size([4, 4])
    """
    layers = list(rare_layers(model).values())
    total = sum(layer.weight.numel() for layer in layers)
    for layer, decay in zip(layers, _decays(layers, 2 * l2 / len(layers), loss), strict=True):
        weight = layer.weight.detach()
        if layer.weight.grad is None:
            layer.weight.grad = torch.zeros_like(weight)
        if decay:
            layer.weight.grad.add_(weight, alpha=decay)
        if strength and (turn := _turn(layer, floor)) is not None:
            turn.add_(layer.weight.grad, strength * weight.numel() / (2 * total))


def _decays(layers: Sequence[RareLinear], decay: float, loss: Tensor | None) -> list[float]:
    """Times how much each weight is still to be added to its gradient, after the backward of `loss`."""
    if loss is None:
        return [decay] * len(layers)
    for layer in layers:
        layer.decay = decay
    try:
        loss.backward()
    finally:
        left = [layer.take_decay() for layer in layers]
    return left


def rare_step_(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    tau_cos: float = TAU_COS,
    tau_euc: float = TAU_EUC,
    every: int = CHECK_EVERY,
    floor: float = FLOOR,
    inputs: Tensor | None = None,
) -> list[Fusion]:
    """What was fused, after a step of the optimizer: at most one pair of columns and one of rows of each RareLinear.

    At every `every`-th call the pair nearest to parallel is searched for along the longer axis, RareLinear.axis (of a
    square W' along the columns, and once two are fused along the rows, of which there are more then), and is fused
    where 1 - |cos| < `tau_cos` and the distance of Eq. 13 is below `tau_euc`, by fuse_pair's rule "paper": the longer
    vector i is dropped, and the kept j becomes sqrt(r^2 + 1) w_j, r = w_i.w_j/(w_j.w_j). Vectors of norm at most
    `floor` times the largest are left alone, for their directions are noise. The layer's `weight` is another, smaller
    parameter then: in the `optimizer` it takes the place of the old one, and of what is held of each weight (Adam's
    moments, momentum) row or column i goes, and j's stays.

    With `inputs` the model is run before and after each fusion, in eval mode, to tell what its outputs change by.
    O(m' n' min(m', n')) a search of a layer.

    >>> model = make_rare_(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), frobenius=False)
    >>> first, last = rare_layers(model).values()
    >>> _ = first.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -2.0]]))
    >>> [(one.name, one.axis, one.kept, one.dropped) for one in rare_step_(model, every=1)][:1]
    [('0', 'rows', 1, 2)]
    >>> first.shape, first.row_index.tolist()
    ((2, 2), [0, 1, 1])
    """
    if every < 1:
        raise SaoError(f"every {every}: it is a whole number of steps, from 1")
    fused: list[Fusion] = []
    outputs = _Outputs(model, inputs)
    for name, layer in rare_layers(model).items():
        layer.steps += 1
        if layer.steps % every:
            continue
        layer.forget_pairs()
        done: set[int] = set()
        while (axis := layer.axis) is not None and axis not in done:
            done.add(axis)
            pair = _search(layer, axis, floor)
            if pair is None or not (pair.gap < tau_cos and pair.distance < tau_euc):
                break
            told = _facts(layer, axis, pair)
            outputs.before()
            _fuse_(layer, axis, pair, optimizer)
            fused.append(Fusion(name=name, **told, output_change=outputs.change()))
            layer.forget_pairs()
    return fused


def numbers_of(weight: Tensor) -> NDArray[Any]:
    """The weight as an array, in float32 or float64."""
    weight = weight.detach().cpu()
    return np.asarray((weight if weight.dtype == torch.float64 else weight.float()).numpy())


def _search(layer: RareLinear, axis: int, floor: float) -> Pair | None:
    """The pair nearest to parallel, which the layer keeps; None where there is none."""
    weight = layer.weight.detach()
    vectors = numbers_of(weight.t().contiguous() if axis == COLUMNS else weight)  # torch transposes in tiles
    finite = bool(np.isfinite(vectors).all())  # that numbers are not, the loss tells too
    found = nearest_pairs(vectors, floor=floor) if finite else []
    layer.pairs[axis] = (found[0].i, found[0].j) if found else None
    return found[0] if found else None


def _known(layer: RareLinear, axis: int, floor: float) -> tuple[int, int] | None:
    """The pair that the loss is of, searched for where it is not known."""
    if axis not in layer.pairs:
        _search(layer, axis, floor)
    return layer.pairs[axis]


def _facts(layer: RareLinear, axis: int, pair: Pair) -> dict[str, Any]:
    """What a Fusion tells before it is done: its error is ||w_i|| sin, that of the projection on the line of w_j."""
    whole = float(np.linalg.norm(numbers_of(layer.weight).astype(np.float64)))
    longer = max(pair.norm_i, pair.norm_j) if pair.dropped == pair.i else pair.norm_j
    return {
        "axis": _AXES[axis],
        "kept": pair.kept,
        "dropped": pair.dropped,
        "cosine": pair.cosine,
        "error": longer * math.sqrt(pair.gap * (2 - pair.gap)) / whole,
        "energy": (pair.norm_i**2 + pair.norm_j**2) / whole**2,
    }


def _fuse_(layer: RareLinear, axis: int, pair: Pair, optimizer: torch.optim.Optimizer | None) -> None:
    """Make the two vectors of `pair` one, in the layer and in the optimizer."""
    old = layer.weight
    new = layer.replace_(fuse_pair(layer.to_fused(), axis, pair, rule="paper"))
    if optimizer is not None:
        left = [place for place in range(old.shape[axis]) if place != pair.dropped]
        _swap_(optimizer, old, new, axis, torch.tensor(left, device=old.device))


def _swap_(optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter, axis: int, left: Tensor) -> None:
    """Put `new` in the place of `old`, with what the optimizer holds of the vectors that are `left` of it."""
    for group in optimizer.param_groups:
        group["params"] = [new if one is old else one for one in group["params"]]
    if old in optimizer.state:
        optimizer.state[new] = {
            name: held.index_select(axis, left) if isinstance(held, Tensor) and held.shape == old.shape else held
            for name, held in optimizer.state.pop(old).items()
        }


class _Outputs:
    """What the model makes of some inputs, before a fusion and after it."""

    def __init__(self, model: nn.Module, inputs: Tensor | None) -> None:
        self._model, self._inputs = model, inputs
        self._there: Tensor | None = None

    def before(self) -> None:
        """Run the model, unless it is as it was after the last fusion."""
        if self._there is None and self._inputs is not None:
            self._there = self._run(self._inputs)

    def change(self) -> float | None:
        """How far the outputs are from those before, over their norm."""
        if self._inputs is None or self._there is None:
            return None
        before, self._there = self._there, self._run(self._inputs)
        norm = float(before.norm())
        change = float((self._there - before).norm())
        return change / norm if norm else (0.0 if not change else math.inf)

    def _run(self, inputs: Tensor) -> Tensor:
        with _evaluating(self._model), torch.no_grad():
            outputs: Tensor = self._model(inputs)
            return outputs.double() if outputs.device.type != "mps" else outputs


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """All modules in eval mode, and afterwards in the mode that each had."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


class _Turn(NamedTuple):
    """What pulls two vectors of a weight to one line: (1 - |cos|)^2, and its gradient by each of the two.

    d|cos|/du = sign(cos) (v/|v| - cos u/|u|)/|u|, which is orthogonal to u.
    """

    axis: int
    pair: tuple[int, int]
    loss: float
    gradients: NDArray[np.float64]  # (2, k)

    @classmethod
    def of(cls, weight: Tensor, axis: int, pair: tuple[int, int]) -> _Turn | None:
        """None where a vector is 0. The cosine is taken in float64: 1 - |cos| has no digits of float32 to spare.

        By numpy, whose operations on two vectors take a third of the time of torch's.
        """
        units = np.array([numbers_of(weight.select(axis, place)) for place in pair], np.float64)
        norms = np.sqrt((units * units).sum(axis=1, keepdims=True))
        if not norms.all():
            return None
        units /= norms
        cosine = max(-1.0, min(1.0, float(units[0] @ units[1])))
        gap = 1 - abs(cosine)
        slope = -2 * gap * math.copysign(1.0, cosine)  # of the loss by cos
        return cls(axis, pair, gap**2, slope / norms * (units[::-1] - cosine * units))

    def add_(self, gradient: Tensor, times: float) -> None:
        """Add the gradients, so many `times`, to that of the weight."""
        for place, change in zip(self.pair, torch.from_numpy(self.gradients).to(gradient), strict=True):
            gradient.select(self.axis, place).add_(change, alpha=times)


def _turn(layer: RareLinear, floor: float) -> _Turn | None:
    """That of the axis along which the layer may be fused now."""
    axis = layer.axis
    pair = None if axis is None else _known(layer, axis, floor)
    return None if axis is None or pair is None else _Turn.of(layer.weight.detach(), axis, pair)


class _Penalty(torch.autograd.Function):  # type: ignore[misc]
    """pull * the loss of a turn + l2 ||W||_F^2."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, turn: _Turn | None, pull: float, l2: float) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.turn, ctx.pull, ctx.l2 = turn, pull, l2
        flat = weight.reshape(-1)
        return l2 * torch.dot(flat, flat) + (pull * turn.loss if turn else 0.0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        out = weight * (2 * ctx.l2 * grad)
        if ctx.turn:
            ctx.turn.add_(out, ctx.pull * float(grad))
        return out, None, None, None
