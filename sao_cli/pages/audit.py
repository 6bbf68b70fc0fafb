"""The page of an audit: one HTML file that needs nothing else, opened by any browser and sent by mail."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from sao_cli.io.output import shown
from sao_cli.pages.bins import Histogram
from sao_cli.pages.context_table import network_section
from sao_cli.pages.text import cell, counted, escaped, name_of, shortened
from sao_cli.pages.verdicts import BAD, GOOD, NOTE, verdicts
from sao_cli.reports.audits import AuditChain, AuditComparison, AuditRow, AuditSummary, TailFacts
from sao_cli.reports.networks import NetworkEdges, NetworkFacts, NetworkLayer
from sao_cli.reports.report import facts_of, plain, value_of

HERE = Path(__file__).parent
SIGNS = {GOOD: ("✓", "good: "), NOTE: ("!", "note: "), BAD: ("✗", "bad: ")}
TITLES = {"sigma_max": "σ max", "sigma_min": "σ min", "ks.pvalue": "KS p"}  # others are the key's words
NARROW = 4  # columns that leave where the screen is narrow
LISTED = 50  # names under a reason for which tensors were skipped
CHAINS = 40  # pictures of chains
LONG = 200  # characters of a layer's name, or of a reason, among its details


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """All that a page tells: of the tensors that were audited `rows`, `skipped` by reason, and the rest by its name.

    `histograms` are of the rows' singular values, by name; `failed` are the checks that a row fails, of all `checks`;
    `made` says how the report was made, as pairs of a term and what it is. With a `network` that was recorded come its
    `layers`, all of them in the order run, and the `edges` between their places.
    """

    model: str
    rows: Sequence[AuditRow]
    skipped: Mapping[str, Sequence[str]]
    chains: Sequence[AuditChain]
    summary: AuditSummary
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    checks: Sequence[str] = ()
    failed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    changes: Sequence[AuditComparison] = ()
    compared: str = ""
    made: Sequence[tuple[str, str]] = ()
    network: NetworkFacts | None = None
    layers: Sequence[NetworkLayer] = ()
    edges: NetworkEdges | None = None


def audit_page(report: AuditReport) -> str:
    """The report as one HTML page: no network, no fonts or scripts from elsewhere, light and dark, and for print.

    Its policy (Content-Security-Policy) forbids every load and every script but its own, and whatever comes from the
    checkpoint is escaped besides. Without JavaScript all is there but the pictures and a layer's details. Equal reports
    give equal pages. O(rows); about 1 kB a layer.
    """
    parts = {name: (HERE / f"audit.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    failed = {name: ones for name, ones in report.failed.items() if ones}
    told = verdicts(report.rows, report.chains, report.summary, report.checks, failed)
    return Template(parts["html"]).substitute(
        model=name_of(report.model),
        style_hash=_hash(parts["css"]),
        script_hash=_hash(parts["js"]),
        style=parts["css"],
        script=parts["js"],
        cards="".join(f"<div><dt>{term}</dt><dd>{number}</dd></div>" for term, number in _cards(report)),
        verdicts="".join(_verdict(level, text) for level, text in told),
        chains=_chains(report.chains) + _network(report),
        changes=_changes(report.changes, report.compared),
        layers=_layers(report.rows, report.checks, failed),
        skipped=_skipped(report.skipped),
        made="".join(f"<div><dt>{escaped(term)}</dt><dd>{escaped(what)}</dd></div>" for term, what in report.made),
        data=_data(report),
    )


def _network(report: AuditReport) -> str:
    if report.network is None or report.edges is None:
        return ""
    return network_section(report.network, report.layers, report.edges)


def _hash(text: str) -> str:
    """What a policy names an inline style or script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _cards(report: AuditReport) -> list[tuple[str, str]]:
    rows, summary = report.rows, report.summary
    cards = [
        ("layers audited", cell(len(rows))),
        ("tensors skipped", cell(summary.skipped_tensors)),
        ("parameters", _short(summary.audited_parameters)),
        ("sparsity", "–" if summary.overall_sparsity is None else f"{100 * summary.overall_sparsity:.3g} %"),
        ("disconnected", cell(len(summary.disconnected))),
        ("dead inputs, outputs", f"{summary.dead_inputs:,}, {summary.dead_outputs:,}"),
    ]
    lows = [row.sigma_min for row in rows if row.sigma_min is not None]
    highs = [row.sigma_max for row in rows if row.sigma_max is not None]
    cards += [("least σ", cell(min(lows)))] if lows else []
    cards += [("largest σ", cell(max(highs)))] if highs else []
    if report.checks:
        cards.append(("layers that fail", cell(sum(bool(ones) for ones in report.failed.values()))))
    return cards


def _short(count: int) -> str:
    """A count of parameters: 1,234 or 22.7 M.

    >>> _short(1234), _short(22_713_216)
    ('1,234', '22.7 M')
    """
    for unit, size in (("G", 10**9), ("M", 10**6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:,}"


def _verdict(level: str, text: str) -> str:
    sign, word = SIGNS[level]
    return f'<li class="{level}"><span role="img" aria-label="{word}">{sign}</span>{escaped(text)}</li>'


def _chains(chains: Sequence[AuditChain]) -> str:
    if not chains:
        return ""
    drawn = "".join(_chain(number, chain) for number, chain in enumerate(chains[:CHAINS]))
    more = f"<p>The first {CHAINS} of {len(chains)} chains.</p>" if len(chains) > CHAINS else ""
    about = (
        "Layers whose names number a plain stack, and what share of input-output pairs they link. That they run one "
    )
    about += "after another is assumed."
    return f"<section><h2>Reachability</h2><p>{about}</p>{drawn}{more}</section>"


def _chain(number: int, chain: AuditChain) -> str:
    facts = [counted(chain.layers, "layer")]
    if chain.reachable is None:
        facts.append(escaped(chain.reason))
    else:
        full = "never full" if chain.full_at is None else f"full at {chain.full_at}"
        least = "" if chain.minimum_possible is None else f" (by degrees alone at {chain.minimum_possible} at best)"
        facts += [f"{100 * chain.reachable:.4g} % reachable", full + least]
        facts += [counted(count, what) for count, what in _ends(chain) if count]
    names = f"{name_of(chain.layer_names[0])} to {name_of(chain.layer_names[-1])}"
    picture = f' data-chain="{number}"' if chain.reachable_after else ""
    return f"<figure{picture}><figcaption>{names}: {', '.join(facts)}</figcaption></figure>"


def _ends(chain: AuditChain) -> list[tuple[int, str]]:
    return [(chain.lost_inputs or 0, "lost input"), (chain.unreached_outputs or 0, "unreached output")]


def _columns(rows: Sequence[AuditRow]) -> list[str]:
    """The columns beside the name; those of a heavy tail where one was looked at."""
    tailed = any(row.mp_edge is not None for row in rows)
    return [key for key in AuditRow.table[1:] if tailed or key not in facts_of(TailFacts)]


def _title(key: str) -> str:
    return TITLES.get(key, key.replace("_", " "))


def _is_spare(key: str) -> bool:
    """Whether a column is not shown where the screen is narrow."""
    return key in AuditRow.spare[:NARROW]


def _value(row: AuditRow, key: str) -> Any:
    """What a column sorts by."""
    return _size(row.shape) if key == "shape" else value_of(row, key)


def _size(shape: Iterable[int] | None) -> int:
    size = 1
    for side in shape or ():
        size *= side
    return size


def _layers(rows: Sequence[AuditRow], checks: Sequence[str], failed: Mapping[str, Sequence[str]]) -> str:
    if not rows:
        return ""
    heads = [_head("layer", number=False), *([_head("failed checks")] if checks else [])]
    columns = _columns(rows)
    heads += [_head(_title(key), spare=_is_spare(key)) for key in columns]
    lines = [_line(number, row, columns, failed.get(row.name, ()), bool(checks)) for number, row in enumerate(rows)]
    flags = {"failed": "failing a check", "apart": "disconnected", "dead": "with dead inputs or outputs"}
    flags |= {"short": "rank-deficient", "estimated": "estimated"}
    chosen = "".join(f'<option value="{flag}">{told}</option>' for flag, told in flags.items())
    return f"""<section id="layers">
<h2>Layers</h2>
<div class="controls" hidden>
<label>Name <input type="search" id="words" placeholder="part of a name"></label>
<label>Show <select id="flag"><option value="">all</option>{chosen}</select></label>
<span id="count" role="status"></span>
</div>
<div class="wide" tabindex="0" role="region" aria-label="Table of layers">
<table>
<caption>σ: singular values; KS p: of a test against a dense orthogonal layer of their scale. A name opens all facts.
</caption>
<thead><tr>{"".join(heads)}</tr></thead>
<tbody>
{"".join(lines)}</tbody>
</table>
</div>
</section>"""


def _head(title: str, number: bool = True, spare: bool = False) -> str:
    attributes = (' class="spare"' if spare else "") + (" data-number" if number else "")
    return f'<th scope="col"{attributes}><button type="button">{title}</button></th>'


def _line(number: int, row: AuditRow, columns: Sequence[str], failed: Sequence[str], checked: bool) -> str:
    name = name_of(row.name)
    cells = [f'<td data-value="{name}"><button type="button" aria-expanded="false">{name}</button></td>']
    if checked:
        told = "<br>".join(map(escaped, failed))
        cells.append(f'<td class="checks" data-value="{len(failed)}">{told}</td>')
    for key in columns:
        spare = ' class="spare"' if _is_spare(key) else ""
        cells.append(f'<td{spare} data-value="{_sortable(_value(row, key))}">{cell(value_of(row, key))}</td>')
    style = ' class="failed"' if failed else ""
    return f'<tr data-row="{number}" data-flags="{_flags(row, failed)}"{style}>{"".join(cells)}</tr>\n'


def _sortable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else escaped(value)


def _flags(row: AuditRow, failed: Sequence[str]) -> str:
    true = {
        "failed": bool(failed),
        "apart": row.connected is False,
        "dead": bool(row.dead_inputs or row.dead_outputs),
        "short": row.rank is not None and row.condition is None,
        "estimated": row.exact is False,
    }
    return " ".join(flag for flag, holds in true.items() if holds)


def _changes(changes: Sequence[AuditComparison], compared: str) -> str:
    """What changed since the checkpoint `compared`, a line a layer."""
    if not changes:
        return ""
    facts = [fact for fact in AuditComparison.table[2:] if any(fact in one.changes for one in changes)]
    heads = "".join(f'<th scope="col">{fact}</th>' for fact in ("layer", "status", *facts))
    lines = "".join(
        f"<tr><td>{name_of(one.name)}</td><td>{escaped(one.status)}</td>"
        + "".join(f"<td>{_change(one.changes.get(fact))}</td>" for fact in facts)
        + "</tr>\n"
        for one in changes
    )
    return (
        f"<section><h2>Changes</h2><p>Before: <span class=name>{name_of(compared)}</span>; after: this one. What did "
        f'not change is left blank.</p><div class="wide" tabindex="0" role="region" aria-label="Table of changes">'
        f'<table id="changes"><thead><tr>{heads}</tr></thead><tbody>\n{lines}</tbody></table></div></section>'
    )


def _change(change: Mapping[str, Any] | None) -> str:
    before, after = ("", "") if change is None else (cell(change["before"]), cell(change["after"]))
    return "" if before == after else f"{before} → {after}"


def _skipped(skipped: Mapping[str, Sequence[str]]) -> str:
    if not skipped:
        return ""
    parts = [
        f"<details><summary>{escaped(shortened(reason, LONG))}: {counted(len(names), 'tensor')}</summary>"
        f"<p class=name>{_named(names)}</p></details>"
        for reason, names in skipped.items()
    ]
    return f'<section id="skipped"><h2>Skipped</h2>{"".join(parts)}</section>'


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return ", ".join(map(name_of, names[:LISTED])) + more


def _data(report: AuditReport) -> str:
    """What the script needs, as JSON in which no markup is left: "<" and its like are written by their numbers."""
    rows = [_facts(row) for row in report.rows]
    fields = list(dict.fromkeys(key for row in rows for key, value in row.items() if value is not None))
    spectra = [report.histograms.get(row.name) for row in report.rows]
    told = {
        "fields": fields,
        "rows": [[row.get(key) for key in fields] for row in rows],
        "spectra": [None if one is None else [float(f"{one.width:.8g}"), one.counts] for one in spectra],
        "chains": [
            {"layers": [shortened(shown(name), LONG) for name in chain.layer_names], "reachable": chain.reachable_after}
            for chain in report.chains[:CHAINS]
        ],
    }
    text = json.dumps(plain(told), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _facts(row: AuditRow) -> dict[str, Any]:
    """All facts of a row, those of its KS tests as "ks.pvalue", six digits each; texts made harmless."""
    facts: dict[str, Any] = {}
    for key, value in row.to_dict().items():
        inner = {key: value} if not isinstance(value, dict) else {f"{key}.{name}": one for name, one in value.items()}
        facts |= {
            name: _brief(one)
            for name, one in inner.items()
            if name not in ("record", "name", "skipped", "ks.reference", "ks_sao.reference")
        }
    return facts


def _brief(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return shortened(shown(value), LONG) if isinstance(value, str) else value
