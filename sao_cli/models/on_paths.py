"""Which of the kept weights of a checkpoint lie on a path, before they are written: for dropping the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sao_cli.base.errors import SaoError
from sao_cli.data.arrays import Booleans
from sao_cli.io.checkpoints import Checkpoint
from sao_cli.io.checkpoints.order import WAY_OUT
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.output import shown
from sao_cli.measure.reach.effective import effective_weights
from sao_cli.models.left import Tracer

Masks = Mapping[str, Booleans]
OnPaths = Callable[[Masks], dict[str, Booleans]]  # masks of the weights' shapes, outputs first, by name


def on_paths(checkpoint: Checkpoint, structure: Structure, network: Tracer | None) -> OnPaths:
    """What tells which of the weights that masks keep lie on a path of kept ones from an input to an output.

    By the `network`, or where there is none by names that number a plain stack of matrices. Raises SaoError where they
    do not; what it gives raises it where a weight of the stack has no mask, and where nothing lies on a path.
    """
    if network is None:
        names = _stack(structure)
        return lambda masks: _some(_in_stack(masks, names))
    return lambda masks: _some(_in_network(masks, checkpoint, structure, network))


def _stack(structure: Structure) -> tuple[str, ...]:
    """The names of a plain stack of matrices. Raises SaoError where the checkpoint is none."""
    weights = [entry for entry in structure.entries if entry.kind != "skipped"]
    kernel = next((f"{shown(entry.name)} is a kernel" for entry in weights if entry.kind != "matrix"), None)
    tied = next((f"{shown(entry.name)} is tied" for entry in weights if structure.others(entry)), None)
    if (reason := structure.order.reason or kernel or tied) is not None:
        raise SaoError(f"--effective is of plain stacks of matrices: {reason}; {WAY_OUT}")
    return tuple(entry.name for entry in weights)


def _in_stack(masks: Masks, names: tuple[str, ...]) -> dict[str, Booleans]:
    if absent := [name for name in names if name not in masks]:
        raise SaoError(f"--effective: {shown(absent[0])} is not pruned, and what lies on a path is of all layers")
    return dict(zip(names, effective_weights([masks[name] for name in names]), strict=True))


def _in_network(masks: Masks, checkpoint: Checkpoint, structure: Structure, network: Tracer) -> dict[str, Booleans]:
    """The masks of weights that run; biases, which join nothing, stay as they are."""
    stored = {}
    entries = [entry for entry in structure.entries if entry.name in masks and masks[entry.name].ndim > 1]
    for entry in entries:
        stored[entry.name] = structure.layout(entry).outputs_first(masks[entry.name])
        for other, axes in structure.others(entry):
            stored[other.name] = stored[entry.name].transpose(axes)
    found = network.effective(checkpoint, stored)
    return {
        entry.name: masks[entry.name] & structure.layout(entry).outputs_first(found[entry.name])
        for entry in entries
        if entry.name in found
    }


def _some(found: dict[str, Booleans]) -> dict[str, Booleans]:
    if not any(one.any() for one in found.values()):
        raise SaoError("--effective: no kept weight lies on a path from an input to an output; prune less")
    return found
