"""An audit for people: its rows as a table's, and what is below them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sao_cli.cli.shared.networks import chain_units
from sao_cli.cli.shared.tables import Row, drawing
from sao_cli.io.output import visible
from sao_cli.pages.text import shortened
from sao_cli.reports.report import facts_of, value_of

if TYPE_CHECKING:
    from sao_cli.reports.audits import AuditChain, AuditComparison, AuditRow, AuditSummary

NAME = 40  # characters of a name in a table of several rows
LISTED = 8  # skipped tensors that are named; more are counted by their reason


def table_rows(
    rows: Sequence[AuditRow],
    chains: Sequence[AuditChain],
    summary: AuditSummary,
    failed: Mapping[str, Any] | None,
    listed: bool = False,
) -> Iterator[Row]:
    """The rows that render.emit makes a table of, and lines for below it.

    `failed` has the names of rows that fail a check, and is None where there are no checks. Where every tensor was
    skipped, these are the table. Where `listed`, chains tell the numbers of units that are cut off.
    """
    audited = [row for row in rows if not row.skipped]
    if len(audited) == 1:
        yield _whole(audited[0], failed)
    else:
        yield from (_line(row, failed) for row in audited)
    skipped = [row for row in rows if row.skipped]
    if not audited:
        yield from ({"name": _name(row.name), "shape": _shape(row), "dtype": row.dtype, **_why(row)} for row in skipped)
        return
    yield from _below(skipped, summary)
    yield from (_chain(chain) | (chain_units(chain) if listed else {}) for chain in chains)
    yield {
        "summary": True,
        **{key: getattr(summary, key) for key in ("rows", "skipped_tensors", "kept_parameters", "overall_sparsity")},
        **{key: len(getattr(summary, key)) for key in ("disconnected", "rank_deficient")},
    }


def change_rows(changes: Iterable[AuditComparison]) -> Iterator[Row]:
    """The rows of a comparison, with what changed by more than rounding shows as "before -> after"."""
    for one in changes:
        told = {fact: (_brief(both["before"]), _brief(both["after"])) for fact, both in one.changes.items()}
        shown = {fact: f"{before} -> {after}" for fact, (before, after) in told.items() if before != after}
        yield {"name": _name(one.name), "status": one.status} | shown


def _whole(row: AuditRow, failed: Mapping[str, Any] | None) -> Row:
    """All facts of the only row."""
    return row.to_dict() | _drawing(row) | ({} if failed is None else {"passes": row.name not in failed})


def _line(row: AuditRow, failed: Mapping[str, Any] | None) -> Row:
    """The columns of one row among others: those of a heavy tail where there is one."""
    from sao_cli.reports.audits import AuditRow, TailFacts

    keys = [key for key in AuditRow.table if row.mp_edge is not None or key not in facts_of(TailFacts)]
    shown = {key: value_of(row, key) for key in keys} | {"name": _name(row.name), "shape": _shape(row)}
    return shown | _drawing(row) | ({} if failed is None else {"passes": row.name not in failed})


def _drawing(row: AuditRow) -> Row:
    return {} if row.singular_values is None else {"singular values": drawing(row.singular_values)}


def _below(skipped: Sequence[AuditRow], summary: AuditSummary) -> Iterator[Row]:
    if len(skipped) <= LISTED:
        yield from ({"summary": True, "skipped": _name(row.name), **_why(row)} for row in skipped)
        return
    for reason, count in list(summary.skipped_reasons.items())[:LISTED]:
        yield {"summary": True, "skipped": count, "reason": _shown(reason, 2 * NAME)}
    if (more := len(summary.skipped_reasons) - LISTED) > 0:
        yield {"summary": True, "skipped": f"for {more} more reasons, which --json lists"}


def _chain(chain: AuditChain) -> Row:
    told: Row = {"summary": True, "chain": f"{_name(chain.layer_names[0])} to {_name(chain.layer_names[-1])}"}
    told["layers"] = chain.layers
    if chain.reachable is None:
        return told | {"reason": chain.reason}
    keys = ("reachable", "full_at", "lost_inputs", "unreached_outputs", "effective_sparsity", "collapsed_layers")
    return told | {key: getattr(chain, key) for key in keys}


def _why(row: AuditRow) -> Row:
    return {"reason": _shown(row.reason or "", 2 * NAME)}


def _shape(row: AuditRow) -> str:
    return "-" if row.shape is None else "x".join(map(str, row.shape))


def _name(name: str) -> str:
    return _shown(name, NAME)


def _shown(text: str, width: int) -> str:
    """`text` as a terminal shows it, in at most about `width` characters."""
    return shortened(visible(text), width, "...")


def _brief(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
