"""A network as it ran, as a part of a page: its facts, and the effective sparsity of each weight in the order run."""

from __future__ import annotations

from collections.abc import Sequence

from sao_cli.pages.text import cell, escaped, name_of
from sao_cli.reports.audits import AuditRow, ContextFacts
from sao_cli.reports.networks import NetworkFacts
from sao_cli.reports.report import facts_of

BOUNDS = "Nothing is known of some operations that ran, and these facts are upper bounds: "


def network_section(network: NetworkFacts, rows: Sequence[AuditRow]) -> str:
    """The network's facts and a line for each of the `rows` that ran, escaped; collapsed weights are marked."""
    facts = [key for key in facts_of(NetworkFacts) if key not in ("collapsed", "unknown", "discrete")]
    told = "".join(
        f"<div><dt>{key.replace('_', ' ')}</dt><dd>{cell(getattr(network, key))}</dd></div>" for key in facts
    )
    bounds = f"<p>{BOUNDS}{escaped(', '.join(network.unknown))}.</p>" if network.unknown else ""
    keys = ("nnz", *facts_of(ContextFacts))
    heads = "".join(f'<th scope="col">{key.replace("_", " ")}</th>' for key in ("weight", *keys))
    ran = [row for row in rows if row.effective is not None]
    lines = "".join(_line(row, keys) for row in ran)
    return (
        f'<section id="network"><h2>Network</h2>{bounds}<dl>{told}</dl>'
        '<div class="wide" tabindex="0" role="region" aria-label="Table of weights in the order run">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n{lines}</tbody></table></div></section>"
    )


def _line(row: AuditRow, keys: Sequence[str]) -> str:
    collapsed = "" if row.effective else " (collapsed)"
    cells = "".join(f"<td>{cell(getattr(row, key))}</td>" for key in keys)
    return f"<tr><td>{name_of(row.name)}{collapsed}</td>{cells}</tr>\n"
