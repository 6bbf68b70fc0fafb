"""Reports on several checkpoints or runs side by side, each with its difference from the first."""

from typing import NamedTuple

from sao_cli.reports.masks import MaskCounts
from sao_cli.reports.report import Report, fact
from sao_cli.reports.spectra import SpectrumFacts
from sao_cli.reports.sweeps import SeedSpread


class ComparedFacts(SpectrumFacts[None], MaskCounts[None], theory=13):
    """What layers are compared in, or by how much they differ in it."""

    dead_inputs: int | None = fact("inputs that no output reads: columns of zeros", theory=1, default=None)
    dead_outputs: int | None = fact("outputs that read no input: rows of zeros", theory=1, default=None)


class ComparedLayer(
    ComparedFacts,
    record="layer",
    table="name source status sparsity sigma_max sigma_min mean dead_inputs dead_outputs mask_overlap "
    "relative_distance differences.sigma_max differences.sigma_min",
    spare="differences.sigma_min differences.sigma_max mean dead_outputs dead_inputs status sigma_min",
    theory=13,
):
    """A layer in one of the checkpoints that are compared: a line of `sao compare`."""

    name: str = fact("name of the tensor")
    source: str = fact("the checkpoint that it is in")
    against: str | None = fact("the first checkpoint, which it is compared with; null of that one itself")
    shape: tuple[int, ...] | None = fact("shape, as it is stored; null where that is not known", default=None)
    status: str | None = fact('"same", "changed", "reshaped", "only before" or "only after"; null of the first')
    mask_overlap: float | None = fact(
        "share of the places that are not zero in either which are not zero in both", unit="|A and B|/|A or B|"
    )
    relative_distance: float | None = fact("how far the numbers are from the first's", unit="||B - A||_F/||A||_F")
    differences: ComparedFacts | None = fact("what each fact differs by: this one's minus the first's")
    reason: str | None = fact("why something is null", default=None)


class ComparedCheckpoint(Report, record="summary", theory=13):
    """One of the checkpoints that are compared, in a line: the last ones of `sao compare`."""

    summary: bool = fact("true: such lines close the report", default=True)
    source: str = fact("the checkpoint")
    against: str | None = fact("the first checkpoint, which it is compared with; null of that one itself")
    layers: int = fact("layers that were measured")
    statuses: dict[str, int] = fact("how many tensors have which status")
    overall_sparsity: float | None = fact("share of zeros in all of its layers together")
    mask_overlap: float | None = fact(
        "share of the places that are not zero in either which are not zero in both, over all layers of one shape",
        unit="|A and B|/|A or B|",
    )
    relative_distance: float | None = fact(
        "how far all numbers of these layers are from the first's", unit="||B - A||_F/||A||_F"
    )


class ComparedField(
    SeedSpread,
    record="field",
    table="source over of field mean std least largest count difference pvalue pvalue_holm",
    spare="pvalue_holm largest least std",
    theory=14,
):
    """A field over the seeds of one group of runs, and its difference from that of the first group: a line of
    `sao compare`."""

    source: str = fact("where the group's runs are")
    against: str | None = fact("the first group, which it is compared with; null of that one itself")
    difference: float | None = fact("by how much its mean is above the first group's", unit="mean - mean of the first")
    difference_low: float | None = fact("least difference with 95 % confidence, by Welch's t-test")
    difference_high: float | None = fact("largest difference with 95 % confidence, by Welch's t-test")
    pvalue: float | None = fact(
        "chance of such a difference, or a larger one, where means are equal; by Welch's t-test"
    )
    pvalue_holm: float | None = fact("the same after Holm's correction over all differences of the report", theory=10)
    pvalue_rank: float | None = fact("p-value of the Mann-Whitney test, which takes no law for granted")
    reason: str | None = fact("why something is null", default=None)


class LearningCurve(NamedTuple):
    """A field of a group of so many runs by epoch: its mean over the seeds, and the least and the largest."""

    title: str
    runs: int
    field: str
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    least: tuple[float, ...]
    largest: tuple[float, ...]
