"""`sao paper`: the papers' tables and figures, each number beside what is found here."""

from collections.abc import Iterator
from typing import Any

import click

from sao_cli.base.names import one_of
from sao_cli.catalog import DATA
from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.forms import Form, asked_form
from sao_cli.cli.shared.options import common_options, executor_options
from sao_cli.cli.shared.paths import Folder
from sao_cli.cli.shared.render import Row, emit
from sao_cli.cli.shared.talk import Talk
from sao_cli.cli.shared.types import Named
from sao_cli.study.papers.paper_items import NAMES, items_of

HEADINGS = {"Items": "full data data_folder depths seeds"}


@click.command(cls=SaoCommand, headings=HEADINGS)
@click.argument("ids", metavar="[ID]...", nargs=-1, type=Named("item", NAMES))
@click.option("--full", is_flag=True, help="At the paper's own scale, for hours where networks are trained.")
@click.option(
    "--data",
    type=Named("data", DATA),
    metavar="NAME",
    help=f"{one_of(DATA)}.  [default: the paper's, where --data-folder is named, else digits]",
)
@click.option("--data-folder", metavar="FOLDER", type=Folder(), help="Where the data lie, of all but digits.")
@click.option(
    "--depth", "depths", type=int, multiple=True, help="Of a table with several; may be repeated.  [default: its least]"
)
@click.option("--seeds", type=int, help="How many, from --seed on.  [default: the item's]")
@executor_options
@common_options
@click.pass_obj
def paper(
    talk: Talk,
    /,
    ids: tuple[str, ...],
    data_folder: str | None,
    jobs: int,
    cluster: str | None,
    seed: int,
    as_json: bool | None,
    output: str | None,
    **asked: Any,
) -> None:
    """Make the papers' tables and figures anew, and tell each number beside the one in print.

    Without an ID: which there are, what each needs and how long it takes; `sao`, `snip`, `spp`, `eoc` and `rare` stand
    for all of a paper, and `all` for everything. A row is a number or a claim: the paper's, the median here with the
    least and the largest over seeds, and a verdict that is computed of them. "reproduced": the paper's number, as it is
    rounded, is within the spread, on the paper's data at the paper's scale. "refuted": what is exact, or said of all
    networks, is otherwise. "not reproduced" and "not run" come with a reason.

    Of several items, --data and --depth go to those that take them, and what --data-folder lacks is told, and done
    without. With --markdown it is tables, as docs/papers.md has them.

    Every number is measured in this very run, by calls of the library that --jobs or --cluster share out.

    Example: sao paper sao/table6 --seeds 20
    """
    markdown = asked_form() == Form("markdown")
    if not ids:
        _list(seed, as_json, output, markdown)
        return
    from sao_cli.reports.paper_rows import PaperEntry
    from sao_cli.study.executors import executor
    from sao_cli.study.papers.entries_markdown import item_markdown
    from sao_cli.study.papers.paper_entries import count_verdicts, paper_entries
    from sao_cli.study.papers.paper_options import options_of

    items, common = items_of(ids), {"full": asked["full"], "seeds": asked["seeds"], "seed": seed, "progress": talk}
    options = options_of(items, data=asked["data"], folder=data_folder, depths=asked["depths"], say=talk.say)
    found: list[PaperEntry] = []

    def rows() -> Iterator[list[PaperEntry]]:
        with executor(jobs, cluster) as there:
            for item in items:
                entries = paper_entries(item, **options[item], **common, executor=there)
                found.extend(entries)
                yield entries

    if markdown:
        _write(
            (item_markdown(entries[0].item, entries, _given(options[entries[0].item] | common)) for entries in rows()),
            output,
        )
    else:
        lines = (entry.to_dict() for entries in rows() for entry in entries)
        emit("paper", seed, lines, as_json=as_json, output=output, report=PaperEntry)
    talk.say(count_verdicts(found))


def _list(seed: int, as_json: bool | None, output: str | None, markdown: bool) -> None:
    from sao_cli.reports.paper_rows import PaperItem
    from sao_cli.study.papers.entries_markdown import items_markdown
    from sao_cli.study.papers.paper_entries import paper_items

    if markdown:
        _write(iter([items_markdown(paper_items())]), output)
        return
    rows: Iterator[Row] = (item.to_dict() for item in paper_items())
    emit("paper", seed, rows, as_json=as_json, output=output, report=PaperItem)


def _given(told: dict[str, Any]) -> str:
    """The options that an item was asked by, as a user would write them; a folder's name is the user's own."""
    words = ["--full"] * bool(told["full"])
    words += [f"--data {told['data']}"] * (told["data"] is not None)
    words += ["--data-folder FOLDER"] * (told["folder"] is not None)
    words += [f"--depth {depth}" for depth in told["depths"]]
    words += [f"--seeds {told['seeds']}"] * (told["seeds"] is not None)
    return " ".join(words)


def _write(sections: Iterator[str], output: str | None) -> None:
    from sao_cli.io.output import atomic_output

    with atomic_output("-" if output is None else output) as file:
        for number, section in enumerate(sections):
            file.write(("\n" * bool(number) + section).encode())
            file.flush()
