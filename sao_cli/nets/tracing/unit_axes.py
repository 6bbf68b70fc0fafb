"""Units of a network: channels of images, features of everything else."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sao_cli.nets.tracing.recording import Recording


def by_unit(bits: Tensor, axes: Sequence[int], sets: int = 0) -> Tensor:
    """Bits (..., units) for those of numbers: a unit, a place along `axes`, has one if any of its numbers has.

    The first `sets` axes stay; axes count after them from 0, or from the end.
    """
    kept = [axis + sets if axis >= 0 else bits.ndim + axis for axis in axes]
    rest = [axis for axis in range(sets, bits.ndim) if axis not in kept]
    moved = bits.permute(*range(sets), *kept, *rest)
    return moved.flatten(sets + len(kept)).any(-1).flatten(sets) if rest else moved.flatten(sets)


def unit_axis(number: int, recording: Recording) -> int | None:
    """The axis of an input or output of the network that stands for units; None where it is a single number.

    Axis 1 of four axes and more, and of three where a convolution reads or makes them; else the last.
    """
    axes = len(recording.values[number].shape)
    if axes == 0:
        return None
    return 1 if axes >= 4 or (axes == 3 and _meets_convolution(number, recording)) else axes - 1


_TURNING = ("transpose", "permute", "movedim", "bmm", "baddbmm", "view", "_unsafe_view", "reshape", "_reshape_alias")


def _meets_convolution(number: int, recording: Recording) -> bool:
    """Whether a convolution reads or makes the value, or one that operations which keep its axes join with it."""
    channels = recording.values[number].shape[1]
    joined = {number}
    for operations in (recording.operations, list(reversed(recording.operations))):
        for operation in operations:
            values = {*operation.operands, *(one for one in operation.outputs if one is not None)}
            if joined & values and operation.name == "convolution":
                return True
            if joined & values and operation.name not in _TURNING:
                shapes = {one: recording.values[one].shape for one in values}
                joined |= {one for one, shape in shapes.items() if len(shape) == 3 and shape[1] == channels}
    return False
