"""What each of several items is asked: options that only some of them take go to those."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sao_cli.base.errors import FileError, SaoError
from sao_cli.io.datasets.samples import read_dataset
from sao_cli.study.papers.paper_items import ITEMS, Item


def _nothing(line: str) -> None:
    pass


def options_of(
    items: Sequence[str],
    *,
    data: str | None = None,
    folder: str | None = None,
    depths: Sequence[int] = (),
    say: Callable[[str], None] = _nothing,
) -> dict[str, dict[str, Any]]:
    """`data`, `folder` and `depths` for paper_entries, by item, told before anything runs.

    One item is asked all of it, and refuses what it does not take. Of several, data go to those that are of data, and a
    depth to those that have it. What `folder` has not is read, where no data are named, as without the folder, and
    `say` is told of it, a line a data set. Raises SaoError for what none of them takes, and FileError where the folder
    has data of none.

    >>> options_of(["sao/fig7", "sao/table7"], data="digits", depths=[200])["sao/fig7"]
    {'data': None, 'folder': None, 'depths': ()}
    """
    if len(items) == 1:
        return {items[0]: {"data": data, "folder": folder, "depths": tuple(depths)}}
    rows = [ITEMS[item] for item in items]
    if data is not None and not any(row.data for row in rows):
        raise SaoError(f"data {data!r}: none of the {len(rows)} items is of data; leave it out")
    for depth in depths:
        if not any(depth in row.depths for row in rows):
            there = sorted({one for row in rows for one in row.depths})
            told = f"there are {', '.join(map(str, there))}" if there else "leave it out"
            raise SaoError(f"depth {depth}: none of the {len(rows)} items has it; {told}")
    lacking = {} if folder is None or data is not None else _lacking(rows, folder)
    for name, reason in lacking.items():
        of = " ".join(row.name for row in rows if name in row.reads)
        say(f"{reason}; made as without --data-folder: {of}")
    return {row.name: _of(row, data, None if set(row.reads) & set(lacking) else folder, depths) for row in rows}


def _of(row: Item, data: str | None, folder: str | None, depths: Sequence[int]) -> dict[str, Any]:
    read = {"data": data, "folder": folder} if row.data else {"data": None, "folder": None}
    return {**read, "depths": tuple(depth for depth in depths if depth in row.depths)}


def _lacking(rows: Sequence[Item], folder: str) -> dict[str, str]:
    """The papers' data that can't be read from the folder, and why. FileError where none can be."""
    names = list(dict.fromkeys(name for row in rows for name in row.reads))
    reasons = {name: reason for name in names if (reason := _unreadable(name, folder)) is not None}
    if names and len(reasons) == len(names):
        raise FileError(next(iter(reasons.values())))
    return reasons


def _unreadable(name: str, folder: str) -> str | None:
    try:
        read_dataset(name, folder)
    except SaoError as error:
        return str(error) if name in str(error) else f"{name}: {error}"
    return None
