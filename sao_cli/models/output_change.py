"""How much the outputs of a network differ from those of another one that is to stand for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import INPUTS, generator
from sao_cli.data.arrays import Values
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.datasets.samples import load_samples
from sao_cli.io.output import shown
from sao_cli.measure.layer.activations import ActivationFunction, activation_value
from sao_cli.models.layer_tensors import LayerTensors

SAMPLES = 64  # inputs that outputs are compared at, unless told otherwise: our choice


@dataclass(frozen=True, kw_only=True)
class OutputChange:
    """max and root mean square of y' - y, over the root mean square of y; None, with a `reason`, where not known."""

    max: float | None = None
    rms: float | None = None
    samples: int | None = None
    reason: str | None = None

    @classmethod
    def between(cls, before: NDArray[Any], after: NDArray[Any]) -> OutputChange:
        """That of outputs (B, ...) for the same inputs.

        >>> OutputChange.between(np.array([[3.0, 4.0]]), np.array([[3.0, 4.5]]))
        OutputChange(max=0.1414213562373095, rms=0.1, samples=1, reason=None)
        """
        before, after = (np.asarray(one, dtype=np.float64) for one in (before, after))
        size, difference = _rms(before), after - before
        if not np.isfinite(before).all() or not np.isfinite(after).all():
            return cls(samples=len(before), reason="outputs are not finite")
        if not difference.any():
            return cls(max=0.0, rms=0.0, samples=len(before))
        if not size:
            return cls(samples=len(before), reason="all outputs were 0")
        return cls(max=float(np.abs(difference).max()) / size, rms=_rms(difference) / size, samples=len(before))


@dataclass(frozen=True)
class ComparedInputs:
    """What a network is compared at: `count` normal inputs (None: 64), by `seed`, or images to test on of named `data`
    (None: all)."""

    count: int | None = None
    data: str | None = None
    folder: str | None = None
    seed: int = 0

    def of_width(self, n: int, progress: Progress = silent) -> Values:
        """(B, n) float64. Raises SaoError for data of another width, and what load_samples raises."""
        if self.data is None:
            count = SAMPLES if self.count is None else self.count
            require_memory(8.0 * count * n, f"{count} inputs of {n} numbers", "choose fewer --inputs")
            return generator(self.seed, 1, INPUTS).standard_normal((count, n))
        found = load_samples(self.data, self.folder, self.count, "test", inputs=n, seed=self.seed, progress=progress)
        if found.flat.shape[1] != n:
            raise SaoError(f"--data {self.data}: inputs of {found.flat.shape[1]} numbers, and the network reads {n}")
        return np.asarray(found.flat, dtype=np.float64)


class ChainsCompared:
    """The chains of matrices `stacks` of a checkpoint, with their biases, and the inputs that they are compared at.

    Made before anything is written, so that data that do not fit are refused. Raises what
    ComparedInputs.of_width does.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        structure: Structure,
        stacks: Sequence[Sequence[Entry]],
        activation: ActivationFunction,
        inputs: ComparedInputs,
        progress: Progress = silent,
    ) -> None:
        self._before, self._activation, self._progress = _Layers(checkpoint, structure), activation, progress
        self._names = [[entry.name for entry in stack] for stack in stacks]
        kernel = next((entry.name for stack in stacks for entry in stack if entry.kind != "matrix"), None)
        self._reason = kernel and f"{shown(kernel)} is a kernel, whose image a file does not tell; --module tells"
        widths = [] if kernel else [self._before.width(names[0]) for names in self._names]
        self._inputs = [inputs.of_width(width, progress) for width in widths]

    def change(self, checkpoint: Checkpoint, structure: Structure) -> OutputChange:
        """The change of the outputs of the chain that changes the most in `checkpoint`, where it has smaller layers.

        Layer by layer, in float64: O(B) times the weights, of which one is held.
        """
        if self._reason is not None:
            return OutputChange(reason=self._reason)
        after = _Layers(checkpoint, structure)
        found = [self._of_chain(names, x, after) for names, x in zip(self._names, self._inputs, strict=True)]
        unknown = next((change for change in found if change.reason is not None), None)
        return unknown or max(found, key=lambda change: change.max or 0.0)

    def _of_chain(self, names: Sequence[str], x: Values, after: _Layers) -> OutputChange:
        nets, outputs = (self._before, after), [x, x]
        for place, name in enumerate(names):
            self._progress("comparing outputs", place, len(names))
            for which, net in enumerate(nets):
                h = outputs[which] if not place else activation_value(self._activation, outputs[which])
                outputs[which] = net.applied(name, h)
        return OutputChange.between(*outputs)


class _Layers:
    """The layers of a checkpoint by the names of their weights."""

    def __init__(self, checkpoint: Checkpoint, structure: Structure) -> None:
        self._checkpoint, self._structure = checkpoint, structure
        self._tensors = LayerTensors(checkpoint, structure)

    def entry(self, name: str) -> Entry:
        return self._tensors.entries[name]

    def width(self, name: str) -> int:
        entry = self.entry(name)
        return self._structure.layout(entry).shape(entry.shape)[1]

    def applied(self, name: str, x: Values) -> Values:
        """W x + b, for inputs (B, n)."""
        entry = self.entry(name)
        weight = self._structure.layout(entry).outputs_first(self._checkpoint.read(entry))
        bias = self._tensors.bias(entry)
        y: Values = x @ np.asarray(weight, dtype=np.float64).T
        return y if bias is None else y + self._checkpoint.read(bias)


def _rms(values: Values) -> float:
    return math.sqrt(float(np.square(values).mean())) if values.size else 0.0
