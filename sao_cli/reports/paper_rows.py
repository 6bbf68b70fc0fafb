"""Reports on the papers' tables and figures: which there are, and each number beside what is found here."""

from sao_cli.reports.report import Report, fact


class PaperItem(Report, record="item", table="item printed shows data takes takes_full", spare="takes_full printed"):
    """A table or a figure of a paper that can be made here: a line of `sao paper` without an ID."""

    item: str = fact("its ID, which `sao paper` takes")
    printed: str = fact("where it stands, and in which paper")
    shows: str = fact("what is measured")
    data: str | None = fact("the paper's data; null where it needs none")
    takes: str = fact("about how long it takes on one core, with what is at hand without a download")
    takes_full: str = fact("what --full is, the paper's own scale, and about how long that takes")


class PaperEntry(
    Report,
    record="entry",
    table="printed label unit paper here low high verdict reason",
    spare="unit printed low high",
):
    """One number, or one claim, of a paper beside what is found here: a line of `sao paper ID`.

    A claim is 1 where it holds and 0 where it does not. The verdict is computed (study.papers.paper_verdicts):
    reproduced where the paper's number, as it is rounded, is between `low` and `high`, on the paper's data at the
    paper's scale; refuted where something exact, or said of all networks, is otherwise; not reproduced, and why; not
    run, and why.
    """

    item: str = fact("the ID of the table or figure")
    printed: str = fact("where it stands, and in which paper")
    label: str = fact("which of its numbers, or what is claimed")
    unit: str | None = fact("unit of the numbers; null of plain ones, and `holds` of a claim")
    paper: float | None = fact("what the paper prints; null where that is no finite number")
    here: float | None = fact("what is found here: the median over seeds, or the exact number; null where not run")
    low: float | None = fact("the least over seeds")
    high: float | None = fact("the largest over seeds")
    verdict: str = fact("reproduced, refuted, not reproduced or not run")
    reason: str | None = fact("why it is that; null where there is nothing to add")
    seeds: int = fact("how many seeds; 0 of what no seed changes, and of what was not run")
    extent: str | None = fact("how much was trained or drawn, of the paper's how much; null where there is no scale")
    data: str | None = fact("the data here; null where there are none")
