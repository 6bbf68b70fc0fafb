"""The page of an audit: one HTML file that needs nothing else, opened by any browser and sent by mail."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from sao_cli.io.output import shown
from sao_cli.pages.bins import Histogram
from sao_cli.pages.context_table import network_section
from sao_cli.pages.reaches import Reach, reach
from sao_cli.pages.text import NAME, cell, counted, escaped, name_of, shortened
from sao_cli.pages.verdicts import BAD, GOOD, KS_P, NOTE, PLAIN, verdicts
from sao_cli.reports.audits import AuditChain, AuditComparison, AuditRow, AuditSummary, TailFacts
from sao_cli.reports.networks import NetworkEdges, NetworkFacts, NetworkLayer
from sao_cli.reports.report import facts_of, plain, value_of
from sao_cli.reports.spectra import KSTest

HERE = Path(__file__).parent
SIGNS = {GOOD: ("✓", "good: "), PLAIN: ("·", ""), NOTE: ("!", "note: "), BAD: ("✗", "bad: ")}
TITLES = {"sigma_max": "σ max", "sigma_min": "σ min", "ks.pvalue": "KS p"}  # others are the key's words
NARROW = 6  # columns that leave where the screen is narrow
STATIC = 100  # rows of a table that stand there without the script too
NBSP = "&nbsp;"
LISTED = 50  # names under a reason for which tensors were skipped
CHAINS = 40  # pictures of chains
LONG = 200  # characters of a layer's name, or of a reason, among its details


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """All that a page tells: of the tensors that were audited `rows`, `skipped` by reason, and the rest by its name.

    `earlier` are the rows of the checkpoint that `changes` are since, whose name is `compared`. `histograms` are of the
    rows' singular values, by name; `failed` are the checks that a row fails, of all `checks`;
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
    earlier: Sequence[AuditRow] = ()
    made: Sequence[tuple[str, str]] = ()
    network: NetworkFacts | None = None
    layers: Sequence[NetworkLayer] = ()
    edges: NetworkEdges | None = None


def audit_page(report: AuditReport) -> str:
    """The report as one HTML page: no network, no fonts or scripts from elsewhere, light and dark, and for print.

    Its policy (Content-Security-Policy) forbids every load and every script but its own, and whatever comes from the
    checkpoint is escaped besides. Without JavaScript all is there but the pictures, a layer's details and, of tables,
    what follows the first 100 rows. Equal reports give equal pages. O(rows); about 1 kB a layer.
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
        sigma=_sigma(report),
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
        ("layers audited", _short(len(rows))),
        ("tensors skipped", _short(summary.skipped_tensors)),
        ("parameters", _short(summary.audited_parameters)),
        ("sparsity", "–" if summary.overall_sparsity is None else f"{100 * summary.overall_sparsity:.3g}{NBSP}%"),
        ("disconnected", cell(len(summary.disconnected))),
        ("dead inputs", _short(summary.dead_inputs)),
        ("dead outputs", _short(summary.dead_outputs)),
    ]
    lows = [row.sigma_min for row in rows if row.sigma_min is not None]
    highs = [row.sigma_max for row in rows if row.sigma_max is not None]
    cards += [("least σ", cell(min(lows)))] if lows else []
    cards += [("largest σ", cell(max(highs)))] if highs else []
    if report.checks:
        cards.append(("layers that fail", cell(sum(bool(ones) for ones in report.failed.values()))))
    return cards


def _short(count: int) -> str:
    """A count, for a tile: 1,234 or 22.7 M, which never breaks.

    >>> _short(1234), _short(22_713_216)
    ('1,234', '22.7&nbsp;M')
    """
    for unit, size in (("G", 10**9), ("M", 10**6)):
        if count >= size:
            return f"{count / size:.3g}{NBSP}{unit}"
    return f"{count:,}"


def _verdict(level: str, text: str) -> str:
    sign, word = SIGNS[level]
    label = f'role="img" aria-label="{word}"' if word else 'aria-hidden="true"'
    return f'<li class="{level}"><span {label}>{sign}</span>{escaped(text)}</li>'


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
    """The columns beside the name; those of a heavy tail where one was looked at, and none that is empty."""
    tailed = any(row.mp_edge is not None for row in rows)
    keys = [key for key in AuditRow.table[1:] if tailed or key not in facts_of(TailFacts)]
    return [key for key in keys if any(value_of(row, key) is not None for row in rows)]


def _title(key: str) -> str:
    return TITLES.get(key, key.replace("_", " "))


def _is_spare(key: str) -> bool:
    """Whether a column is not shown where the screen is narrow."""
    return key in AuditRow.spare[:NARROW]


def _layers(rows: Sequence[AuditRow], checks: Sequence[str], failed: Mapping[str, Sequence[str]]) -> str:
    if not rows:
        return ""
    columns = _columns(rows)
    heads = [_head("layer", "name", number=False), *([_head("failed checks", "failed")] if checks else [])]
    heads += [_head(_title(key), key, spare=_is_spare(key)) for key in columns]
    lines = "".join(_line(row, columns, failed.get(row.name, ()), bool(checks)) for row in rows[:STATIC])
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
{_meanings(columns)}{_cut(len(rows), "layer")}<div class="wide" tabindex="0" role="region" aria-label="Table of layers">
<table>
<caption>A name opens all facts, a heading sorts.</caption>
<thead><tr>{"".join(heads)}</tr></thead>
<tbody>
{lines}</tbody>
</table>
</div>
</section>"""


def _meanings(columns: Sequence[str]) -> str:
    """What the columns mean, as the reports declare it, and how to read a p-value beside "isometric"."""
    facts = facts_of(AuditRow) | {f"ks.{key}": fact for key, fact in facts_of(KSTest).items()}
    told = "".join(
        f"<div><dt>{_title(key)}</dt><dd>{escaped(facts[key].meaning)}{_unit(facts[key].unit)}</dd></div>"
        for key in columns
    )
    return f'<details id="meanings"><summary>What the columns mean</summary><dl>{told}</dl><p>{KS_P}</p></details>'


def _unit(unit: str) -> str:
    return f": <code>{escaped(unit)}</code>" if unit else ""


def _cut(count: int, what: str) -> str:
    """What stands for the rows that a page without its script has not."""
    told = f"The first {STATIC} of {counted(count, what)}; with JavaScript all of them."
    return f"<noscript><p>{told}</p></noscript>" if count > STATIC else ""


def _head(title: str, key: str, number: bool = True, spare: bool = False) -> str:
    attributes = (' class="spare"' if spare else "") + (" data-number" if number else "")
    return f'<th scope="col" data-key="{key}"{attributes}><button type="button">{title}</button></th>'


def _line(row: AuditRow, columns: Sequence[str], failed: Sequence[str], checked: bool) -> str:
    """A row for whoever runs no scripts; the page's own builds rows of the data."""
    cells = [f"<td>{name_of(row.name)}</td>"]
    if checked:
        cells.append(f'<td class="checks">{"; ".join(map(escaped, failed))}</td>')
    for key in columns:
        spare = ' class="spare"' if _is_spare(key) else ""
        cells.append(f"<td{spare}>{cell(value_of(row, key))}</td>")
    style = ' class="failed"' if failed else ""
    return f"<tr{style}>{''.join(cells)}</tr>\n"


def _flags(row: AuditRow, failed: Sequence[str]) -> str:
    true = {
        "failed": bool(failed),
        "apart": row.connected is False,
        "dead": bool(row.dead_inputs or row.dead_outputs),
        "short": row.rank is not None and row.condition is None,
        "estimated": row.exact is False,
    }
    return " ".join(flag for flag, holds in true.items() if holds)


def _changed_facts(changes: Sequence[AuditComparison]) -> list[str]:
    """The facts that have a column: those of the table in which some layer differs, and those of a heavy tail."""
    keys = (*AuditComparison.table[2:], *(key for key, fact in facts_of(TailFacts).items() if fact.compared))
    return [key for key in keys if any(key in one.changes for one in changes)]


def _changes(changes: Sequence[AuditComparison], compared: str) -> str:
    """What changed since the checkpoint `compared`, a line a layer."""
    if not changes:
        return ""
    facts = _changed_facts(changes)
    heads = _head("layer", "name", number=False) + _head("status", "status", number=False)
    heads += "".join(_head(_title(key), key) for key in facts)
    lines = "".join(
        f"<tr><td>{name_of(one.name)}</td><td>{escaped(one.status)}</td>"
        + "".join(f"<td>{_change(one.changes.get(fact))}</td>" for fact in facts)
        + "</tr>\n"
        for one in changes[:STATIC]
    )
    return (
        f'<section id="changes"><h2>Changes</h2><p>Before: <span class="name">{name_of(compared)}</span>; after: this '
        f"one. What did not change is left blank; a heading sorts by the difference.</p>{_cut(len(changes), 'tensor')}"
        f'<div class="wide" tabindex="0" role="region" aria-label="Table of changes">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n{lines}</tbody></table></div></section>"
    )


def _change(change: Mapping[str, Any] | None) -> str:
    before, after = ("", "") if change is None else (cell(change["before"]), cell(change["after"]))
    return "" if before == after else f"{before} → {after}"


def _sigma(report: AuditReport) -> str:
    """Where the main picture will be, one figure a checkpoint; nothing where no singular value is known."""
    now, before = _reaches(report)
    if not any(now):
        return ""
    figures = [("now", "this one" if before else "")]
    if before:
        figures.insert(0, ("before", f"before: {name_of(report.compared)}"))
    told = "".join(f'<figure data-sigma="{key}"><figcaption>{title}</figcaption></figure>' for key, title in figures)
    return (
        '<section id="sigma"><h2>Singular values by layer</h2><p>Of each layer the least, the median (dot) and the '
        f'largest; the line is at 1. A layer opens below.</p><div class="pair">{told}</div></section>'
    )


def _reaches(report: AuditReport) -> tuple[list[Reach | None], list[Reach | None]]:
    """What the main picture shows of each layer, and of that of its name before; [] where nothing is compared."""
    earlier = {row.name: row for row in report.earlier if not row.skipped}
    before = [reach(earlier[row.name]) if row.name in earlier else None for row in report.rows]
    return [reach(row) for row in report.rows], before if any(before) else []


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
    failed = [report.failed.get(row.name, ()) for row in report.rows]
    now, before = _reaches(report)
    changed = _changed_facts(report.changes)
    told = {
        "fields": fields,
        "rows": [[row.get(key) for key in fields] for row in rows],
        "names": [_named_briefly(row.name) for row in report.rows],
        "flags": [_flags(row, ones) for row, ones in zip(report.rows, failed, strict=True)],
        "failed": [[shown(check) for check in ones] for ones in failed],
        "spectra": [None if one is None else [float(f"{one.width:.8g}"), one.counts] for one in spectra],
        "sigma": {"now": now, "before": before},
        "ks": KS_P,
        "changes": {"facts": changed, "rows": [_change_data(one, changed) for one in report.changes]},
        "chains": [
            {"layers": [shortened(shown(name), LONG) for name in chain.layer_names], "reachable": chain.reachable_after}
            for chain in report.chains[:CHAINS]
        ],
    }
    text = json.dumps(plain(told), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _named_briefly(name: str) -> str:
    return shortened(shown(name), NAME)


def _change_data(one: AuditComparison, facts: Sequence[str]) -> list[Any]:
    pairs = [one.changes.get(fact) for fact in facts]
    told = [None if pair is None else [_brief(pair["before"]), _brief(pair["after"])] for pair in pairs]
    return [_named_briefly(one.name), one.status, told]


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
