"""What an audit's rows say together: who reaches whom through the layers, and the whole checkpoint in one line."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np

from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.data.mask import Mask
from sao_cli.io.checkpoints.order import NUMBERED, PLAIN_STACK
from sao_cli.measure.reach.effective import OfMask, cut_off, live_units
from sao_cli.measure.reach.reachability import reachability
from sao_cli.models.audit.connections import Pattern
from sao_cli.models.audit.reasons import UNMEASURED, said
from sao_cli.reports.audits import AuditChain, AuditRow, AuditSummary

MANY = 2**24  # ones, 64 MB of them, up to which all paths are followed wherever there are any zeros


class Link(Protocol):
    """A layer of a chain: an AuditRow that was measured, or what has the same of it."""

    @property
    def kind(self) -> str | None: ...
    @property
    def m(self) -> int | None: ...
    @property
    def n(self) -> int | None: ...
    @property
    def pattern(self) -> Any: ...


def audit_chain(rows: Iterable[AuditRow], *, progress: Progress = silent) -> list[AuditChain]:
    """Who reaches whom through each run of two or more layers that chain, in the order of `rows`, which is taken for
    the order in which they run.

    A layer goes on with a run where it reads as many inputs (n) as the one before has outputs (m): channels, for
    kernels. A matrix may also read the images of a kernel, flattened channel by channel: n is a multiple of m then.
    Tensors that are no layers (`kind` None) are passed over; a layer that could not be read ends a run, and so does one
    whose inputs are not known.

    `effective` weights lie on a path from an input to an output, as measure.reach.effective.effective_weights says;
    they are None where a layer is a kernel, whose taps may read padding alone: a file does not tell its image.
    `collapsed_layers` are empty; a chain without one may be dead all the same, which `reachable` tells.

    The other facts are measure.reach.reachability's at the end of the run; `reason` says why they are None: the ones
    would not fit in memory. All-ones layers cost O(m + n), others what reachability states; runs of more than 2^24 ones
    that by their degrees alone are full from the second layer on cost as little, and `odd_paths` is None for them.

    >>> from sao_cli.models.audit.row import audit_weight
    >>> rows = [audit_weight([[1.0, 0.0], [0.0, 1.0]], name=name) for name in "ab"]
    >>> audit_chain(rows)[0].reachable
    0.5
    """
    layers = [row for row in rows if row.kind is not None]
    runs = [run for run in _runs(layers) if len(run.rows) > 1]
    return [_chain(number, run, "as given", "the order of rows", progress) for number, run in enumerate(runs, 1)]


def named_chains(
    rows: Iterable[AuditRow],
    stacks: Sequence[Sequence[str]],
    why_not: str | None = None,
    *,
    left_out: Collection[str] = (),
    progress: Progress = silent,
) -> list[AuditChain]:
    """The chains that names tell: those of `stacks`, names of layers in the order in which they run.

    Each is what audit_chain says of its rows, and ends where a layer could not be read or is in `left_out`; `reason`
    says so. Layers of no stack, and of one that ends before it has two, are in a last one together that claims nothing,
    for the reason `why_not`, or for what ended it. O(rows) and what audit_chain takes.
    """
    layers = {row.name: row for row in rows if row.kind is not None}
    chains: list[AuditChain] = []
    alone: list[str] = []
    for stack in stacks:
        for run in _runs([layers.get(name) or _missing(name) for name in stack if name in layers or name in left_out]):
            if len(run.rows) > 1:
                chains.append(_chain(len(chains) + 1, run, NUMBERED, PLAIN_STACK, progress))
            elif run.rows:
                alone.append(run.rows[0].name)
                why_not = run.reason or why_not
    joined = {name for stack in stacks for name in stack}
    apart = [row.name for row in layers.values() if row.name not in joined] + alone
    if why_not is not None and len(layers) > 1 and (apart or len(chains) > 1):
        names = tuple(name for name in layers if name in set(apart)) or tuple(layers)
        chains.append(_unknown(len(chains) + 1, names, why_not))
    return chains


def audit_summary(rows: Sequence[AuditRow], chains: Sequence[AuditChain] = ()) -> AuditSummary:
    """All of `rows` in one: counts, totals, and which layers stand out.

    `tensors` = `rows` (audited) + `skipped_tensors`, by reason in `skipped_reasons`, the most frequent first; `unread`
    ones should have been audited. `total_parameters` counts the numbers in all of them whose shape is known,
    `audited_parameters` those of the audited ones, `kept_parameters` those that are not zero, and `overall_sparsity` is
    of these two. One weight under several names is counted once in all that, and in `dead_inputs` and `dead_outputs`.
    `worst_isometry` has the largest isometry_error, max |s_i - 1|. `estimated` layers have singular values that are not
    exact. `chains` are those that are claimed, and `blocked_chains` have some input that reaches no output, or an
    output that none reaches.
    """
    once = _once(rows)
    audited = [row for row in once if not row.skipped]
    size = sum(map(_numbers, audited))
    kept = sum(row.nnz or 0 for row in audited)
    named = [row for row in rows if not row.skipped]
    return AuditSummary(
        tensors=len(rows),
        rows=len(named),
        skipped_tensors=len(rows) - len(named),
        skipped_reasons=dict(Counter(row.reason or "no reason given" for row in rows if row.skipped).most_common()),
        unread=tuple(row.name for row in rows if row.skipped and row.kind is not None),
        matrices=sum(row.kind == "matrix" for row in named),
        kernels=sum(row.kind == "kernel" for row in named),
        total_parameters=sum(map(_numbers, once)),
        audited_parameters=size,
        kept_parameters=kept,
        overall_sparsity=1.0 - kept / size if size else None,
        estimated=sum(row.exact is False for row in audited),
        dead_inputs=sum(row.dead_inputs or 0 for row in audited),
        dead_outputs=sum(row.dead_outputs or 0 for row in audited),
        disconnected=tuple(row.name for row in named if row.connected is False),
        rank_deficient=tuple(row.name for row in named if _is_deficient(row)),
        worst_isometry=_extreme(audited, "isometry_error", largest=True),
        worst_condition=_extreme(audited, "condition", largest=True),
        largest=_extreme(audited, "sigma_max", largest=True),
        smallest=_extreme(audited, "sigma_min", largest=False),
        chains=sum(chain.order is not None for chain in chains),
        blocked_chains=sum(bool(chain.lost_inputs or chain.unreached_outputs) for chain in chains),
    )


class _Run(NamedTuple):
    """Layers one after another, and what ended them, if it was one that could not be read."""

    rows: list[AuditRow]
    reason: str | None


def _runs(layers: Iterable[AuditRow]) -> Iterator[_Run]:
    rows: list[AuditRow] = []
    before: str | None = None  # what the run that is being gathered comes after
    for row in layers:
        ends = f"{row.name} ends it: {row.reason}" if row.skipped or row.n is None else None
        if rows and (ends or not _goes_on(rows[-1], row)):
            yield _Run(rows, "; ".join(filter(None, (before, ends))) or None)
            rows, before = [], None
        if ends is None:
            rows.append(row)
        else:
            before = f"it begins after {row.name}: {row.reason}"
    if rows:
        yield _Run(rows, before)


def _goes_on(before: AuditRow, row: AuditRow) -> bool:
    return row.n == before.m or _flattened(before, row) > 1


def _flattened(before: Link, row: Link) -> int:
    """How many pixels of each channel a matrix reads, 1 where it reads no images of the kernel before it."""
    if before.kind != "kernel" or row.kind != "matrix" or not before.m or row.n is None or row.n % before.m:
        return 1
    return row.n // before.m


def _missing(name: str) -> AuditRow:
    return AuditRow(name=name, kind="weight", shape=None, dtype="", skipped=True, reason="it was left out")


def _unknown(number: int, names: tuple[str, ...], reason: str) -> AuditChain:
    return AuditChain(chain=number, layers=len(names), layer_names=names, reason=reason)


def _chain(number: int, run: _Run, order: str, assumed: str, progress: Progress) -> AuditChain:
    rows = run.rows
    facts: dict[str, Any] = {}
    try:
        facts = chain_facts(rows, progress)
        if (effective := effective_counts(rows)) is not None:
            size = sum(map(_numbers, rows))
            kept = sum(effective)
            facts |= {"effective": kept, "effective_sparsity": 1 - kept / size}
            facts |= {"effective_compression": size / kept if kept else None}
    except UNMEASURED as error:
        facts["reason"] = said(error)
    facts["reason"] = "; ".join(filter(None, (facts.get("reason"), run.reason))) or None
    return AuditChain(
        chain=number,
        layers=len(rows),
        layer_names=tuple(row.name for row in rows),
        order=order,
        assumed=assumed,
        inputs=rows[0].n,
        outputs=rows[-1].m,
        collapsed_layers=sum(not row.pattern.nnz for row in rows),
        **facts,
    )


def effective_counts(run: Sequence[Link]) -> list[int] | None:
    """How many weights of each layer of a chain are effective, as effective_weights says; None where one is a kernel.

    O(m n) of a layer that is not sparse.
    """
    if any(link.kind != "matrix" for link in run):
        return None
    reads, writes = live_units([link.pattern for link in run])
    return [link.pattern.between(*live) for link, *live in zip(run, reads, writes, strict=True)]


def chain_facts(run: Sequence[Link], progress: Progress = silent) -> dict[str, Any]:
    """The facts of a chain: at its end, and the share of pairs that are reached after each of its layers."""
    patterns: list[Pattern] = [row.pattern for row in run]
    pixels = [1, *(_flattened(before, row) for before, row in pairwise(run))]
    ones = sum(pattern.nnz for pattern in patterns if not pattern.full)
    if ones > MANY and _full_from_second(patterns, pixels):
        return _full_facts(patterns, pixels, ones)
    require_memory(16.0 * ones, f"the {ones} connections of {len(run)} layers in a row", "audit fewer layers")
    masks: list[Mask] = []
    ends = []
    for pattern, count in zip(patterns, pixels, strict=True):
        masks += [_pixels(pattern.shape[1], count)] if count > 1 else []
        masks += pattern.links()
        ends.append(len(masks) - 1)
    depths = reachability(masks, progress=progress).depths
    depths = tuple(depths[end] for end in ends)
    last = depths[-1]
    lost, unreached = cut_off([OfMask(mask) for mask in masks])
    return {
        "reachable": last.reachable,
        "odd_paths": last.odd_paths,
        "full_at": next((layer for layer, depth in enumerate(depths, 1) if depth.full), None),
        "minimum_possible": _minimum_possible(patterns, pixels),
        "lost_inputs": last.lost_inputs,
        "unreached_outputs": last.unreached_outputs,
        "lost_input_units": lost,
        "unreached_output_units": unreached,
        "reachable_after": tuple(depth.reachable for depth in depths),
    }


def _pixels(units: int, count: int) -> Mask:
    """(units, units / count): each channel leads to `count` units, which stand together."""
    return Mask(np.arange(units + 1), np.arange(units) // count, (units, units // count))


def _full_from_second(patterns: list[Pattern], pixels: list[int]) -> bool:
    """Whether all inputs reach all outputs of the second layer, and so of later ones, by the degrees alone.

    An input feeds so many hidden nodes, and an output reads so many, that they have one in common.
    """
    first, second, *others = patterns
    fed = int(first.column_degrees.min()) * pixels[1]
    shared = fed + int(second.row_degrees.min()) > second.shape[1]
    return shared and all(pattern.row_degrees.min() for pattern in others)


def _full_facts(patterns: list[Pattern], pixels: list[int], ones: int) -> dict[str, Any]:
    m, n = patterns[0].shape
    return {
        "reachable": 1.0,
        "odd_paths": None,
        "full_at": 1 if patterns[0].full else 2,
        "minimum_possible": _minimum_possible(patterns, pixels),
        "lost_inputs": 0,
        "unreached_outputs": 0,
        "reachable_after": (patterns[0].nnz / (m * n), *(1.0 for _ in patterns[1:])),
        "reason": f"the degrees tell what is reached; the paths through {ones} connections are not counted",
    }


def _minimum_possible(patterns: list[Pattern], pixels: list[int]) -> int | None:
    """The least depth at which the largest column degrees would do, had no two paths met; as reachability has it."""
    reached = 1
    for layer, (pattern, count) in enumerate(zip(patterns, pixels, strict=True), 1):
        reached *= count * int(pattern.column_degrees.max())
        if reached >= pattern.shape[0]:
            return layer
    return None


def _once(rows: Sequence[AuditRow]) -> list[AuditRow]:
    """The rows without those of a weight that has one already, audited if any of its names is."""
    found: dict[str, AuditRow] = {}
    for row in sorted(rows, key=lambda row: row.skipped):
        if not any(name in found for name in row.tied_with):
            found[row.name] = row
    return list(found.values())


def _numbers(row: AuditRow) -> int:
    return 0 if row.shape is None else math.prod(row.shape)


def _is_deficient(row: AuditRow) -> bool:
    return row.rank is not None and row.singular_values is not None and row.rank < len(row.singular_values)


def _extreme(rows: Sequence[AuditRow], field: str, largest: bool) -> dict[str, Any] | None:
    known = [row for row in rows if getattr(row, field) is not None]
    if not known:
        return None
    row = (max if largest else min)(known, key=lambda row: getattr(row, field))
    return {"name": row.name, field: getattr(row, field)}
