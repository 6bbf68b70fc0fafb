"""Two audits side by side: before and after training, pruning or repair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sao_cli.base.errors import FormatError
from sao_cli.reports.audits import AuditComparison, AuditRow
from sao_cli.reports.networks import NetworkFacts
from sao_cli.reports.report import Report, facts_of

COMPARED = tuple(key for key, fact in facts_of(AuditRow).items() if fact.compared)


def compare_audits(before: Sequence[AuditRow], after: Sequence[AuditRow]) -> list[AuditComparison]:
    """How the rows of `after` differ from those of the same name in `before`, in the order of `before`, then the rest.

    `status` is "same" (number by number, as the digests tell, and in its network where that is known), "changed",
    "reshaped" (another shape, whose facts are compared all the same), "only before" or "only after". `changes` has
    each fact that differs, as {"before", "after", "difference"}, the difference after - before where both are numbers.
    Raises FormatError where one of them has a name twice. O(rows).

    >>> from sao_cli.models.audit.row import audit_weight
    >>> one, two = audit_weight([[1.0, 0.5]], name="a"), audit_weight([[1.0, 0.0]], name="a")
    >>> compare_audits([one], [two])[0].changes["nnz"]
    {'before': 2, 'after': 1, 'difference': -1}
    """
    old, new = _by_name(before, "before"), _by_name(after, "after")
    names = [*old, *(name for name in new if name not in old)]
    return [_compare(name, old.get(name), new.get(name)) for name in names]


def compare_measured(before: Sequence[AuditRow], after: Sequence[AuditRow]) -> list[AuditComparison]:
    """compare_audits of the tensors that were measured before or after."""
    measured = {row.name for row in (*before, *after) if not row.skipped}
    old, new = ([row for row in rows if row.name in measured] for rows in (before, after))
    return compare_audits(old, new)


def compare_networks(before: NetworkFacts, after: NetworkFacts) -> AuditComparison:
    """How the facts of a whole network differ, under the name "network"."""
    changes = _changes(before, after, tuple(facts_of(NetworkFacts)))
    return AuditComparison(name="network", status="changed" if changes else "same", changes=changes)


def _by_name(rows: Sequence[AuditRow], which: str) -> dict[str, AuditRow]:
    named: dict[str, AuditRow] = {}
    for row in rows:
        if row.name in named:
            raise FormatError(f"{row.name!r} is there twice {which}; rows are lined up by names, so each needs its own")
        named[row.name] = row
    return named


def _compare(name: str, before: AuditRow | None, after: AuditRow | None) -> AuditComparison:
    if before is None or after is None:
        return AuditComparison(name=name, status="only after" if before is None else "only before", changes={})
    changes = _changes(before, after, COMPARED)
    if before.shape != after.shape:
        return AuditComparison(name=name, status="reshaped", changes=changes)
    return AuditComparison(name=name, status="changed" if changes else "same", changes=changes)


def _changes(before: Report, after: Report, fields: Sequence[str]) -> dict[str, dict[str, Any]]:
    both = {field: (getattr(before, field), getattr(after, field)) for field in fields}
    return {
        field: {"before": old, "after": new, "difference": _difference(old, new)}
        for field, (old, new) in both.items()
        if old != new
    }


def _difference(old: Any, new: Any) -> float | None:
    for value in (old, new):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
    difference: float = new - old
    return difference
