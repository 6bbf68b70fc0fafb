"""The tensors of a checkpoint's layers: weights with the biases beside them, and what stands in between."""

from __future__ import annotations

import re
from functools import cached_property

import numpy as np

from sao_cli.data.precision import PRECISIONS
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.output import shown
from sao_cli.measure.redundancy.features import FeatureLayer

_NUMBER = re.compile(r"(.*?)(\d{1,9})(?:\..*)?")


class LayerTensors:
    """The tensors of a checkpoint, and which of them stand in the way of leaving out units."""

    def __init__(self, checkpoint: Checkpoint, structure: Structure) -> None:
        self.checkpoint, self.structure = checkpoint, structure
        self.entries = {entry.name: entry for entry in structure.entries}
        self.weights = [entry for entry in structure.entries if entry.kind != "skipped"]

    def bias(self, entry: Entry) -> Entry | None:
        """The bias of a weight, where it has one as long as its outputs."""
        found = self.entries.get(bias_beside(entry.name))
        m = self.structure.layout(entry).sides(entry.shape)[0]
        return found if found is not None and found.parts and found.shape == (m,) else None

    @cached_property
    def others(self) -> list[Entry]:
        """Those that are no weight, no bias of one and no mask."""
        own = {id(bias) for entry in self.weights if (bias := self.bias(entry)) is not None}
        masks = {part for entry in self.weights for part in entry.parts}
        return [
            entry
            for entry in self.structure.entries
            if entry.kind == "skipped" and entry.parts and id(entry) not in own and not masks.intersection(entry.parts)
        ]

    def why_not(self, before: Entry, after: Entry) -> str | None:
        """Why no unit that stands between the two layers may go."""
        for entry in (before, after):
            if (reason := self._why_not(entry)) is not None:
                return reason
        m = self.structure.layout(before).sides(before.shape)[0]
        between = next((one for one in self.others if _stands_between(one, before, after, m)), None)
        if between is not None:
            what = f" ({between.reason})" if between.reason else ""
            return f"{shown(between.name)}{what} stands between {shown(before.name)} and {shown(after.name)}"
        return None

    def _why_not(self, entry: Entry) -> str | None:
        layout = self.structure.layout(entry)
        if entry.kind == "skipped":
            return f"{shown(entry.name)} can't be read: {entry.reason}"
        bias = self.bias(entry)
        for one in filter(None, (entry, bias)):
            if tied := self.structure.tied_with(one):
                return f"{shown(one.name)} is one tensor with {', '.join(map(shown, tied))}"
            if one.dtype not in PRECISIONS:
                return f"{shown(one.name)} is of dtype {one.dtype}"
        if layout.groups != 1:
            return layout.reason or f"{shown(entry.name)} has {layout.groups} groups of channels"
        if bias is None and (other := self.entries.get(bias_beside(entry.name))) is not None:
            return f"{shown(other.name)} of shape {other.shape} is no bias of {shown(entry.name)}"
        return None

    def layer(self, entry: Entry, channels: int | None) -> FeatureLayer:
        """A weight that reads so many units, and its bias."""
        array = self.structure.layout(entry).outputs_first(self.checkpoint.read(entry)).astype(np.float64)
        if channels not in (None, array.shape[1]):
            array = array.reshape(len(array), channels, -1)  # the images of a kernel, flattened
        bias = self.bias(entry)
        numbers = None if bias is None else self.checkpoint.read(bias).astype(np.float64)
        return FeatureLayer(array, numbers, entry.dtype)


def bias_beside(name: str) -> str:
    """The name of the bias beside a weight; of a weight that is all there is of its layer, below it."""
    path, dot, last = name.rpartition(".")
    if last != "kernel" and "weight" not in last:
        return f"{name}.bias"
    return f"{path}{dot}{'bias' if last == 'kernel' else last.replace('weight', 'bias')}"


def _stands_between(entry: Entry, before: Entry, after: Entry, m: int) -> bool:
    """Whether a tensor may be of a layer that runs between two others, as its number or its length tells.

    A vector that has a number for each unit, or one for all, is a norm's or a slope, unless its number says that it is
    of a layer elsewhere.
    """
    numbers = [_NUMBER.fullmatch(one.name) for one in (before, entry, after)]
    if all(numbers) and len({one[1] for one in numbers if one}) == 1:
        first, place, last = (int(one[2]) for one in numbers if one)
        return first <= place <= last
    return entry.shape in ((m,), (1,))
