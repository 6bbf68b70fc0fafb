"""Reports on a grid of runs: those that failed, and a field's mean and spread over the seeds."""

from typing import Any

from sao_cli.reports.report import Report, fact


class RunFailure(Report, record="failure", table="run over exit_code reason"):
    """A run of `sao sweep` that gave no result, in the place of its rows."""

    run: int = fact("number of the run in the grid, from 1")
    over: dict[str, Any] = fact("the parameters that the grid varies, and their values in this run")
    exit_code: int | None = fact("its exit code; null where its process died, wherever it was tried")
    reason: str = fact("the last line that it said on stderr")


class SeedSpread(Report):
    """A field over the seeds of runs that have all other parameters in common."""

    over: dict[str, Any] = fact("the parameters but for `seed`, and their values")
    of: dict[str, Any] = fact("which of a run's rows it is of, where it has several: layer, activation ...")
    field: str = fact("the field; of the epochs of a run, the last one's")
    mean: float = fact("mean over the runs that have it", unit="sum(x)/n")
    std: float | None = fact(
        "standard deviation over them; null of fewer than two", unit="sqrt(sum((x - mean)^2)/(n - 1))"
    )
    least: float = fact("the least of them")
    largest: float = fact("the largest of them")
    count: int = fact("runs that have it")
    failed: int = fact("runs that failed")


class SweepSummary(SeedSpread, record="summary", table="over of field mean std least largest count failed"):
    """A field over the seeds of a sweep, of runs that have all other parameters in common."""

    summary: bool = fact("true: such lines close the report", default=True)
