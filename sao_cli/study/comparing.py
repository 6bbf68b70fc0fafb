"""Runs or checkpoints side by side, each with its difference from the first."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sao_cli.base.errors import SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.io.checkpoints import Checkpoint, open_checkpoint
from sao_cli.io.output import shown
from sao_cli.io.source import WholeCopy, open_source
from sao_cli.measure.values.ks import holm
from sao_cli.measure.values.two_samples import rank_test, welch
from sao_cli.models.side_by_side import compare_checkpoints
from sao_cli.reports.comparisons import ComparedField, LearningCurve
from sao_cli.reports.frames import Reports
from sao_cli.study.run_rows import RunRows, holds_rows, read_runs, runs_of, starts_rows
from sao_cli.study.seed_summaries import EPOCH, SeedValues, by_seeds, number_of, spread

OF_TRAINING = ("test_accuracy", "test_loss", "train_accuracy", "train_loss", "sparsity")
OF_OTHERS = (  # what rows without epochs are compared in, where no field is named
    *("sigma_max", "sigma_min", "mean", "sparsity", "dead_inputs", "dead_outputs", "ks.statistic", "lambda_2"),
    *("reachable", "log10_mean", "log10_std", "effective_sparsity", "soft_rank", "score_share"),
)


class Group(NamedTuple):
    """Runs that are alike but for their seeds: where the first of them is, what tells them from other groups."""

    source: str
    over: dict[str, Any]
    runs: tuple[RunRows, ...]

    @property
    def title(self) -> str:
        """What it is called in a picture."""
        told = ", ".join(f"{name} {value}" for name, value in self.over.items())
        return told or os.path.basename(os.path.normpath(self.source)) or self.source


class SideBySide(NamedTuple):
    """The rows of a comparison, and of trainings the learning curves of each group and field."""

    rows: Reports[Any]
    curves: list[LearningCurve]


def compare(
    *sources: str | os.PathLike[str],
    fields: str | Sequence[str] = (),
    weights: bool = False,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> SideBySide:
    """Runs or checkpoints side by side, each with its difference from the first.

    Of checkpoints, compare_checkpoints: each layer's facts, the overlap of masks, distances; so of folders of `sao
    train` too, their trained networks, where `weights` is said or another source is a checkpoint. Of folders of
    trainings or sweeps and of reports of JSON lines ("-" is standard input, of either kind) a ComparedField for each
    group of runs and each of the `fields`: the last epoch's, or that of each layer. Runs that are alike but for their
    seeds are one group, also in several folders, as long as there are two groups. A difference has its 95 % confidence
    interval, Welch's p-value, Holm's correction over all of the report, and the p-value of the Mann-Whitney test.

    Raises SaoError for fewer than two things to compare, for checkpoints among reports, for a field that no row has,
    and as its parts do.

    >>> from sao_cli.io.output import atomic_output
    >>> for name, accuracies in (("a.jsonl", (0.5, 0.6)), ("b.jsonl", (0.9, 0.8))):
    ...     row = '{{"record": "epoch", "epoch": 1, "seed": {}, "test_accuracy": {}}}'
    ...     lines = [row.format(*told) for told in enumerate(accuracies)]
    ...     with atomic_output(name) as file:
    ...         _ = file.write("\\n".join(lines).encode())
    >>> first, second = compare("a.jsonl", "b.jsonl").rows
    >>> round(second.difference, 6), round(second.pvalue, 4), round(second.pvalue_rank, 4), second.count
    (0.3, 0.0513, 0.3333, 2)
    """
    named = [os.fsdecode(one) for one in sources]
    if twice := next((one for one in named if named.count(one) > 1), None):
        raise SaoError(f"{shown(twice)} is named twice; a comparison is of different ones")
    fields = (fields,) if isinstance(fields, str) else tuple(fields)
    found = [_opened(one) for one in named]
    of_rows = [isinstance(one, list) for one in found]
    if weights or not all(of_rows):
        if any(of_rows) and not weights:
            found = [_network_of(name, one) for name, one in zip(named, found, strict=True)]
        if fields:
            raise SaoError(
                f"fields {', '.join(fields)} are of runs, and these are compared as checkpoints; leave them out"
            )
        models = {name: one if isinstance(one, Checkpoint) else name for name, one in zip(named, found, strict=True)}
        _require_two(len(models))
        told: dict[str, Any] = {"include": include, "exclude": exclude, "seed": seed, "progress": progress}
        return SideBySide(compare_checkpoints(models, **told), [])
    if include or exclude:
        raise SaoError("include and exclude choose layers of checkpoints, and these are runs; leave them out")
    groups = _groups([run for one in found if isinstance(one, list) for run in one])
    _require_two(len(groups))
    asked = fields or _known_fields(groups)
    return SideBySide(_with_holm([row for field in asked for row in _compared(groups, field)]), _curves(groups, asked))


def _require_two(count: int) -> None:
    if count < 2:
        raise SaoError(f"a comparison takes two checkpoints, or two groups of runs, and there is {count}; name another")


def _opened(name: str) -> list[RunRows] | Checkpoint | None:
    """The runs of what holds rows; the checkpoint of standard input; None of a checkpoint's file."""
    if name != "-":
        return read_runs(name) if holds_rows(name) else None
    with open_source(name) as source:
        return runs_of(name, source) if starts_rows(source) else open_checkpoint(WholeCopy(source))


def _network_of(name: str, found: list[RunRows] | Checkpoint | None) -> Checkpoint | None:
    """What is compared with checkpoints: SaoError for reports, which hold no weights."""
    if not isinstance(found, list):
        return found
    if len(found) != 1 or found[0].settings is None:
        raise SaoError(f"{shown(name)} holds rows of runs, and others are checkpoints; compare like with like")
    return None


def _groups(runs: Sequence[RunRows]) -> list[Group]:
    """Runs that are alike but for their seeds, in their order; by their folders where that is all of them."""
    settings = [run.settings for run in runs if run.settings is not None]
    names = dict.fromkeys(name for one in settings for name in one)
    telling = [name for name in names if len({repr(one.get(name)) for one in settings}) > 1]
    for told in (telling, None):
        found: dict[str, list[RunRows]] = {}
        for run in runs:
            if run.settings is None or told is None:
                key = repr([run.source, run.over])
            else:
                key = repr([run.settings.get(name) for name in telling])
            found.setdefault(key, []).append(run)
        if len(found) > 1:
            break
    return [Group(_places(own), _told(own[0], telling), tuple(own)) for own in found.values()]


def _places(runs: Sequence[RunRows]) -> str:
    """Where the runs are: the first place, and how many others there are."""
    first, *others = dict.fromkeys(run.source for run in runs)
    return f"{first} and {len(others)} more" if others else first


def _told(run: RunRows, telling: Sequence[str]) -> dict[str, Any]:
    return run.over if run.settings is None else {name: run.settings.get(name) for name in telling}


def _known_fields(groups: Sequence[Group]) -> list[str]:
    rows = [row for group in groups for run in group.runs for row in run.rows]
    known = OF_TRAINING if any(EPOCH in row for row in rows) else OF_OTHERS
    found = [field for field in known if any(_is_number(row, field) for row in rows)]
    if not found:
        raise SaoError("these rows have none of the fields that are compared by default; name them by --field")
    return found


def _is_number(row: dict[str, Any], field: str) -> bool:
    try:
        return number_of(row | {"run": 0}, field) is not None
    except SaoError:
        return False


def _compared(groups: Sequence[Group], field: str) -> list[ComparedField]:
    """The field in each group, and of each thing that a run has several rows on, side by side."""
    told = [_values(group, field) for group in groups]
    if not any(told):
        raise SaoError(f"no row has a value of {field}; name a field that one has")
    before = {repr(one.of): one for one in told[0]}
    rows = []
    for of in dict.fromkeys(repr(one.of) for values in told for one in values):
        for group, values in zip(groups, told, strict=True):
            own = next((one for one in values if repr(one.of) == of), None)
            if own is not None:
                first = None if group is groups[0] else before.get(of)
                rows.append(_row(field, group, groups[0], own, first))
    return rows


def _values(group: Group, field: str) -> list[SeedValues]:
    """The group's values over its seeds; empty where it has none."""
    rows = [row | {"run": number, "over": {}} for number, run in enumerate(group.runs) for row in run.rows]
    if not any(number_of(row, field) is not None for row in rows if row["record"] != "failure"):
        return []
    found = by_seeds(field, rows)
    names = dict.fromkeys(name for one in found for name in one.of)
    telling = [name for name in names if len({repr(one.of.get(name)) for one in found}) > 1]  # and no name of the group
    return [one._replace(of={name: one.of[name] for name in telling if name in one.of}) for one in found]


def _row(field: str, group: Group, first: Group, own: SeedValues, before: SeedValues | None) -> ComparedField:
    gaps: dict[str, Any] = dict.fromkeys(("difference", "difference_low", "difference_high", "pvalue", "pvalue_rank"))
    gaps |= {"pvalue_holm": None, "reason": None}
    told = spread(field, own._replace(over=group.over)) | gaps | {"source": group.source}
    if group is first:
        return ComparedField(**told, against=None)
    told |= {"against": first.source}
    if before is None:
        return ComparedField(**told | {"reason": "the first group has no such value"})
    gap = welch(before.values, own.values)
    told |= {"difference": gap.difference, "difference_low": gap.low, "difference_high": gap.high}
    told |= {"pvalue": gap.pvalue, "reason": gap.reason}
    if min(len(before.values), len(own.values)) > 1:
        told["pvalue_rank"] = rank_test(before.values, own.values)
    return ComparedField(**told)


def _with_holm(rows: Sequence[ComparedField]) -> Reports[ComparedField]:
    pvalues = {place: row.pvalue for place, row in enumerate(rows) if row.pvalue is not None}
    found = dict(zip(pvalues, holm(list(pvalues.values())), strict=True)) if pvalues else {}
    return Reports(
        replace(row, pvalue_holm=float(found[place])) if place in found else row for place, row in enumerate(rows)
    )


def _curves(groups: Sequence[Group], fields: Sequence[str]) -> list[LearningCurve]:
    """By epoch, the mean of each field and group over the runs that have it then; of rows without epochs none."""
    curves = []
    for field in fields:
        for group in groups:
            by_epoch: dict[int, list[float]] = {}
            for run in group.runs:
                for row in run.rows:
                    if isinstance(row.get(EPOCH), int) and (value := number_of(row | {"run": 0}, field)) is not None:
                        by_epoch.setdefault(row[EPOCH], []).append(value)
            if by_epoch:
                epochs = sorted(by_epoch)
                values = [by_epoch[epoch] for epoch in epochs]
                means = tuple(math.fsum(one) / len(one) for one in values)
                ends = tuple(map(min, values)), tuple(map(max, values))
                curves.append(LearningCurve(group.title, len(group.runs), field, tuple(epochs), means, *ends))
    return curves
