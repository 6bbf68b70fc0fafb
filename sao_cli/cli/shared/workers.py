"""--jobs and --cluster: on which executor a command's calls run."""

from typing import Any

import click


class Address(click.ParamType):  # type: ignore[type-arg]  # as types.Named
    """Where a scheduler listens."""

    name = "address"


def executor_options(command: Any) -> Any:
    """--jobs and --cluster, which the command gets as `jobs` and `cluster`."""
    jobs = click.option(
        "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that work at once."
    )
    cluster = click.option(
        "--cluster",
        metavar="ADDRESS",
        type=Address(),
        help="A Dask scheduler whose workers do it, as tcp://127.0.0.1:8786.",
    )
    return jobs(cluster(command))
