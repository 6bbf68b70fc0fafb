"""Conditions on what pruning left, "FIELD OP VALUE": of each pruned weight, of all together, of rows of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sao_cli.models.audit.checks import Check
from sao_cli.reports.audits import CheckFailure
from sao_cli.reports.changes import Changes, PrunedWeight, PruneSummary, WhatStays
from sao_cli.reports.networks import EpochRow
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
    summary = changes.summary
    rows = [*((row.name, row) for row in changes.changed), ("summary", summary)]
    found = [failure_left(one, summary, *row) for one in checks for row in rows]
    return [failure for failure in found if failure is not None]


def epoch_checks(checks: str | Sequence[str]) -> list[Check]:
    """The conditions that the texts state, as Check.of reads them; SaoError for what no row of training can have."""
    return [Check.of(text, EpochRow) for text in ([checks] if isinstance(checks, str) else checks)]


def epoch_failures(row: EpochRow, checks: Sequence[Check]) -> list[CheckFailure]:
    """What fails the checks in a row of training, as prune_failures has it.

    Conditions on a Jacobian are of the epochs in which it is measured.
    """
    asked = [one for one in checks if "." not in one.field or getattr(row, one.field.split(".")[0]) is not None]
    found = [failure_left(one, row, f"epoch {row.epoch}", row) for one in asked]
    return [failure for failure in found if failure is not None]


def failure_left(one: Check, summary: WhatStays[Any], name: str, report: Any) -> CheckFailure | None:
    """What is wrong with the report of that name, None where it is as it should be or has no such field.

    `summary` tells of its network which operations are unknown, and why something is null.
    """
    if one.field.split(".")[0] not in facts_of(type(report)):
        return None
    if summary.unknown and one.field in _OF_PATHS:
        told = f"can't tell: nothing is known of {', '.join(summary.unknown)}, and the facts are bounds"
        value = getattr(report, one.field)
        return CheckFailure(name=name, check=one.text, field=one.field, value=value, reason=told)
    return one.fails_of(name, report, summary.reason)
