"""The redundancy of a checkpoint in the rank of its parameters, weight by weight."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.data.kernel import all_channels
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.order import WAY_OUT
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.output import shown
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.measure.redundancy.features import FeatureLayer, feature_counts
from sao_cli.measure.redundancy.fusing import TAU_COS, TAU_EUC
from sao_cli.measure.redundancy.ranks import TAU_RELATIVE
from sao_cli.measure.redundancy.unit_vectors import FLOOR
from sao_cli.models.audit.checks import Check
from sao_cli.models.audit.reasons import NO_GROUPS, UNMEASURED, said
from sao_cli.models.layer_tensors import LayerTensors
from sao_cli.models.opened import opened
from sao_cli.models.rank_row import Redundancy, rank_weight
from sao_cli.models.select import Selection
from sao_cli.reports.audits import CheckFailure
from sao_cli.reports.frames import Reports
from sao_cli.reports.redundancies import RankRow, RankSummary, SpareFeatures
from sao_cli.reports.report import facts_of

LAST = "the outputs of a last layer all stay"
ALONE = "the names tell no layer that reads this one"

Watch = Callable[[RankRow, NDArray[Any]], None]


class RankReport(NamedTuple):
    """The redundancy of a checkpoint: a row for each tensor, in the natural order of names, a summary of all, and what
    fails the checks."""

    rows: Reports[RankRow]
    summary: RankSummary
    failures: tuple[CheckFailure, ...]


def rank_checkpoint(
    model: Path | Checkpoint,
    *,
    checks: str | Sequence[str] = (),
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    groups: Sequence[tuple[str, int]] = (),
    transpose: str | Sequence[str] = (),
    tau: float | None = None,
    tau_relative: float = TAU_RELATIVE,
    tau_cos: float = TAU_COS,
    tau_euc: float = TAU_EUC,
    floor: float = FLOOR,
    pairs: int = 1,
    activation: str | ActivationFunction | None = None,
    watch: Watch | None = None,
    progress: Progress = silent,
) -> RankReport:
    """The ranks of each weight of a checkpoint, its rows and columns nearest to parallel, and what fusing would save.

    `model`, `include`, `exclude`, `groups` and `transpose` are as audit_checkpoint has them, rank_weight says what a
    row tells; a kernel is the matrix (c_out, c_in k_1 ...), with zeros between groups of channels. `checks` are
    conditions such as "soft_rank>100" or "rows.max_cosine<0.999" on rows and summary. In a stack that the names number
    `features` are the units that the next layer can do without, between which the `activation` stands: see
    measure.redundancy.features.feature_counts; a pooling may stand behind kernels.
    `watch` is called with each row that is measured, as far as it is about the weight alone, and with that weight as
    the matrix (m, n), for pictures.

    Raises SaoError for what can't be opened, patterns that match nothing, thresholds out of range, checks that are
    none, and where nothing was measured. A tensor that can't be read or measured is a skipped row with its reason, and
    fails every check. Time: rank_weight's for each weight; memory: one weight and the next, and what that needs.

    >>> import numpy as np
    >>> from sao_cli.io.checkpoints import write_checkpoint
    >>> write_checkpoint({"0.weight": np.ones((2, 3)), "2.weight": np.eye(2)}, "model.safetensors")
    >>> rows, summary, failures = rank_checkpoint("model.safetensors", checks="rank>=2")
    >>> [(row.name, row.rank, row.fusions) for row in rows], [failure.name for failure in failures]
    ([('0.weight', 1, 3), ('2.weight', 2, 0)], ['0.weight'])
    """
    conditions = [Check.of(text, RankRow, RankSummary) for text in ([checks] if isinstance(checks, str) else checks)]
    asked = Redundancy(tau=tau, tau_relative=tau_relative, tau_cos=tau_cos, tau_euc=tau_euc, floor=floor, pairs=pairs)
    function = None if activation is None else ActivationFunction.of(activation)
    selection = Selection.of(include, exclude, groups, transpose)
    with opened(model) as checkpoint:
        structure = selection.structure(checkpoint)
        ranking = _Ranking(LayerTensors(checkpoint, structure), asked, function, watch, progress)
        entries = structure.chosen(selection.include, selection.exclude)
        rows: Reports[RankRow] = Reports()
        for number, entry in enumerate(entries, 1):
            rows.append(ranking.row(entry))
            progress("tensor", number, len(entries))
        name = checkpoint.name
    summary = rank_summary(rows)
    if not summary.measured:
        raise SaoError(f"nothing in {name} was measured: {_why_none(rows)}")
    return RankReport(rows, summary, tuple(_failures(rows, summary, conditions)))


def rank_summary(rows: Sequence[RankRow]) -> RankSummary:
    """All rows in one; a weight under several names is counted once, but for `measured`."""
    once: dict[str, RankRow] = {}
    for row in rows:
        if not row.skipped and not any(name in once for name in row.tied_with):
            once[row.name] = row
    axes = [axis for row in once.values() for axis in (row.columns, row.rows) if axis is not None]
    features = [row.features for row in once.values() if row.features is not None]
    measured = sum(not row.skipped for row in rows)
    return RankSummary(
        measured=measured,
        skipped_tensors=len(rows) - measured,
        parameters=sum(int(np.prod(row.shape or (0,))) for row in once.values()),
        fusions=sum(row.fusions or 0 for row in once.values()),
        zero=sum(axis.zero for axis in axes),
        parameters_saved=sum(row.parameters_saved or 0 for row in once.values()),
        mergeable=sum(one.mergeable for one in features),
        constant=sum(one.constant for one in features),
        unread=sum(one.unread for one in features),
    )


class _Ranking:
    """How each tensor of a checkpoint is measured."""

    def __init__(
        self,
        tensors: LayerTensors,
        asked: Redundancy,
        activation: ActivationFunction | None,
        watch: Watch | None,
        progress: Progress,
    ) -> None:
        self._tensors, self._asked, self._activation, self._progress = tensors, asked, activation, progress
        self._watch = watch
        order = tensors.structure.order
        self._after = {name: after for stack in order.stacks for name, after in pairwise(stack)}
        self._last = {stack[-1] for stack in order.stacks}
        self._why_alone = order.reason or ALONE

    def row(self, entry: Entry) -> RankRow:
        """The row of a tensor, skipped where it is no weight or can't be measured."""
        structure = self._tensors.structure
        layout = structure.layout(entry)
        told: dict[str, Any] = {
            "shape": entry.shape if entry.kind != "skipped" or entry.numbers is not None else None,
            "transposed": layout.transposed,
            "tied_with": structure.tied_with(entry),
            "masked_by": entry.masked_by,
            "provenance": structure.provenance(entry),
        }
        row = self._measured(entry)
        if row.skipped:
            return dataclasses.replace(row, **{**told, "transposed": None})
        told |= {"assumed": ", ".join(layout.assumed) or None}
        features, reason = self._features(entry)
        reason = "; ".join(filter(None, (row.reason, layout.reason, reason))) or None
        return dataclasses.replace(row, **told, features=features, reason=reason)

    def _measured(self, entry: Entry) -> RankRow:
        if entry.kind == "skipped":
            return _skipped(entry, entry.unread, entry.reason or "no weight")
        layout = self._tensors.structure.layout(entry)
        if layout.groups is None and entry.kind == "kernel":
            return _skipped(entry, entry.kind, layout.reason or NO_GROUPS)
        try:
            weight = layout.outputs_first(self._read(entry))
            weight = all_channels(weight, groups) if (groups := layout.groups or 1) > 1 else weight
            found = self._tensors.bias(entry)
            bias = None if found is None else self._read(found)
            dtype = entry.dtype if entry.dtype == "bfloat16" else None  # which numpy lacks
            row = rank_weight(weight, bias, name=entry.name, dtype=dtype, asked=self._asked, progress=self._progress)
        except UNMEASURED as error:
            where = f"{self._tensors.checkpoint.name}: tensor {shown(entry.name)}"  # said by the row itself
            return _skipped(entry, entry.kind, said(error).removeprefix(where).lstrip(": "))
        if self._watch is not None:
            self._watch(row, weight.reshape(len(weight), -1))
        return row

    def _read(self, entry: Entry) -> Any:
        return self._tensors.checkpoint.read(entry)

    def _features(self, entry: Entry) -> tuple[SpareFeatures | None, str | None]:
        """What the next layer can do without of this one's units, or why that is not known."""
        after = self._tensors.entries.get(self._after.get(entry.name, ""))
        if after is None:
            return None, LAST if entry.name in self._last else f"{self._why_alone}; {WAY_OUT}"
        if (reason := self._tensors.why_not(entry, after)) is not None:
            return None, reason
        try:
            layer = self._tensors.layer(entry, None)
            following = self._tensors.layer(after, len(layer.weight))
            return self._counts(layer, following, pooled=entry.kind == "kernel"), None
        except UNMEASURED as error:
            return None, said(error)

    def _counts(self, layer: FeatureLayer, following: FeatureLayer, pooled: bool) -> SpareFeatures:
        """Behind a kernel there may be a pooling, and zeros around images: only positive multiples and zeros go."""
        function = self._activation
        merges = None if pooled and function is not None and function.passes(-1.0) else function
        found = feature_counts(layer.weight, layer.bias, following.weight, merges, dtype=layer.dtype)
        constant = found.constant
        if pooled and layer.bias is not None:
            constant -= int(np.count_nonzero(layer.constant & ~following.unread & (layer.bias != 0)))
        return SpareFeatures(mergeable=found.mergeable, constant=constant, unread=found.unread)


def _skipped(entry: Entry, kind: str | None, reason: str) -> RankRow:
    return RankRow(name=entry.name, kind=kind, shape=None, dtype=entry.dtype, skipped=True, reason=reason)


def _failures(rows: Sequence[RankRow], summary: RankSummary, conditions: Sequence[Check]) -> list[CheckFailure]:
    """What fails the checks, check by check, of the rows of weights and then of the summary, as each has the field."""
    told: list[RankRow | RankSummary] = [row for row in rows if not row.skipped or row.kind is not None]
    found = [_failure(one, report) for one in conditions for report in (*told, summary)]
    return [failure for failure in found if failure is not None]


def _failure(one: Check, report: RankRow | RankSummary) -> CheckFailure | None:
    if one.field.split(".")[0] not in facts_of(type(report)):
        return None
    if isinstance(report, RankSummary):
        return one.fails_of("summary", report)
    if report.skipped:
        told = f"can't tell: {report.reason}"
        return CheckFailure(name=report.name, check=one.text, field=one.field, value=None, reason=told)
    return one.fails_of(report.name, report, report.reason)


def _why_none(rows: Sequence[RankRow]) -> str:
    largest = max(rows, key=lambda row: int(np.prod(row.shape or (0,))))
    return f"all of its {len(rows)} tensors are skipped, the largest since: {shown(largest.reason or '')}"
