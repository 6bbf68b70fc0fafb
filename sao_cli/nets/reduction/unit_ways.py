"""What stands between two layers of a record, where all that one gives goes to the other, unit by unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sao_cli.data.arrays import Values
from sao_cli.nets.reduction.stock_layers import StockLayer
from sao_cli.nets.tracing.calls import Call
from sao_cli.nets.tracing.recording import Operation, Recorded, Recording, Slot, told_of
from sao_cli.nets.tracing.stand_ins import UNARY, copying

OUTPUTS = "its units are outputs of the network"

_PRODUCTS = ("addmm", "mm", "convolution")
_COPIES = frozenset(["clone", "detach", "alias", "lift_fresh", "contiguous", "positive"])
_SHAPES = frozenset(["view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "squeeze", "unsqueeze"])
_AVERAGES = frozenset(["mean", *(f"{kind}avg_pool{n}d" for kind in ("", "adaptive_", "_adaptive_") for n in (1, 2, 3))])
_UPSAMPLED = frozenset(f"upsample_{kind}" for kind in ("nearest1d", "nearest2d", "nearest3d", "bilinear2d"))
_POOLS = ("max_pool{}d", "max_pool{}d_with_indices", "adaptive_max_pool{}d")
_MAXIMA = frozenset(form.format(axes) for form in _POOLS for axes in (1, 2, 3))
# f(a h) = a f(h): for every a, for a above 0, for -1.
_LINEAR = _COPIES | _SHAPES | _AVERAGES | _UPSAMPLED | {"neg"}
_STRAIGHT = "relu leaky_relu abs"
_POSITIVE = _MAXIMA.union(_STRAIGHT.split())
_CENTRED = "sin tan sinh tanh asin atan asinh atanh erf hardshrink softshrink sign sgn"
_ODD = frozenset(_CENTRED.split())


@dataclass(frozen=True, eq=False)
class UnitWay:
    """The operations on the way from one layer to the next, each of which acts on each unit alone.

    `start` and `end` are the values that the first layer gives and the other one reads.
    """

    before: StockLayer
    after: StockLayer
    start: int
    end: int
    operations: tuple[Operation, ...]
    values: Sequence[Recorded]

    @property
    def flattens(self) -> bool:
        """Whether a matrix reads the images of a kernel."""
        return self.before.is_kernel and not self.after.is_kernel

    @property
    def reshapes(self) -> bool:
        """Whether the module names a shape on the way, which may hold the number of units."""
        return any(one.name in _SHAPES for one in self.operations)

    def passes(self, factor: float) -> bool:
        """Whether a unit that is `factor` times another one before it is so after it too."""
        return all(_passes(one, factor) for one in self.operations)

    def constants(self, biases: Values) -> Values:
        """What the next layer reads of units that are `biases` (k,) everywhere: (k,), or (k, pixels) of flat images.

        NaN for a unit that is no constant there: at a border.
        """
        shape = self.values[self.start].shape
        spatial = shape[2:] if self.before.is_kernel else ()
        image = torch.from_numpy(np.asarray(biases, dtype=np.float64)).reshape(1, -1, *[1] * len(spatial))
        seen = self._run(image.expand(1, len(biases), *spatial).clone())
        flat: Values = seen.reshape(len(biases), -1).numpy()
        if not self.after.is_kernel:
            return flat
        same = ~_spread(seen).flatten().numpy()
        is_seen = same & ((flat[:, 0] == 0) | (not any(_padding(self.after.use.operation))))
        return np.where(is_seen, flat[:, 0], np.nan)

    def _run(self, image: Tensor) -> Tensor:
        """The operations on (1, k, ...), of any number k of units; shapes are kept as (1, k, what is left)."""
        tensors: dict[int, Tensor] = {self.start: image}
        for one in self.operations:
            made = one.outputs[0]
            assert made is not None
            if one.name in _SHAPES:
                rest = self.values[made].shape[2:] if self.before.is_kernel else ()
                tensors[made] = tensors[one.operands[0]].reshape(
                    *image.shape[:2], *(rest or [-1] * bool(image.ndim > 2))
                )
            else:
                if one.name in _AVERAGES | _UPSAMPLED | _MAXIMA:  # of a border, and so of the size of this image
                    given = tensors[one.operands[0]]
                    tensors[one.operands[0]] = torch.where(_spread(given), torch.nan, given)
                call = Call(one, self.values, tensors)
                answer = copying(one)(*call.filled(one.args), **call.filled(one.kwargs))
                tensors[made] = answer[0] if isinstance(answer, tuple) else answer
        return tensors[self.end]


def way_from(
    layer: StockLayer,
    layers: Mapping[str, StockLayer | str],
    recording: Recording,
    readers: Mapping[int, Sequence[Operation]],
) -> UnitWay | str:
    """The way from a layer to the one of `layers` that alone reads it, or why there is none."""
    uses = {one.use.operation: one for one in layers.values() if not isinstance(one, str)}
    walk = _Walk(layer, recording, readers)
    reason = walk.go()
    if reason is not None:
        return reason
    operation, number = walk.exit
    after = uses.get(operation)
    if after is None:
        at_the_end = (one for name, one in layers.items() if name.rpartition(".")[0] == operation.path)
        refused = next((one for one in at_the_end if isinstance(one, str)), None)
        return refused or f"{told_of(operation.path, operation.name)} reads {layer.name}'s units"
    if after.use.data != number:
        return f"{after.name} is multiplied by {layer.name}'s units"
    if (reason := walk.why_misread(after)) is not None:
        return reason
    return UnitWay(layer, after, walk.start, number, tuple(walk.operations), recording.values)


class _Walk:
    """From what a layer gives along what acts on each unit alone."""

    def __init__(self, layer: StockLayer, recording: Recording, readers: Mapping[int, Sequence[Operation]]) -> None:
        self.layer, self.recording, self.readers = layer, recording, readers
        self.places = {operation: place for place, operation in enumerate(recording.operations)}
        self.start = self.number = layer.use.answer
        self.operations: list[Operation] = []
        self.exit: tuple[Operation, int] = (layer.use.operation, self.start)

    def go(self) -> str | None:
        """Why the way ends before a product; None where `exit` is one, with the value that it reads."""
        while True:
            exits = self._over_units()
            if isinstance(exits, str):
                return exits
            if len(exits) != 1:
                told = ", ".join(dict.fromkeys(told_of(one.path, one.name) for one, _ in exits)) or "nothing"
                return f"{self.layer.name}'s units are read by {told}"
            self.exit = exits[0]
            operation, number = self.exit
            if self._is_own_bias(operation):
                self.start = self.number = _made(operation)
                self.operations = []
            elif self._keeps_units(operation, number):
                self.operations.append(operation)
                self.number = _made(operation)
            elif operation.name in _PRODUCTS:
                return None
            else:
                return self._told(operation)

    def _over_units(self) -> list[tuple[Operation, int]] | str:
        """Go over the functions of single numbers; what else reads them, and what of them."""
        region, exits = {self.number}, []
        todo = list(self.readers.get(self.number, ()))
        done: set[Operation] = set()
        shape = self.recording.values[self.number].shape
        while todo:
            operation = min(todo, key=lambda one: self.places[one])
            todo.remove(operation)
            if operation in done:
                continue
            done.add(operation)
            made = operation.outputs[0] if operation.outputs else None
            if made is not None and self._is_elementwise(operation, region, shape):
                region.add(made)
                self.operations.append(operation)
                todo += self.readers.get(made, ())
            else:
                exits += [(operation, number) for number in operation.operands if number in region]
        if region & set(self.recording.outputs):
            return OUTPUTS
        return list(dict.fromkeys(exits))

    def _is_elementwise(self, operation: Operation, region: set[int], shape: Sequence[int]) -> bool:
        tagged = torch.Tag.pointwise in operation.function.tags or operation.name in UNARY | _COPIES
        made = self.recording.values[_made(operation)]
        alone = not any(self.readers.get(one) for one in operation.outputs[1:] if one is not None)
        return tagged and alone and set(operation.operands) <= region and made.shape == shape and made.is_real

    def _is_own_bias(self, operation: Operation) -> bool:
        """Whether it adds the layer's bias, as of a matrix for inputs of many axes."""
        if operation.name != "add" or any(one.name not in _SHAPES for one in self.operations):
            return False
        path = self.layer.name.rpartition(".")[0]
        names = [f"{path}.bias".removeprefix("."), f"{path}.bias_orig".removeprefix(".")]
        return any(self.recording.tensors.get(name) in operation.operands for name in names)

    def _keeps_units(self, operation: Operation, number: int) -> bool:
        """Whether it pools each channel, or gives another shape in which units are where they were."""
        before, after = self.recording.values[number].shape, self.recording.values[_made(operation)].shape
        others = [one for one in operation.outputs[1:] if one is not None]
        if any(self.readers.get(one) for one in others) or len(operation.operands) != 1:
            return False
        if operation.name in _SHAPES:
            return _shape_keeps(before, after, self.layer)
        if operation.name == "mean":
            return self.layer.is_kernel and _means_space(operation, len(before))
        return operation.name in _AVERAGES | _UPSAMPLED | _MAXIMA and self.layer.is_kernel and len(before) > 2

    def why_misread(self, after: StockLayer) -> str | None:
        """Why the layer at the end does not read each unit of this one as its own."""
        shape, units = self.recording.values[after.use.data].shape, self.layer.units
        if after.is_kernel:
            fits = self.layer.is_kernel and len(shape) == after.module.weight.ndim and shape[1] == units
        elif self.layer.is_kernel:
            fits = len(shape) == 2 and shape[1] % units == 0
        else:
            fits = shape[-1] == units
        return None if fits else f"{after.name} reads {self.layer.name}'s units in another order"

    def _told(self, operation: Operation) -> str:
        """What reads units together, and with what."""
        names = {number: name for name, number in self.recording.tensors.items()}
        makers = {made: one for one in self.recording.operations for made in one.outputs if made is not None}
        held = []
        for number in operation.operands:
            while number not in names and number in makers and makers[number].name in _SHAPES | _COPIES:
                number = makers[number].operands[0]
            held += [names[number]] if number in names else []
        beside = f" with {', '.join(held)}" if held else ""
        return f"{told_of(operation.path, operation.name)}{beside} reads {self.layer.name}'s units"


def _spread(image: Tensor) -> Tensor:
    """Which channels (1, k, 1, ...) of an image are not the same everywhere, but for rounding."""
    flat = image.flatten(2)
    spread = flat.amax(2) - flat.amin(2) > 1e-12 * flat.abs().amax(2)
    return spread.reshape(*spread.shape, *[1] * (image.ndim - 2))


def _made(operation: Operation) -> int:
    made = operation.outputs[0]
    return -1 if made is None else made


def _shape_keeps(before: Sequence[int], after: Sequence[int], layer: StockLayer) -> bool:
    if not layer.is_kernel:
        return len(before) > 0 and len(after) > 0 and before[-1] == after[-1] == layer.units
    if len(before) < 3:  # flat by now
        return tuple(before) == tuple(after)
    if tuple(before[:2]) == tuple(after[:2]):
        return True
    return tuple(after) == (before[0], before[1] * math.prod(before[2:]))


def _means_space(operation: Operation, axes: int) -> bool:
    """Whether a mean is over the axes of the image alone."""
    given = operation.args[1] if len(operation.args) > 1 else operation.kwargs.get("dim")
    return isinstance(given, list | tuple) and bool(given) and all(int(one) % axes >= 2 for one in given)


def _padding(convolution: Operation) -> Sequence[int]:
    names = [argument.name for argument in convolution.function._schema.arguments]
    padding: Sequence[int] = convolution.args[names.index("padding")]
    return padding


def _passes(operation: Operation, factor: float) -> bool:
    name = operation.name
    if factor == 1 or name in _LINEAR or _is_linear(operation):
        return True
    if name in _POSITIVE:
        return factor > 0
    return factor == -1 and (name in _ODD or (name == "hardtanh" and _is_symmetric(*operation.args[1:3])))


def _is_linear(operation: Operation) -> bool:
    """Whether it is a sum of two functions of the unit, or multiplies by a number."""
    first, second = (*operation.args, None, None)[:2]
    if operation.name in ("add", "sub"):
        return isinstance(first, Slot) and isinstance(second, Slot)
    is_scaled = isinstance(first, Slot) and isinstance(second, int | float) and not operation.kwargs
    return operation.name in ("mul", "div") and is_scaled


def _is_symmetric(least: float = -1.0, most: float = 1.0) -> bool:
    return bool(-least == most)
