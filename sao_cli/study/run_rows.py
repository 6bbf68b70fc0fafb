"""The rows of runs, wherever they are kept: folders of `sao train`, folders of `sao sweep`, reports of JSON lines."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sao_cli.base.errors import FileError, FormatError
from sao_cli.io.checkpoints.checkpoint import RUN_FILES
from sao_cli.io.output import shown
from sao_cli.io.source import Source, open_source
from sao_cli.study.grid import SEED
from sao_cli.study.seed_summaries import EPOCH, TELLS
from sao_cli.study.sweep_folder import SETTINGS as SWEEP

SETTINGS, METRICS, *_ = RUN_FILES
LINES = (".jsonl", ".ndjson")
OF_RUNS = ("data", "arch", "method", "depth", "width")  # what rows of epochs tell of their training
_START = 64  # bytes that tell lines of JSON from a checkpoint

Row = dict[str, Any]


class RunRows(NamedTuple):
    """One run: where it is, its parameters but for the seed, that, its rows, and the settings of a training."""

    source: str
    over: dict[str, Any]
    seed: Any
    rows: tuple[Row, ...]
    settings: Mapping[str, Any] | None = None


def holds_rows(path: str) -> bool:
    """Whether the file or folder at `path` holds rows of runs, and is no checkpoint of a network.

    A folder of a training is both: its rows are meant.
    """
    place = Path(path)
    if place.is_dir():
        return (place / SWEEP).is_file() or _is_run(place) or bool(_runs_below(place))
    if path.endswith(LINES):
        return True
    if path.endswith(".index.json") or not place.is_file():
        return False
    with open_source(path) as source:
        return starts_rows(source)


def starts_rows(source: Source) -> bool:
    """Whether a stream begins as lines of JSON do."""
    return source.peek(_START).lstrip().startswith(b"{")


def read_runs(path: str) -> list[RunRows]:
    """The runs at `path`: a folder of one training, or of several of them, a folder of a sweep, a file of JSON lines.

    Lines tell their run by `run` and `over`, as a sweep's do, or else by their `seed`; rows of a run have neither
    here. Raises FileError for what can't be read, FormatError for lines that are no rows, and where there are none.
    """
    place = Path(path)
    if not place.is_dir():
        with open_source(path) as source:
            return runs_of(path, source)
    if (place / SWEEP).is_file():
        files = sorted(place.glob("run-*.jsonl"))
        if not files:
            raise FileError(f"{shown(path)} is a sweep of which no run of rows is kept; call it again to go on with it")
        return [run for file in files for run in _of_file(path, file)]
    folders = [place] if _is_run(place) else _runs_below(place)
    return [_of_training(folder) for folder in folders]


def runs_of(name: str, source: Source) -> list[RunRows]:
    """The runs in an open stream of JSON lines."""
    return _split(name, _parsed(source.whole().read(), source.name))


def _is_run(place: Path) -> bool:
    return (place / SETTINGS).is_file() and (place / METRICS).is_file()


def _runs_below(place: Path) -> list[Path]:
    try:
        return sorted(one for one in place.iterdir() if one.is_dir() and _is_run(one))
    except OSError:
        return []


def _of_training(place: Path) -> RunRows:
    try:
        settings = json.loads((place / SETTINGS).read_bytes())["settings"]
        rest = {key: value for key, value in settings.items() if key != SEED}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{shown(place / SETTINGS)} can't be read: {' '.join(str(error).split())[:200]}") from error
    with open_source(place / METRICS) as source:
        rows = _parsed(source.whole().read(), source.name)
    return RunRows(os.fspath(place), {}, settings.get(SEED), tuple(rows), rest)


def _of_file(name: str, path: Path) -> list[RunRows]:
    with open_source(path) as source:
        return runs_of(name, source)


def _parsed(content: bytes, name: str) -> list[Row]:
    rows = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{name}: line {number} is no JSON: {' '.join(str(error).split())[:200]}") from error
        if (
            not isinstance(row, dict)
            or not isinstance(row.get("record"), str)
            or not isinstance(row.get("over", {}), dict)
        ):
            raise FormatError(f"{name}: line {number} is no row of a report, which has a `record`")
        rows.append(row)
    if not rows:
        raise FormatError(f"{name} holds no rows; a report of JSON lines has one at least")
    return rows


def _split(name: str, rows: Iterable[Row]) -> list[RunRows]:
    """Rows by their run; where they tell none, by their seed, and by epochs that begin anew.

    What such runs are of is a parameter where it differs in the file. Summaries of sweeps are left out.
    """
    found: dict[str, list[Row]] = {}
    begun: Counter[str] = Counter()
    for row in rows:
        if "run" in row:
            key = repr([row["run"], row.get("over")])
        elif "summary" in row and "field" in row:
            continue
        else:
            seed = repr(row.get(SEED))
            key = f"{seed} {begun[seed]}"
            if EPOCH in row and key in found and row[EPOCH] <= found[key][-1].get(EPOCH, 0):
                begun[seed] += 1
                key = f"{seed} {begun[seed]}"
        found.setdefault(key, []).append(row)
    runs = [_of_rows(name, own) for own in found.values()]
    if all(run.over for run in runs):
        return runs
    of = [{key: run.rows[0].get(key) for key in OF_RUNS if EPOCH in run.rows[0]} for run in runs]
    telling = [key for key in OF_RUNS if len({repr(one.get(key)) for one in of}) > 1]
    return [
        run._replace(over={key: one.get(key) for key in telling} | run.over) for run, one in zip(runs, of, strict=True)
    ]


def _of_rows(name: str, rows: list[Row]) -> RunRows:
    over = rows[0].get("over", {})
    rest = {key: value for key, value in over.items() if key != SEED}
    plain = tuple({key: value for key, value in row.items() if key not in ("run", "over")} for row in rows)
    told = Counter(repr([row["record"], *(row.get(key) for key in TELLS)]) for row in plain if EPOCH not in row)
    if any(times > 1 for times in told.values()):
        why = "so that runs can't be told apart; `sao sweep --over` numbers them"
        raise FormatError(f"{shown(name)}: several rows are on one thing with one seed, {why}")
    return RunRows(name, rest, over.get(SEED, rows[0].get(SEED)), plain)
