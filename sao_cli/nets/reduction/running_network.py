"""A module whose checkpoint is made smaller: which units go as it runs, and how its outputs change."""

from __future__ import annotations

import contextlib
import copy
import math
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.io.checkpoints import Checkpoint
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.datasets.samples import load_samples
from sao_cli.models.layer_tensors import LayerTensors
from sao_cli.models.output_change import SAMPLES, ComparedInputs, OutputChange
from sao_cli.models.reduce_features import ReducedLayer
from sao_cli.nets.layers.linear import current_tensor
from sao_cli.nets.reduction.reduce_module import answers, reduce_
from sao_cli.nets.tracing.loading import load_checkpoint_, shared_prefix
from sao_cli.nets.tracing.recording import unwrapped

_TOGETHER = 256  # inputs that run at once


class ModuleToReduce:
    """A module, and example inputs, the first axis of which counts them: what reduce_checkpoint takes as its `network`.

    Raises what load_checkpoint_ and reduce_ raise. What the module prints goes to stderr.

    >>> network = ModuleToReduce(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)), (torch.ones(1, 3),))
    """

    def __init__(self, module: nn.Module, inputs: Sequence[Tensor]) -> None:
        self.module, self.inputs = unwrapped(module), tuple(inputs)
        self._compared: list[tuple[Tensor, ...]] = []
        self._before: NDArray[np.float64] = np.empty(0)

    def take(self, checkpoint: Checkpoint, at: ComparedInputs, progress: Progress = silent) -> None:
        """Take a checkpoint's tensors, and run at the inputs.

        Of several inputs, and of whole numbers, only the examples are run. Raises SaoError for data of another size.
        """
        load_checkpoint_(self.module, checkpoint)
        self._compared = self._inputs(at, progress)
        self._before = self._outputs()

    def smaller(
        self, checkpoint: Checkpoint, structure: Structure
    ) -> tuple[Mapping[str, ReducedLayer], Mapping[str, str]]:
        """Leave out the units that nothing needs, of a copy of the module, which runs from then on."""
        prefix = shared_prefix(self.module, checkpoint)
        self.module = copy.deepcopy(self.module)
        with contextlib.redirect_stdout(sys.stderr):
            found = {layer.name: layer for layer in reduce_(self.module, *self.inputs).layers}
        tensors = LayerTensors(checkpoint, structure)
        layers, reasons = {}, {}
        for entry in tensors.weights:
            name = entry.name.removeprefix(prefix)
            if (row := found.get(name)) is None:
                continue
            if row.reason is not None:
                reasons[entry.name] = row.reason
            owner = self.module.get_submodule(name.rpartition(".")[0])
            weight, bias = current_tensor(owner, name.rpartition(".")[2]), current_tensor(owner, "bias")
            if weight is None or (row.reason is not None and row.shape == row.new_shape):
                continue
            layers[entry.name] = ReducedLayer(
                entry,
                structure.layout(entry).outputs_first(_array(weight)),
                None if bias is None else _array(bias),
                tensors.bias(entry),
                row.merged,
                row.constant,
                row.unread,
            )
        return layers, reasons

    def change(self, checkpoint: Checkpoint) -> OutputChange:
        """How the outputs change with another checkpoint's tensors, P W' Q for what was fused."""
        load_checkpoint_(self.module, checkpoint)
        return OutputChange.between(self._before, self._outputs())

    def _inputs(self, at: ComparedInputs, progress: Progress) -> list[tuple[Tensor, ...]]:
        first = self.inputs[0]
        if len(self.inputs) > 1 or not first.is_floating_point():
            if at.data is not None:
                raise SaoError(f"--data {at.data}: the module reads {len(self.inputs)} inputs, or whole numbers")
            return [self.inputs]
        each = tuple(first.shape[1:])
        if at.data is None:
            count = SAMPLES if at.count is None else at.count
            require_memory(8.0 * count * math.prod(each), f"{count} inputs of {each}", "choose fewer --inputs")
            drawn = torch.randn((count, *each), generator=torch.Generator().manual_seed(at.seed))
        else:
            told = {"inputs": math.prod(each), "seed": at.seed, "progress": progress}
            samples = load_samples(at.data, at.folder, at.count, "test", **told).flat
            if samples.shape[1] != math.prod(each):
                raise SaoError(f"--data {at.data}: inputs of {samples.shape[1]} numbers, and the --example has {each}")
            drawn = torch.from_numpy(np.ascontiguousarray(samples)).reshape(-1, *each)
        return [(part,) for part in drawn.to(first.device, first.dtype).split(_TOGETHER)]

    def _outputs(self) -> NDArray[np.float64]:
        """(B, ...) all real outputs, side by side."""
        with contextlib.redirect_stdout(sys.stderr):
            found = [answers(self.module, inputs) for inputs in self._compared]
        count = sum(len(inputs[0]) for inputs in self._compared)
        return np.concatenate([_array(one).reshape(-1) for many in found for one in many]).reshape(count, -1)


def _array(tensor: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = tensor.detach().double().cpu().numpy()
    return array
