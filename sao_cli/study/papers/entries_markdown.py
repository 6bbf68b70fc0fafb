"""Entries as Markdown, as docs/papers.md has them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sao_cli.reports.paper_rows import PaperEntry, PaperItem
from sao_cli.study.papers.paper_items import ITEMS

HOLDS = {0.0: "no", 1.0: "yes"}
LONG, MANY = 60, 3  # characters of a reason, and entries that have it


def item_markdown(item: str, entries: Sequence[PaperEntry], asked: str = "") -> str:
    """A section of Markdown: what the item is, the command that made it, with options as `asked`, and its entries.

    >>> from sao_cli.study.papers.paper_entries import paper_entries
    >>> print(item_markdown("sao/table2", paper_entries("sao/table2")).splitlines()[0])
    ## sao/table2: its learning rates by depth
    """
    row = ITEMS[item]
    command = " ".join(["sao paper", item, *([asked] if asked else [])])
    notes = _notes(entries)
    rows = (_cells(entry, notes) for entry in entries)
    body = _table(("", "paper", "here", "least to largest", "verdict", "why"), rows)
    told = "".join(f"\n[{number}] {reason}\n" for reason, number in notes.items())
    return f"## {item}: {row.line}\n\n{row.place}. `{command}`{_conditions(entries)}\n\n{body}{told}"


def items_markdown(items: Iterable[PaperItem]) -> str:
    """A table of what there is."""
    heads = ("ID", "shows", "where", "data", "takes", "--full takes")
    rows = ((f"`{one.item}`", one.shows, one.printed, one.data or "", one.takes, one.takes_full) for one in items)
    return _table(heads, rows)


def _notes(entries: Sequence[PaperEntry]) -> dict[str, int]:
    """The numbers of long reasons that many entries have, which are told once, below the table."""
    counts = Counter(one.reason for one in entries if one.reason and len(one.reason) > LONG)
    return {reason: number for number, reason in enumerate((one for one in counts if counts[one] > MANY), 1)}


def _conditions(entries: Sequence[PaperEntry]) -> str:
    """Seeds and data, where anything was run."""
    seeds = sorted({one.seeds for one in entries if one.seeds})
    data = sorted({one.data for one in entries if one.data})
    told = [f"{' or '.join(map(str, seeds))} seed{'s' * (seeds != [1])}"] * bool(seeds) + ["; ".join(data)] * bool(data)
    return f" ({', '.join(told)})" if told else ""


def _cells(entry: PaperEntry, notes: Mapping[str, int]) -> tuple[str, ...]:
    claim = entry.unit == "holds"
    unit = f", {entry.unit}" if entry.unit and not claim else ""
    spread = "" if entry.low == entry.high else f"{_number(entry.low)} to {_number(entry.high)}"
    paper, here = (_holds(one) if claim else _number(one) for one in (entry.paper, entry.here))
    reason = entry.reason or ""
    reason = f"[{notes[reason]}]" if reason in notes else reason
    return entry.label + unit, paper, here, "" if claim else spread, entry.verdict, reason


def _holds(value: float | None) -> str:
    return "" if value is None else HOLDS.get(value, "at times")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    size = abs(value)
    return f"{value:.0f}" if size < 1e8 and (value == round(value) or size >= 1e5) else f"{value:.5g}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
