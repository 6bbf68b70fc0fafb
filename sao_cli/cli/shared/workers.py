"""--jobs and --cluster of commands that measure several things, each by itself."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from concurrent.futures import Executor


@contextlib.contextmanager
def asked_executor(jobs: int, cluster: str | None) -> "Iterator[Executor | None]":
    """The executor that --jobs and --cluster ask for; None where this process does it all."""
    if jobs == 1 and cluster is None:
        yield None
        return
    from sao_cli.study.executors import executor

    with executor(jobs, cluster) as pool:
        yield pool


def refuse_pipes(cluster: str | None, *sources: str | None) -> None:
    """Raise UsageError for standard input of a cluster, whose workers read files."""
    if cluster is not None and "-" in sources:
        told = "standard input is read here, and a cluster's workers read files"
        raise click.UsageError(f"--cluster: {told}; save it where they see it, and name that")


def refuse_module(jobs: int, cluster: str | None, module: str | None) -> None:
    """Raise UsageError for a --module, which runs in this process."""
    if module is not None and (jobs > 1 or cluster is not None):
        asked = "--jobs" if cluster is None else "--cluster"
        raise click.UsageError(f"{asked} measures elsewhere, and a --module runs here; leave out one of them")
