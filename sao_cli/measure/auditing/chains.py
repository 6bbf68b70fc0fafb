"""What an audit's rows say together: who reaches whom through the layers, and the whole checkpoint in one line."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sao_cli.errors import SaoError
from sao_cli.mask import Mask
from sao_cli.measure.auditing.patterns import Pattern
from sao_cli.measure.reachability import reachability
from sao_cli.memory import require_memory
from sao_cli.progress import Progress, silent
from sao_cli.results import AuditChain, AuditRow, AuditSummary

MANY = 2**24  # ones, 64 MB of them, up to which all paths are followed wherever there are any zeros


def audit_chain(rows: Iterable[AuditRow], *, progress: Progress = silent) -> list[AuditChain]:
    """Who reaches whom through each run of two or more layers that chain, in the order of `rows`.

    A layer goes on with a run where it reads as many inputs (n) as the one before has outputs (m): channels, for
    kernels. The order is the file's, which is not always that of the computation (queries, keys and values of an
    attention layer stand one after another, and shortcuts are not seen). Tensors that are no layers (`kind` None) are
    passed over; a layer that could not be read ends a run.

    The facts are measure.reachability's at the end of the run; `reason` says why they are None: the ones would not
    fit in memory. All-ones layers cost O(m + n), others what reachability states; runs of more than 2^24 ones that by
    their degrees alone are full from the second layer on cost as little, and `odd_paths` is None for them.

    >>> from sao_cli.measure.auditing.audit import audit_weight
    >>> rows = [audit_weight([[1.0, 0.0], [0.0, 1.0]], name=name) for name in "ab"]
    >>> audit_chain(rows)[0].reachable
    0.5
    """
    return [_chain(number, run, progress) for number, run in enumerate(_runs(rows), 1)]


def audit_summary(rows: Sequence[AuditRow], chains: Sequence[AuditChain] = ()) -> AuditSummary:
    """All of `rows` in one: counts, totals, and which layers stand out.

    `tensors` = `rows` (audited) + `skipped`, by reason in `skipped_reasons`, the most frequent first;
    `total_parameters` counts the numbers in all of them, `audited_parameters` those of the audited ones,
    `kept_parameters` those that are not zero, and `sparsity` is of these two. `estimated` layers have singular values
    that are not exact. `blocked_chains` have some input that reaches no output, or an output that none reaches.
    """
    audited = [row for row in rows if not row.skipped]
    size = sum(math.prod(row.shape) for row in audited)
    kept = sum(row.nnz or 0 for row in audited)
    return AuditSummary(
        tensors=len(rows),
        rows=len(audited),
        skipped=len(rows) - len(audited),
        skipped_reasons=dict(Counter(row.reason or "no reason given" for row in rows if row.skipped).most_common()),
        matrices=sum(row.kind == "matrix" for row in audited),
        kernels=sum(row.kind == "kernel" for row in audited),
        total_parameters=sum(math.prod(row.shape) for row in rows),
        audited_parameters=size,
        kept_parameters=kept,
        overall_sparsity=1.0 - kept / size if size else None,
        estimated=sum(row.exact is False for row in audited),
        dead_inputs=sum(row.dead_inputs or 0 for row in audited),
        dead_outputs=sum(row.dead_outputs or 0 for row in audited),
        disconnected=tuple(row.name for row in audited if row.connected is False),
        rank_deficient=tuple(row.name for row in audited if _is_deficient(row)),
        worst_isometry=_extreme(audited, "isometry_error", largest=True),
        worst_condition=_extreme(audited, "condition", largest=True),
        largest=_extreme(audited, "sigma_max", largest=True),
        smallest=_extreme(audited, "sigma_min", largest=False),
        chains=len(chains),
        blocked_chains=sum(bool(chain.lost_inputs or chain.unreached_outputs) for chain in chains),
    )


def _runs(rows: Iterable[AuditRow]) -> Iterator[list[AuditRow]]:
    run: list[AuditRow] = []
    for row in rows:
        if row.kind is None:
            continue
        if run and row.n != run[-1].m:  # nor has a layer that could not be read any n
            if len(run) > 1:
                yield run
            run = []
        if not row.skipped:
            run.append(row)
    if len(run) > 1:
        yield run


def _chain(number: int, run: list[AuditRow], progress: Progress) -> AuditChain:
    facts = dict.fromkeys(
        ("reachable", "odd_paths", "full_at", "minimum_possible", "lost_inputs", "unreached_outputs", "reason")
    )
    after: tuple[float, ...] = ()
    try:
        facts, after = _reach(run, progress)
    except SaoError as error:
        facts["reason"] = str(error)
    assert run[0].n is not None
    assert run[-1].m is not None
    return AuditChain(
        chain=number,
        layers=tuple(row.name for row in run),
        inputs=run[0].n,
        outputs=run[-1].m,
        **facts,
        reachable_after=after,
    )


def _reach(run: list[AuditRow], progress: Progress) -> tuple[dict[str, Any], tuple[float, ...]]:
    """The facts at the end of a run, and the share of pairs that are reached after each of its layers."""
    patterns: list[Pattern] = [row.pattern for row in run]
    ones = sum(pattern.nnz for pattern in patterns if not pattern.full)
    if ones > MANY and _full_from_second(patterns):
        return _full_facts(patterns, ones)
    require_memory(16.0 * ones, f"the {ones} connections of {len(run)} layers in a row", "audit fewer layers")
    masks: list[Mask] = []
    ends = []
    for pattern in patterns:
        masks += pattern.links()
        ends.append(len(masks) - 1)
    depths = reachability(masks, progress=progress).depths
    depths = tuple(depths[end] for end in ends)
    last = depths[-1]
    facts = {
        "reachable": last.reachable,
        "odd_paths": last.odd_paths,
        "full_at": next((layer for layer, depth in enumerate(depths, 1) if depth.full), None),
        "minimum_possible": _minimum_possible(patterns),
        "lost_inputs": last.lost_inputs,
        "unreached_outputs": last.unreached_outputs,
    }
    return facts, tuple(depth.reachable for depth in depths)


def _full_from_second(patterns: list[Pattern]) -> bool:
    """Whether all inputs reach all outputs of the second layer, and so of later ones, by the degrees alone.

    An input feeds so many hidden nodes, and an output reads so many, that they have one in common.
    """
    first, second, *others = patterns
    shared = int(first.column_degrees.min()) + int(second.row_degrees.min()) > first.shape[0]
    return shared and all(pattern.row_degrees.min() for pattern in others)


def _full_facts(patterns: list[Pattern], ones: int) -> tuple[dict[str, Any], tuple[float, ...]]:
    m, n = patterns[0].shape
    after = (patterns[0].nnz / (m * n), *(1.0 for _ in patterns[1:]))
    facts = {
        "reachable": 1.0,
        "odd_paths": None,
        "full_at": 1 if patterns[0].full else 2,
        "minimum_possible": _minimum_possible(patterns),
        "lost_inputs": 0,
        "unreached_outputs": 0,
        "reason": f"the degrees tell what is reached; the paths through {ones} connections are not counted",
    }
    return facts, after


def _minimum_possible(patterns: list[Pattern]) -> int | None:
    """The least depth at which the largest column degrees would do, had no two paths met; as reachability has it."""
    reached = 1
    for layer, pattern in enumerate(patterns, 1):
        reached *= int(pattern.column_degrees.max())
        if reached >= pattern.shape[0]:
            return layer
    return None


def _is_deficient(row: AuditRow) -> bool:
    return row.rank is not None and row.singular_values is not None and row.rank < len(row.singular_values)


def _extreme(rows: Sequence[AuditRow], field: str, largest: bool) -> dict[str, Any] | None:
    known = [row for row in rows if getattr(row, field) is not None]
    if not known:
        return None
    row = (max if largest else min)(known, key=lambda row: getattr(row, field))
    return {"name": row.name, field: getattr(row, field)}
