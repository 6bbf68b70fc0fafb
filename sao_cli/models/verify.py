"""The eigenvalue conditions of each mask of a stack, here or on an executor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sao_cli.base.in_order import run_in_order
from sao_cli.base.progress import Progress, silent
from sao_cli.base.threads import one_thread
from sao_cli.data.mask import Mask
from sao_cli.measure.graph.expansion import expansion
from sao_cli.reports.masks import Expansion

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from sao_cli.models.places import StackPlace


def expansions(
    masks: Sequence[Mask],
    *,
    criterion: str = "paper",
    seed: int = 0,
    executor: Executor | None = None,
    place: StackPlace | None = None,
    progress: Progress = silent,
) -> Iterator[Expansion]:
    """The `expansion` of each mask, in their order, as soon as it is there.

    An `executor` measures one a job: the mask travels to it, or, of workers that see the file, the `place` that it is
    read from. Its linear algebra has one thread wherever it is measured, so that the rows are the same bits. Raises as
    `expansion` does, LostJobError where a worker dies whenever it tries.
    """
    asked: dict[str, Any] = {"criterion": criterion, "seed": seed}
    if executor is None:
        yield from (one_expansion(mask, progress=progress, **asked) for mask in masks)
    elif place is None:
        jobs: list[dict[str, Any]] = [{"mask": mask, **asked} for mask in masks]
        yield from run_in_order(executor, f"{__name__}:one_expansion", jobs, progress, what="masks")
    else:
        jobs = [{"place": place, "number": number, **asked} for number in range(len(masks))]
        yield from run_in_order(executor, f"{__name__}:placed_expansion", jobs, progress, what="masks")


def one_expansion(mask: Mask, **asked: Any) -> Expansion:
    """The `expansion` of a mask, with one thread; closed forms take no linear algebra, and need not ask for it."""
    with one_thread() if mask.groups is None else nullcontext():
        return expansion(mask, **asked)


def placed_expansion(place: StackPlace, number: int, **asked: Any) -> Expansion:
    """`one_expansion` of the mask of this number, from 0, of the stack that lies there."""
    return one_expansion(place.stack().masks()[number], **asked)
