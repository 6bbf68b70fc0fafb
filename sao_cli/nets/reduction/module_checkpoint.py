"""A checkpoint made smaller through the module that its tensors are of: units that no output needs are left out."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from sao_cli import __version__
from sao_cli.base.progress import Progress, silent
from sao_cli.data.arrays import Values
from sao_cli.io.checkpoints import Checkpoint, Entry, Lazy, write_checkpoint
from sao_cli.io.checkpoints.structure import Structure, structure_of
from sao_cli.io.formats.tensor_file import Path
from sao_cli.models.layer_tensors import bias_beside
from sao_cli.models.opened import opened
from sao_cli.models.output_change import SAMPLES, OutputChange
from sao_cli.models.reduce import count_parameters
from sao_cli.models.rewrite import metadata_with, told_of
from sao_cli.nets.reduction.reduce_module import ReducedModuleLayer, answers_of, reduce_
from sao_cli.nets.tracing.loading import load_checkpoint_, shared_prefix
from sao_cli.nets.tracing.recording import unwrapped
from sao_cli.reports.changes import Changes
from sao_cli.reports.reductions import ReducedWeight, ReduceSummary

AS_RUN = "as run"  # an order that a run tells
_NOT_RUN = "the run multiplies nothing by it"


def reduce_through(
    module: nn.Module,
    inputs: Sequence[Tensor],
    model: Path | Checkpoint,
    out: Path,
    *,
    samples: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Changes[ReducedWeight, ReduceSummary]:
    """Take out of a module with the weights of `model` the units that its outputs do without, write it, tell of each.

    The module is left as reduce_ leaves it. Its state is what is written to `out`, under the names and in the dtypes
    that `model` has; it loads into a module of the new shapes. The outputs are compared at `samples` (64) inputs of the
    shapes of `inputs`, normal by `seed`, or these where they are whole numbers. What the module prints goes to stderr.

    Raises what load_checkpoint_ and reduce_ raise, and FileError as reduce_checkpoint does. Time: reduce_'s, and two
    runs a sample.

    >>> from sao_cli.io.checkpoints import write_checkpoint
    >>> net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> write_checkpoint({**net.state_dict(), "2.weight": np.eye(2, 3, dtype=np.float32)}, "whole.safetensors")
    >>> rows, summary = reduce_through(net, [torch.ones(1, 3)], "whole.safetensors", "part.safetensors")
    >>> [row.new_shape for row in rows], summary.parameters - summary.new_parameters
    ([(2, 3), (2, 2)], 6)
    """
    with opened(model, out) as checkpoint, contextlib.redirect_stdout(sys.stderr):
        module = load_checkpoint_(unwrapped(module), checkpoint)
        prefix = shared_prefix(module, checkpoint)
        structure = structure_of(checkpoint)
        points = _points(inputs, samples or SAMPLES, seed)
        before = [_flat(module, point) for point in points]
        progress("leaving out units", 0, 1)
        found = {row.name: row for row in reduce_(module, *inputs).layers}
        change = OutputChange.between(np.array(before), np.array([_flat(module, point) for point in points]))
        tensors = _state(module, checkpoint, prefix)
        rows = tuple(_rows(structure, found, tensors, prefix))
        told = {"version": __version__, "command": "reduce", "features": True, "seed": seed}
        changed = {prefix + row.name: told for row in rows if row.parameters_saved or row.new_shape != row.shape}
        write_checkpoint(tensors, out, metadata_with(checkpoint, changed))
    return Changes(rows, _summary(rows, count_parameters(structure), len(changed), change))


def _points(inputs: Sequence[Tensor], samples: int, seed: int) -> list[list[Tensor]]:
    drawn = torch.Generator().manual_seed(seed)
    if not any(one.is_floating_point() for one in inputs):
        return [list(inputs)]
    return [
        [
            torch.randn(one.shape, generator=drawn).to(one.device, one.dtype) if one.is_floating_point() else one
            for one in inputs
        ]
        for _ in range(samples)
    ]


def _flat(module: nn.Module, point: Sequence[Tensor]) -> Values:
    flat: Values = torch.cat([one.double().reshape(-1) for one in answers_of(module, point)]).cpu().numpy()
    return flat


def _state(module: nn.Module, checkpoint: Checkpoint, prefix: str) -> dict[str, Lazy]:
    """The module's tensors by the checkpoint's names for them, also of a bias that is new."""
    stored = checkpoint.file.stored
    entries = {entry.name.removeprefix(prefix): entry for entry in checkpoint.entries}
    tensors = {}
    for name, tensor in module.state_dict().items():
        kept = stored.get(prefix + name) or entries.get(name)
        dtype = str(tensor.dtype).removeprefix("torch.") if kept is None else kept.dtype
        tensors[prefix + name] = Lazy(tuple(tensor.shape), dtype, partial(_held, tensor))
    return tensors


def _held(tensor: Tensor) -> Tensor:
    return tensor


def _row(
    entry: Entry, structure: Structure, found: ReducedModuleLayer | None, biases: Mapping[str, int], bias_after: int
) -> ReducedWeight:
    """What is told of a weight, which may be none that ran."""
    shape = entry.shape if found is None else found.new_shape
    fewer = biases.get(bias_beside(entry.name), 0) - bias_after
    return ReducedWeight(
        **told_of(structure, entry),
        new_shape=shape,
        fusions=0,
        zero=0,
        merged=0 if found is None else found.merged,
        constant=0 if found is None else found.constant,
        unread=0 if found is None else found.unread,
        error_frobenius=0.0,
        error_spectral=0.0,
        parameters_saved=math.prod(entry.shape) - math.prod(shape) + fewer,
        reason=_NOT_RUN if found is None else found.reason,
    )


def _rows(
    structure: Structure, found: Mapping[str, ReducedModuleLayer], tensors: Mapping[str, Lazy], prefix: str
) -> Iterator[ReducedWeight]:
    biases = {one.name: math.prod(one.shape) for one in structure.entries if one.kind == "skipped" and one.parts}
    for entry in structure.entries:
        if entry.kind == "skipped":
            continue
        plain = entry.name.removeprefix(prefix)
        names = [prefix + bias_beside(plain) + tail for tail in ("", "_orig")]
        after = next((math.prod(tensors[name].shape) for name in names if name in tensors), 0)
        yield _row(entry, structure, found.get(plain), biases, after)


def _summary(rows: Sequence[ReducedWeight], parameters: int, reduced: int, change: OutputChange) -> ReduceSummary:
    return ReduceSummary(
        reduced=reduced,
        skipped_tensors=0,
        parameters=parameters,
        new_parameters=parameters - sum(row.parameters_saved for row in rows),
        **{key: sum(getattr(row, key) for row in rows) for key in ("fusions", "zero", "merged", "constant", "unread")},
        output_error_max=change.max,
        output_error_rms=change.rms,
        samples=change.samples,
        order=AS_RUN,
        assumed=None,
        reason=change.reason,
    )
