"""A checkpoint made smaller: parallel rows and columns fused, and units left out that the next layer does without."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sao_cli import __version__
from sao_cli.base.errors import SaoError
from sao_cli.base.names import check
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import FUSE_RULES
from sao_cli.io.checkpoints import Checkpoint, Entry, Lazy
from sao_cli.io.checkpoints.copies import stored_names
from sao_cli.io.checkpoints.order import NUMBERED, PLAIN_STACK
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.formats.tensor_file import Path
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.models.opened import aside, opened
from sao_cli.models.output_change import ChainsCompared, ComparedInputs, OutputChange
from sao_cli.models.prune import no_numbers
from sao_cli.models.reduce_features import CHAIN_WAY_OUT, ReducedLayer, reduce_stacks, reduced_tensors, stacks_of
from sao_cli.models.reduce_weight import WEIGHT, Fusing, factor_tensors, fused_weight, stored, why_not_fused
from sao_cli.models.rewrite import in_order, told_of, warn_of_form, write_changes
from sao_cli.models.select import Choice, Selection, read_or_reason, weights_asked_for
from sao_cli.models.stack import AS_NAMED, AS_RUN
from sao_cli.reports.changes import Changes
from sao_cli.reports.reductions import ReducedWeight, ReduceSummary

_NOT_TOLD = "no --activation and no --module says what the network computes"
_NO_CHAIN = "it stands in no chain, and --features fuses nothing unless --tau-cos is given too"


def reduce_checkpoint(
    model: Path | Checkpoint,
    out: Path,
    *,
    rule: str = "svd",
    tau_cos: float | None = None,
    tau_euc: float | None = None,
    floor: float | None = None,
    features: bool = False,
    lossless: bool = False,
    dense: bool = False,
    activation: str | ActivationFunction | None = None,
    chain: Sequence[str] = (),
    inputs: int | None = None,
    data: str | None = None,
    data_folder: str | None = None,
    network: RunningNetwork | None = None,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    groups: Sequence[tuple[str, int]] = (),
    transpose: str | Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> Changes[ReducedWeight, ReduceSummary]:
    """Make the weights of a checkpoint smaller, write it to `out`, and tell of each.

    `model` and `out`, `include`, `exclude`, `groups` and `transpose` are as prune_checkpoint has them. Parallel rows
    and columns of each matrix are fused by `rule` at the thresholds `tau_cos` (1e-4 by default), `tau_euc` (0.1) and
    `floor` (1e-3), as measure.redundancy.fusing.fuse has them; `lossless` fuses multiples alone, to the rounding of the
    weight's dtype, and removes only zeros. A matrix NAME.weight that is smaller then is stored as W', beside
    NAME.row_index, NAME.row_scale, NAME.col_index and NAME.col_scale, which RareLinear of sao_cli.nets loads, and
    open_checkpoint reads as the one weight P W' Q; with `dense` as that product, of which any loader knows, and which
    saves nothing. Weights in which nothing was fused, and all other tensors, are copied as they are.

    With `features` units go which the layer after them does without, as reduce_stacks says, of the `chain`, names of
    layers in the order in which they run, or of the plain stacks that names number; the `activation` stands between
    all of them. Layers become smaller then, with plain tensors, and nothing is fused unless `tau_cos` is given too.
    With a `network`, a nets.reduction.running_network.ModuleToReduce, its module tells which units may go, and where.

    With an `activation` or a `network` the summary tells by how much the outputs change, at `inputs` normal inputs (64
    by default), or images to test on of `data`: the largest and the root mean square difference, over the root mean
    square of the outputs. It reads what was written.

    Raises SaoError, before anything is written, for what can't be opened, options that contradict each other,
    thresholds out of range, patterns that match nothing, and where nothing is left to reduce; FileError for an `out`
    that can't be written, or that `model` reads. Time: fuse's and fusing_errors' for each weight. Memory: the smaller
    weights, and what fusing one needs; with `features` the chains in float64.

    >>> import numpy as np
    >>> from sao_cli.io.checkpoints import write_checkpoint
    >>> write_checkpoint({"fc.weight": np.outer([1.0, 2.0, 3.0], [1.0, -1.0])}, "large.safetensors")
    >>> rows, summary = reduce_checkpoint("large.safetensors", "small.safetensors")
    >>> rows[0].new_shape, rows[0].fusions, summary.new_parameters
    ((1, 1), 3, 1)
    """
    check("rule", rule, FUSE_RULES)
    fusing = Fusing.asked(rule, tau_cos, tau_euc, floor, lossless, features)
    function = None if activation is None else ActivationFunction.of(activation)
    if network is not None and (function is not None or chain):
        raise SaoError("a --module tells the network; leave out --activation and --chain")
    if features and function is None and network is None:
        raise SaoError("--features needs an --activation, which stands between the layers, or a --module")
    if features and fusing is None and (include or exclude):
        raise SaoError("--include and --exclude choose what is fused; --chain names the layers that lose units")
    if (chain or inputs is not None or data is not None) and function is None and network is None:
        raise SaoError("--chain, --inputs and --data are of a network: give its --activation too, or its --module")
    at = ComparedInputs(inputs, data, data_folder, seed)
    selection = Selection.of(include, exclude, groups, transpose)
    with opened(model, out) as checkpoint, aside(out, function is not None or network is not None) as written:
        structure = selection.structure(checkpoint)
        run = _Reduction(checkpoint, structure, fusing, dense, progress)
        if network is not None:
            network.take(checkpoint, at, progress)
        if features and network is not None:
            run.take(*network.smaller(checkpoint, structure))
        elif features and function is not None:
            reduced = reduce_stacks(checkpoint, structure, function, chain=chain)
            run.take(reduced.layers, reduced.reasons)
        choice = run.chosen(weights_asked_for(structure, selection))
        choice.require_any("reduce")
        compared, reason = None, _NOT_TOLD
        if function is not None and (chain or structure.order.stacks):
            stacks = stacks_of(checkpoint, structure, chain)
            compared = ChainsCompared(checkpoint, structure, stacks, function, at, progress)
        elif function is not None:
            reason = f"{structure.order.reason or 'it has one layer'}; {CHAIN_WAY_OUT}"
        run.reduce(choice.entries)
        write_changes(checkpoint, run.changes, written, _told(fusing, features, dense, seed), run.added)
        warn_of_form(
            checkpoint, [entry for entry in run.changes if entry.form != "factored" and entry not in run.factored]
        )
        rows = in_order(structure, run.rows, choice.skipped)
        change, order, assumed = OutputChange(reason=reason), None, None
        if network is not None:
            order = AS_RUN
            with opened(written) as after:
                change = network.change(after)
        elif compared is not None:
            order, assumed = (AS_NAMED, None) if chain else (NUMBERED, PLAIN_STACK)
            with opened(written) as after:
                change = compared.change(after, selection.structure(after))
    found = [row for row in rows if isinstance(row, ReducedWeight)]
    parameters = _parameters(structure)
    summary = ReduceSummary(
        reduced=len({entry.name for entry in run.changes} & run.rows.keys()),
        skipped_tensors=len(choice.skipped),
        parameters=parameters,
        new_parameters=parameters - sum(row.parameters_saved for row in found),
        **{key: sum(getattr(row, key) for row in found) for key in ("fusions", "zero", "merged", "constant", "unread")},
        output_error_max=change.max,
        output_error_rms=change.rms,
        samples=change.samples,
        order=order,
        assumed=assumed,
        reason=change.reason,
    )
    return Changes(rows, summary)


class RunningNetwork(Protocol):
    """A network that runs: nets.reduction.running_network.ModuleToReduce, of which this room knows no more."""

    def take(self, checkpoint: Checkpoint, at: ComparedInputs, progress: Progress = silent) -> None:
        """Take a checkpoint's tensors, and run at the inputs; SaoError where they, or the tensors, do not fit."""

    def smaller(
        self, checkpoint: Checkpoint, structure: Structure
    ) -> tuple[Mapping[str, ReducedLayer], Mapping[str, str]]:
        """Leave out needless units: the layers by name, and the reasons why those of others may not go."""

    def change(self, checkpoint: Checkpoint) -> OutputChange:
        """How the outputs change with another checkpoint's tensors."""


class _Reduction:
    """What becomes of a checkpoint's weights: the `changes` in place of entries, what is `added`, and `rows`."""

    def __init__(
        self, checkpoint: Checkpoint, structure: Structure, fusing: Fusing | None, dense: bool, progress: Progress
    ) -> None:
        self.checkpoint, self.structure, self.fusing = checkpoint, structure, fusing
        self.dense, self.progress = dense, progress
        self.changes: dict[Entry, Lazy] = {}
        self.added: dict[str, Lazy] = {}
        self.rows: dict[str, ReducedWeight] = {}
        self.factored: set[Entry] = set()
        self._layers: Mapping[str, ReducedLayer] = {}
        self._reasons: Mapping[str, str] = {}

    def take(self, layers: Mapping[str, ReducedLayer], reasons: Mapping[str, str]) -> None:
        """Let these layers lose their needless units."""
        self._layers, self._reasons = layers, reasons
        changed = {name: layer for name, layer in layers.items() if self._is_changed(layer)}
        self.changes, self.added = reduced_tensors(self.checkpoint, self.structure, changed)

    def chosen(self, choice: Choice) -> Choice:
        """Those weights that are looked at, and why the others are not."""
        choice = choice.without(lambda entry: self._why_not(entry) if entry.name not in self._layers else None)
        named = {entry.name for entry in choice.entries}
        more = [self._layers[name].entry for name in self._layers if name not in named]
        return Choice([*choice.entries, *more], choice.skipped)

    def reduce(self, entries: Iterable[Entry]) -> None:
        """Fuse what is to be fused of each, and tell of it."""
        entries = list(entries)
        for number, entry in enumerate(entries):
            self.progress("reducing weights", number, len(entries))
            self.rows[entry.name] = self._reduced(entry)

    def _why_not(self, entry: Entry) -> str | None:
        if self.fusing is None:
            return self._reasons.get(entry.name, _NO_CHAIN)
        reason = why_not_fused(entry, self.structure, self.dense)
        return reason or read_or_reason(self.checkpoint, entry, no_numbers)

    def _reduced(self, entry: Entry) -> ReducedWeight:
        layer = self._layers.get(entry.name)
        layout = self.structure.layout(entry)
        weight = self.checkpoint.read(entry) if layer is None else layout.outputs_first(layer.weight)
        row = ReducedWeight(
            **told_of(self.structure, entry),
            new_shape=weight.shape,
            fusions=0,
            zero=0,
            merged=0 if layer is None else layer.merged,
            constant=0 if layer is None else layer.constant,
            unread=0 if layer is None else layer.unread,
            error_frobenius=0.0,
            error_spectral=0.0,
            parameters_saved=math.prod(entry.shape) - weight.size + self._biases_saved(layer),
            reason=self._reasons.get(entry.name),
        )
        if self.fusing is None or (layer is not None and why_not_fused(entry, self.structure, self.dense) is not None):
            return row
        return self._fused(entry, weight, row, self.fusing)

    def _fused(self, entry: Entry, weight: NDArray[Any], row: ReducedWeight, fusing: Fusing) -> ReducedWeight:
        """Fuse the rows and columns of a weight, as it is stored."""
        layout = self.structure.layout(entry)
        kernel = entry.kind == "kernel"
        first = layout.outputs_first(weight) if kernel else weight
        found = fused_weight(first, entry.dtype, fusing, self.progress)
        if not found.changed and not (self.dense and entry.form == "factored"):
            return row
        if self.dense:
            product = found.fused.product().reshape(first.shape)
            self._put(entry, layout.outputs_first(product) if kernel else product)
        else:
            self.changes[entry] = stored(found.fused.weight, entry.dtype)
            self.factored.add(entry)
            stem = stored_names(self.checkpoint, [entry])[entry].removesuffix(WEIGHT)
            self.added |= factor_tensors(found.fused, stem, entry.dtype)
        shape = self.changes[entry].shape
        return replace(
            row,
            new_shape=shape,
            fusions=found.fused.fusions,
            zero=found.fused.zero,
            error_frobenius=found.errors.frobenius,
            error_spectral=found.errors.spectral,
            parameters_saved=row.parameters_saved + weight.size - math.prod(shape),
        )

    def _put(self, entry: Entry, weight: NDArray[Any]) -> None:
        """Write a weight under all names that it has."""
        self.changes[entry] = stored(weight, entry.dtype)
        for other, axes in self.structure.others(entry):
            self.changes[other] = stored(weight.transpose(axes), other.dtype)

    def _is_changed(self, layer: ReducedLayer) -> bool:
        """Whether anything of a layer is other than it was: fewer units, fewer that are read, or other numbers."""
        bias = None if layer.bias_entry is None else self.checkpoint.read(layer.bias_entry)
        if layer.removed or not np.array_equal(_or_none(layer.bias), _or_none(bias)):
            return True
        before = self.structure.layout(layer.entry).outputs_first(self.checkpoint.read(layer.entry))
        return not np.array_equal(before, layer.weight)

    def _biases_saved(self, layer: ReducedLayer | None) -> int:
        if layer is None:
            return 0
        before = 0 if layer.bias_entry is None else math.prod(layer.bias_entry.shape)
        return before - (0 if layer.bias is None else len(layer.bias))


def _or_none(bias: NDArray[Any] | None) -> NDArray[Any]:
    return np.empty(0) if bias is None else bias


def _parameters(structure: Structure) -> int:
    """The numbers of all tensors that are real, and no masks, those with several names once."""
    seen: set[str] = set()
    count = 0
    for entry in structure.entries:
        if entry.name in seen or not entry.parts or not entry.dtype.startswith(("float", "bfloat")):
            continue
        if entry.reason is not None and entry.reason.startswith("mask of"):
            continue
        seen |= {entry.name, *structure.tied_with(entry)}
        count += entry.numbers or 0
    return count


def _told(fusing: Fusing | None, features: bool, dense: bool, seed: int) -> dict[str, Any]:
    """What the file tells of each weight that is smaller."""
    told: dict[str, Any] = {"version": __version__, "command": "reduce", "features": features, "dense": dense}
    if fusing is not None:
        lossless = {"rule": fusing.rule, "lossless": True}
        asked = {key: getattr(fusing, key) for key in ("rule", "tau_cos", "tau_euc", "floor")}
        told |= lossless if fusing.lossless else asked
    return told | {"seed": seed}
