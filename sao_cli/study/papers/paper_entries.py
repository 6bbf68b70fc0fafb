"""The entries of a table or a figure of a paper: its numbers beside what is found here, in this very call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from sao_cli.base.errors import SaoError
from sao_cli.base.in_order import call, run_in_order
from sao_cli.base.names import check, load
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import DATA
from sao_cli.reports.frames import Reports
from sao_cli.reports.paper_rows import PaperEntry, PaperItem
from sao_cli.study.executors import executor as opened
from sao_cli.study.papers.cells import Asked, Cell, CellGroup, Measured
from sao_cli.study.papers.paper_items import ITEMS, Item
from sao_cli.study.papers.paper_verdicts import NOT_REPRODUCED, Values, finite, order_told, summary, verdict


def paper_items() -> Reports[PaperItem]:
    """What of the papers can be made here, one PaperItem each, with what it needs and takes.

    >>> [row.item for row in paper_items()][:2]
    ['sao/fig7', 'sao/fig8']
    """
    return Reports(_told(row) for row in ITEMS.values())


def paper_entries(
    item: str,
    *,
    full: bool = False,
    data: str | None = None,
    folder: str | None = None,
    depths: Sequence[int] = (),
    seeds: int | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Reports[PaperEntry]:
    """The numbers and claims of a table or figure `item` of a paper, a PaperEntry each, beside what is found here.

    `full` is the paper's own scale, where the default is one that two cores finish in minutes. `data` are those of the
    paper where `folder` has them (as `sao train` finds data), else what is at hand, and the verdict says so. `depths`
    picks those of a table that has several, `seeds` how many there are, from `seed` on. Jobs are single library calls
    on the `executor` (study.executors; this process): the same call gives the same entries on all of them.

    Verdicts are those of study.papers.paper_verdicts.verdict, and what is of other data or at another scale also tells
    whether the order of its group is the paper's.

    Raises SaoError for unknown items and data, for what the item does not take and no seeds, and what its calls raise.
    The cost is told by paper_items.

    >>> [(one.label, one.here, one.verdict) for one in paper_entries("sao/table2")][0]
    ('N = 60', 0.01, 'reproduced')
    """
    check("item", item, ITEMS)
    row = ITEMS[item]
    asked = Asked(full=full, data=data, folder=folder, depths=tuple(depths), seeds=seeds)
    _check(row, asked)
    parts: list[CellGroup] = list(load(row.home)(asked))
    runs = [(place, keywords) for place, part in enumerate(parts) for keywords in _calls(part, seed)]
    jobs = [{"function": parts[place].function, "keywords": keywords} for place, keywords in runs]
    found: list[list[Measured]] = [[] for _ in parts]
    with opened() as here:
        results = run_in_order(here if executor is None else executor, call, jobs, progress)
        for (place, _), result in zip(runs, results, strict=True):
            found[place].append(result)
    return Reports(_entries(row, parts, found))


def _told(row: Item) -> PaperItem:
    return PaperItem(
        item=row.name,
        printed=row.place,
        shows=row.line,
        data=row.data or None,
        takes=row.takes,
        takes_full=row.takes_full,
    )


def _check(row: Item, asked: Asked) -> None:
    if asked.seeds is not None and asked.seeds < 1:
        raise SaoError(f"seeds {asked.seeds}: it is how many there are, 1 or more")
    if asked.data is not None:
        if not row.data:
            raise SaoError(f"{row.name} is of no data; leave data {asked.data!r} out")
        check("data", asked.data, DATA)
    if asked.depths and not row.depths:
        raise SaoError(f"{row.name} has no depths to choose among; leave depth {asked.depths[0]} out")
    for depth in asked.depths:
        if depth not in row.depths:
            raise SaoError(f"{row.name} has no depth {depth}; there are {', '.join(map(str, row.depths))}")


def _calls(part: CellGroup, seed: int) -> list[dict[str, Any]]:
    if part.missing is not None:
        return []
    seeded = [{"seed": seed + place} for place in range(part.seeds)] if part.seeds else [{}]
    return [{**part.keywords, **one} for one in seeded]


def _entries(row: Item, parts: Sequence[CellGroup], found: Sequence[Sequence[Measured]]) -> Iterator[PaperEntry]:
    cells: dict[str, tuple[Cell, Values]] = {}
    measured: list[tuple[Cell, CellGroup, Sequence[Measured]]] = []
    for part, results in zip(parts, found, strict=True):
        for cell in part.cells:
            assert cell.label not in cells, f"{row.name} has two cells {cell.label!r}"
            cells[cell.label] = cell, _values(cell, results)
            measured.append((cell, part, results))
    for cell, part, results in measured:
        yield _entry(row, cell, part, results, cells)


def _values(cell: Cell, results: Sequence[Measured]) -> Values:
    """A number a seed, or the one of them all."""
    if cell.pooled is not None:
        return finite([cell.pooled(results)]) if results else []
    return finite([result[cell.measured] for result in results])


def _entry(
    row: Item,
    cell: Cell,
    part: CellGroup,
    results: Sequence[Measured],
    cells: Mapping[str, tuple[Cell, Values]],
) -> PaperEntry:
    values = cells[cell.label][1]
    found, reason = verdict(cell, part, values)
    told = [reason] if reason else []
    if found == NOT_REPRODUCED and (order := order_told(cell, cells)):
        told.append(order)
    if reason and cell.evidence and results:
        told.append(cell.witness(results[0]))
    here, low, high = summary(values)
    return PaperEntry(
        item=row.name,
        printed=row.place,
        label=cell.label,
        unit=cell.unit,
        paper=None if cell.paper is None else _finite(float(cell.paper)),
        here=here,
        low=low,
        high=high,
        verdict=found,
        reason="; ".join(told) or None,
        seeds=part.seeds if values else 0,
        extent=part.scale,
        data=None if part.missing is not None else part.data,
    )


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def count_verdicts(entries: Iterable[PaperEntry]) -> str:
    """How many entries have which verdict, in a line.

    >>> count_verdicts(paper_entries("sao/table2"))
    '6 reproduced'
    """
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.verdict] = counts.get(entry.verdict, 0) + 1
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
