"""A module made smaller in place: the units that no output needs are taken out of its layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from sao_cli.base.errors import SaoError
from sao_cli.data.arrays import Values
from sao_cli.measure.redundancy.features import FeatureLayer, reduce_features
from sao_cli.measure.redundancy.multiples import Indices
from sao_cli.nets.jacobians.functions import undisturbed
from sao_cli.nets.reduction.stock_layers import StockLayer, reading, stock_layers
from sao_cli.nets.reduction.unit_ways import UnitWay, way_from
from sao_cli.nets.tracing.recording import Recording, record, unwrapped
from sao_cli.nets.tracing.weight_uses import network_weights

_RESHAPED = "the module reshapes to a size of its own on the way from {}; flatten(1) takes any"


@dataclass(frozen=True)
class ReducedModuleLayer:
    """What became of a layer: the shape of its weight before and after, and how many of its units are gone.

    `makes_bias` where it had none and a constant unit before it needs one. `reason` says why its units stay, None where
    they may go.
    """

    name: str
    shape: tuple[int, ...]
    new_shape: tuple[int, ...]
    merged: int = 0
    constant: int = 0
    unread: int = 0
    makes_bias: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class ModuleReduction:
    """What reduce_ did: `layers`, all weights in the order run, and the parameters of the whole before and after.

    `output_error_max` and `output_error_rms` are the differences of the outputs at the inputs given, over the root mean
    square of the outputs.
    """

    layers: tuple[ReducedModuleLayer, ...]
    parameters: int
    new_parameters: int
    output_error_max: float
    output_error_rms: float


def reduce_(module: nn.Module, *inputs: Tensor) -> ModuleReduction:
    """Take out of `module`, in place, all units that its outputs do without, and tell what went (ModuleReduction).

    The module is run once on `inputs`, in eval mode, and is followed from layer to layer. Of an nn.Linear or a
    convolution whose units all go to one other, and each for itself (activations, pooling, flattening), units are
    merged, folded into the next bias and dropped as `measure.redundancy.features.reduce_features` says, to a fixed
    point, with the functions as they ran: a kernel's constant unit that is not 0 stays before a border. Layers whose
    units meet anything else stay as wide as they are, with a reason that names it: sums of branches, norms, several
    readers, shared tensors, groups of channels. So do the network's inputs and outputs.

    Parameters stay the same objects, with their dtype, device and requires_grad; they hold smaller tensors, without
    gradients, and in_features and the like are set. Masks of torch.nn.utils.prune shrink with them: a place that two
    merged columns share is kept where one of them was. An optimiser is to be made anew.

    Raises SaoError where the module can't run on `inputs`, and, with the module as it was, where it gives other outputs
    when it is smaller, as one does that computes with sizes of its own. Cost: three runs, and the sorting of rows.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> with torch.no_grad():
    ...     _ = net[0].weight[1].zero_()
    >>> reduce_(net, torch.ones(1, 4)).layers[0].new_shape, net[2].in_features
    ((2, 4), 2)
    """
    if not inputs:
        raise SaoError("a module is followed on an example input: reduce_(module, x)")
    module = unwrapped(module)
    recording = record(module, inputs)
    before = answers(module, inputs)
    found = _Plan(module, recording).tried(inputs, before)
    found = found or _Plan(module, recording, reshaping=False).tried(inputs, before)
    if found is None:
        raise SaoError(
            "the module gives other outputs when it is smaller, and is as it was: its forward computes with sizes of "
            "its own; take them from its tensors"
        )
    return found


class _Plan:
    """All weights by name, the ways between layers, and why there are none from others."""

    def __init__(self, module: nn.Module, recording: Recording, reshaping: bool = True) -> None:
        self.module, self.weights = module, stock_layers(module, recording)
        self.shapes = {one.name: recording.values[one.root].shape for one in network_weights(recording)}
        self.ways: dict[str, UnitWay] = {}
        self.reasons = {name: one for name, one in self.weights.items() if isinstance(one, str)}
        readers = reading(recording)
        for name, layer in self.layers.items():
            way = way_from(layer, self.weights, recording, readers)
            if isinstance(way, str):
                self.reasons[name] = way
            elif way.flattens and not reshaping:
                self.reasons[name] = _RESHAPED.format(name)
            else:
                self.ways[name] = way

    @property
    def layers(self) -> dict[str, StockLayer]:
        """Those whose units may go, if all that reads them is one of these too."""
        return {name: one for name, one in self.weights.items() if not isinstance(one, str)}

    def tried(self, inputs: Sequence[Tensor], before: Sequence[Tensor]) -> ModuleReduction | None:
        """What went; None where the module gives other outputs without it, and is as it was."""
        parameters = _parameters(self.module)
        undo: list[Callable[[], None]] = []
        rows: dict[str, ReducedModuleLayer] = {}
        for chain in self._chains():
            rows |= self._shrink(chain, undo)
        try:
            errors = _errors(before, answers(self.module, inputs))
        except RuntimeError:  # what torch says of shapes that do not fit
            errors = None
        if errors is None:
            for step in reversed(undo):
                step()
            return None
        layers = tuple(rows.get(name) or self._as_it_is(name) for name in self.weights)
        return ModuleReduction(layers, parameters, _parameters(self.module), *errors)

    def _chains(self) -> Iterator[list[StockLayer]]:
        """The layers, each after the one whose units it alone reads."""
        reading_ones = {way.after.name for way in self.ways.values()}
        for name, layer in self.layers.items():
            if name not in reading_ones:
                chain = [layer]
                while (way := self.ways.get(chain[-1].name)) is not None:
                    chain.append(way.after)
                yield chain

    def _shrink(self, chain: Sequence[StockLayer], undo: list[Callable[[], None]]) -> dict[str, ReducedModuleLayer]:
        """The rows of a chain whose layers are smaller now; what takes that back is appended to `undo`."""
        ways = [self.ways[layer.name] for layer in chain[:-1]]
        found = reduce_features([_given(*pair) for pair in zip(chain, [None, *ways], strict=True)], ways)
        rows = {}
        for place, (layer, smaller) in enumerate(zip(chain, found.layers, strict=True)):
            undo.append(_restoring(layer.module))
            had_bias = layer.numbers("bias") is not None
            columns = found.kept[place - 1] if place else None
            _put(layer, smaller, found.kept[place], columns)
            rows[layer.name] = replace(
                self._as_it_is(layer.name),
                new_shape=tuple(layer.module.weight.shape),
                merged=found.merged[place],
                constant=found.constant[place],
                unread=found.unread[place],
                makes_bias=smaller.bias is not None and not had_bias,
            )
        return rows

    def _as_it_is(self, name: str) -> ReducedModuleLayer:
        shape = tuple(self.shapes[name])
        return ReducedModuleLayer(name, shape, shape, reason=self.reasons.get(name))


def _given(layer: StockLayer, way: UnitWay | None) -> FeatureLayer:
    """The layer's numbers; of a matrix after a kernel with an axis for the pixels of each channel."""
    weight, bias = (None if one is None else _array(one) for one in map(layer.numbers, ("weight", "bias")))
    assert weight is not None
    if way is not None and way.flattens:
        weight = weight.reshape(len(weight), way.before.units, -1)
    return FeatureLayer(weight, bias, layer.dtype)


def _array(tensor: Tensor) -> Values:
    array: Values = tensor.detach().to("cpu", torch.float64).numpy()
    return array


def _put(layer: StockLayer, smaller: FeatureLayer, rows: Indices, columns: Indices | None) -> None:
    """Give the layer the smaller numbers; `rows` and `columns` (None for all) say of which units the masks stay."""
    module = layer.module
    weight = smaller.weight if layer.is_kernel else smaller.weight.reshape(len(smaller.weight), -1)
    kept = None
    if "weight" in layer.pruned:
        mask = _array(module.weight_mask).reshape(len(module.weight_mask), -1)[rows]
        if columns is not None:
            mask = mask.reshape(len(rows), -1, smaller.weight[0, 0].size)[:, columns]
        kept = mask.reshape(weight.shape)
    _fill(module, "weight", weight, kept)
    if smaller.bias is not None:
        kept = _array(module.bias_mask)[rows] if "bias" in layer.pruned else None
        _fill(module, "bias", smaller.bias, kept)
    sides = ("out_channels", "in_channels") if layer.is_kernel else ("out_features", "in_features")
    for side, size in zip(sides, module.weight.shape, strict=False):
        setattr(module, side, size)


def _fill(module: nn.Module, name: str, numbers: Values, kept: Values | None) -> None:
    """Give a module a parameter's new numbers; where it has a mask, of which `kept` is left, places of others too."""
    like = module.weight
    made = torch.from_numpy(np.ascontiguousarray(numbers)).to(like.device, like.dtype)
    parameter = module._parameters.get(name if kept is None else f"{name}_orig")
    if parameter is None:
        setattr(module, name, nn.Parameter(made, requires_grad=next(module.parameters()).requires_grad))
        return
    parameter.data, parameter.grad = made, None
    if kept is not None:
        mask = torch.from_numpy(kept != 0).to(like.device) | (made != 0)
        module._buffers[f"{name}_mask"] = mask.to(getattr(module, f"{name}_mask").dtype)
        setattr(module, name, parameter * getattr(module, f"{name}_mask"))


def _restoring(module: nn.Module) -> Callable[[], None]:
    """What gives a module its tensors and sizes back."""
    held = {name: (one, one.data, one.grad) for name, one in module._parameters.items() if one is not None}
    parameters, buffers, own = dict(module._parameters), dict(module._buffers), dict(vars(module))

    def restore() -> None:
        for one, data, gradient in held.values():
            one.data, one.grad = data, gradient
        module._parameters.clear()
        module._parameters.update(parameters)
        module._buffers.clear()
        module._buffers.update(buffers)
        vars(module).update(own)

    return restore


def _parameters(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def answers(module: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The real tensors that the module gives in eval mode."""
    modes = {one: one.training for one in module.modules()}
    with undisturbed(module, inputs[0].device), torch.no_grad():
        try:
            for one in modes:
                one.training = False
            answer = module(*(one.detach().clone() for one in inputs))
        finally:
            for one, training in modes.items():
                one.training = training
    return [one.detach().clone() for one in tree_leaves(answer) if isinstance(one, Tensor) and one.is_floating_point()]


def _errors(before: Sequence[Tensor], after: Sequence[Tensor]) -> tuple[float, float] | None:
    """The largest and the root mean square difference over the root mean square; None where they are others."""
    if [one.shape for one in before] != [one.shape for one in after]:
        return None
    flat, new = (torch.cat([one.reshape(-1).double() for one in many]) for many in (before, after))
    finite = torch.isfinite(flat)
    if not torch.equal(finite, torch.isfinite(new)):
        return None
    difference, size = (new - flat)[finite].abs(), flat[finite].abs()
    scale = float(size.square().mean().sqrt()) if len(size) else 0.0
    eps = max(torch.finfo(one.dtype).eps for one in before)
    if not len(size) or float(difference.max()) > math.sqrt(eps) * float(size.max()):
        return None if len(size) else (0.0, 0.0)
    return float(difference.max()) / (scale or 1.0), float(difference.square().mean().sqrt()) / (scale or 1.0)
