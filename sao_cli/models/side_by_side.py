"""Several checkpoints of a network side by side: each layer's facts, and how far they are from the first one's."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.formats.tensor_file import Path
from sao_cli.measure.values.norms import pieces
from sao_cli.models.audit.comparison import compare_measured
from sao_cli.models.audit.stream import Audit, audit_checkpoint
from sao_cli.models.opened import opened
from sao_cli.models.select import Selection
from sao_cli.reports.audits import AuditRow
from sao_cli.reports.comparisons import ComparedCheckpoint, ComparedFacts, ComparedLayer
from sao_cli.reports.frames import Reports
from sao_cli.reports.report import facts_of

_FACTS = tuple(facts_of(ComparedFacts))


class Overlap(NamedTuple):
    """Of two tensors: how many places are not zero in both and in either, ||B - A||^2 and ||A||^2."""

    both: int
    either: int
    moved: float
    before: float

    def __add__(self, other: Any) -> Overlap:
        return Overlap(*(own + one for own, one in zip(self, other, strict=True)))

    @property
    def mask_overlap(self) -> float | None:
        """|A and B|/|A or B|; None where all are zero."""
        return self.both / self.either if self.either else None

    @property
    def relative_distance(self) -> float | None:
        """||B - A||/||A||; None where A is zero."""
        return math.sqrt(self.moved / self.before) if self.before else None


class _One(NamedTuple):
    """One of the checkpoints: the name that it was given by, its audit, and its entries."""

    source: str
    checkpoint: Checkpoint
    audit: Audit
    rows: Mapping[str, AuditRow]
    entries: Mapping[str, Entry]


def compare_checkpoints(
    models: Mapping[str, Path | Checkpoint],
    *,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> Reports[Any]:
    """Each layer of checkpoints by their names, with what it differs in from that of the first, and a summary of each.

    Layers are lined up by their names, those of the first checkpoint first, and measured as audit_checkpoint does it;
    `mask_overlap` and `relative_distance` are of the numbers as they are stored, where both have one shape. `include`
    and `exclude` are patterns of names.

    Raises SaoError as audit_checkpoint does, and where nothing of a checkpoint is measured. Memory: two tensors, and
    the singular values of all layers.

    >>> from sao_cli.io.checkpoints import write_checkpoint
    >>> for name, weight in (("a.npz", np.eye(4)), ("b.npz", np.diag([1.0, 1.0, 1.0, 0.0]))):
    ...     np.savez(name, weight=weight)
    >>> first, second, *summaries = compare_checkpoints({"a": "a.npz", "b": "b.npz"})
    >>> second.status, second.mask_overlap, second.relative_distance, second.differences.rank
    ('changed', 0.75, 0.5, -1)
    """
    selection = Selection.of(include, exclude)
    with contextlib.ExitStack() as stack:
        found = [
            _measured(source, stack.enter_context(opened(model)), selection, seed, progress)
            for source, model in models.items()
        ]
        first = found[0]
        names = dict.fromkeys(name for one in found for name in one.rows)
        status = {one.source: _statuses(first, one) for one in found[1:]}
        overlaps: dict[str, list[Overlap]] = {one.source: [] for one in found[1:]}
        rows: Reports[Any] = Reports()
        for number, name in enumerate(names, 1):
            there = (one for one in found if name in one.rows or one is not first)
            rows += [_layer(name, first, one, status.get(one.source, {}), overlaps) for one in there]
            progress("comparing: layer", number, len(names))
    rows += [_summary(first, one, status.get(one.source, {}), overlaps) for one in found]
    return rows


def _measured(source: str, checkpoint: Checkpoint, selection: Selection, seed: int, progress: Progress) -> _One:
    chosen: dict[str, Any] = {"include": selection.include, "exclude": selection.exclude}
    audit = audit_checkpoint(checkpoint, **chosen, seed=seed, progress=progress)
    audit.require_rows()
    rows = {row.name: row for row in audit.rows if not row.skipped}
    entries = {entry.name: entry for entry in selection.structure(checkpoint, pairs=True).entries}
    return _One(source, checkpoint, audit, rows, entries)


def _statuses(first: _One, other: _One) -> dict[str, str]:
    return {one.name: one.status for one in compare_measured(first.audit.rows, other.audit.rows)}


def _layer(
    name: str, first: _One, one: _One, status: Mapping[str, str], overlaps: Mapping[str, list[Overlap]]
) -> ComparedLayer:
    row, before = one.rows.get(name), first.rows.get(name)
    facts = {key: None if row is None else getattr(row, key) for key in _FACTS}
    told: dict[str, Any] = {"name": name, "source": one.source, "shape": None if row is None else row.shape, **facts}
    told |= {"mask_overlap": None, "relative_distance": None, "differences": None, "status": status.get(name)}
    if one is first:
        return ComparedLayer(**told, against=None, reason=None if row is None else row.reason)
    told |= {"against": first.source, "reason": None if row is None else row.reason}
    if row is None or before is None:
        absent = one if row is None else first
        return ComparedLayer(**told | {"reason": f"{absent.source} has no such layer that was measured"})
    told["differences"] = ComparedFacts(**{key: _minus(facts[key], getattr(before, key)) for key in _FACTS})
    overlap = _overlap(name, first, one)
    if isinstance(overlap, str):
        return ComparedLayer(**told | {"reason": overlap})
    overlaps[one.source].append(overlap)
    told |= {"mask_overlap": overlap.mask_overlap, "relative_distance": overlap.relative_distance}
    return ComparedLayer(**told)


def _minus(after: Any, before: Any) -> Any:
    return None if after is None or before is None else after - before


def _overlap(name: str, first: _One, one: _One) -> Overlap | str:
    """How two tensors overlap, or why that can't be told."""
    shapes = first.rows[name].shape, one.rows[name].shape
    if shapes[0] != shapes[1]:
        told = [" x ".join(map(str, shape or ())) for shape in shapes]
        return f"it was {told[0]} and is {told[1]}, so that their numbers are not compared"
    try:
        before, after = (which.checkpoint.read(which.entries[name]) for which in (first, one))
    except SaoError as error:
        return str(error)
    return overlap_of(before, after)


def overlap_of(before: NDArray[Any], after: NDArray[Any]) -> Overlap:
    """How two arrays of one shape overlap, in float64, some of the rows at a time.

    >>> overlap_of(np.array([3.0, 0.0, 4.0]), np.array([3.0, 1.0, 0.0]))
    Overlap(both=1, either=3, moved=17.0, before=25.0)
    """
    found = Overlap(0, 0, 0.0, 0.0)
    for old, new in zip(pieces(before), pieces(after), strict=True):
        was, now = old.astype(np.float64), new.astype(np.float64)
        kept, there = was != 0, now != 0
        with np.errstate(over="ignore", invalid="ignore"):
            moved, size = (float(np.square(one).sum()) for one in (now - was, was))
        found += Overlap(int((kept & there).sum()), int((kept | there).sum()), moved, size)
    return found


def _summary(
    first: _One, one: _One, status: Mapping[str, str], overlaps: Mapping[str, list[Overlap]]
) -> ComparedCheckpoint:
    there = overlaps.get(one.source, [])
    whole = sum(there, Overlap(0, 0, 0.0, 0.0))
    return ComparedCheckpoint(
        source=one.source,
        against=None if one is first else first.source,
        layers=len(one.rows),
        statuses=dict(Counter(status.values())),
        overall_sparsity=one.audit.summary.overall_sparsity,
        mask_overlap=whole.mask_overlap,
        relative_distance=whole.relative_distance,
    )
