"""Conditions on what pruning left, "FIELD OP VALUE": of each pruned weight, and of all together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sao_cli.models.audit.checks import Check
from sao_cli.reports.audits import CheckFailure
from sao_cli.reports.changes import Changes, PrunedWeight, PruneSummary
from sao_cli.reports.report import facts_of

_OF_PATHS = (
    "effective",
    "effective_sparsity",
    "effective_compression",
    "reachable",
    "lost_inputs",
    "unreached_outputs",
)


def prune_checks(checks: str | Sequence[str]) -> list[Check]:
    """The conditions that the texts state, as Check.of reads them; SaoError for what no row of a pruning can have."""
    texts = [checks] if isinstance(checks, str) else checks
    return [Check.of(text, PrunedWeight, PruneSummary) for text in texts]


def prune_failures(changes: Changes[PrunedWeight, PruneSummary], checks: Sequence[Check]) -> list[CheckFailure]:
    """What fails the checks, check by check, of the pruned weights and then of the summary, as each has the field.

    What is null can't be told, and fails; so do facts of paths where an operation of the network is unknown.
    """
    rows = [(row.name, row) for row in changes.changed]
    found = [_failure(one, changes.summary, *row) for one in checks for row in (*rows, ("summary", changes.summary))]
    return [failure for failure in found if failure is not None]


def _failure(one: Check, summary: PruneSummary, name: str, report: Any) -> CheckFailure | None:
    if one.field.split(".")[0] not in facts_of(type(report)):
        return None
    if summary.unknown and one.field in _OF_PATHS:
        told = f"can't tell: nothing is known of {', '.join(summary.unknown)}, and the facts are bounds"
        value = getattr(report, one.field)
        return CheckFailure(name=name, check=one.text, field=one.field, value=value, reason=told)
    return one.fails_of(name, report, summary.reason)
