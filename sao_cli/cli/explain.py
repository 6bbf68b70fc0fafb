"""`sao explain`: what a name means."""

from typing import TYPE_CHECKING

import click

from sao_cli.cli.shared.command import SaoCommand
from sao_cli.cli.shared.options import common_options
from sao_cli.cli.shared.render import emit

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Explained(click.ParamType):  # type: ignore[type-arg]  # which only newer versions of click let one name
    """Any name that can be explained; shells complete it."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        from sao_cli.reports.explanations import topics

        known = dict.fromkeys(name for topic in topics() for name in topic.names)
        return [CompletionItem(name) for name in known if name.startswith(incomplete)]


@click.command(cls=SaoCommand)
@click.argument("name", metavar="[NAME]", type=Explained(), required=False)
@common_options
def explain(name: str | None, seed: int, as_json: bool | None, output: str | None) -> None:
    """Tell what a name means: a key of a report, a method, a scheme, a score, an activation, a verdict, a word of the
    field.

    NAME is told in a sentence, with its unit or equation, the option that takes it, the reports that have it and the
    section of docs/theory.md; "ks.pvalue" is a key of a part. A name that means several things has a row for each.
    Without NAME: the topics, with all names that there are; a topic is a NAME too.

    Exit codes: 0 told, 2 there is no such name; the nearest ones are said.

    Example: sao explain isometry_error --json | jq -r .unit
    """
    from sao_cli.reports.explanations import Explanation, TopicNames, topics
    from sao_cli.reports.explanations import explain as explained

    report = TopicNames if name is None else Explanation
    rows = (one.to_dict() for one in (topics() if name is None else explained(name)))
    emit("explain", seed, rows, as_json=as_json, output=output, report=report)
