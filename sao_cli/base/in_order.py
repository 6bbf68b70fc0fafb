"""Many calls of one function on any executor: few in flight, their results in the calls' order."""

from __future__ import annotations

import importlib
import queue
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sao_cli.base.errors import ExecutorError, LostJobError
from sao_cli.base.progress import Progress, silent

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

AHEAD = 16  # jobs that may be in flight, or done before their turn, on an executor that says nothing of it
GLANCE = 2.0  # seconds between two looks at an executor that gives no results

Function = str | Callable[..., Any]
Job = Mapping[str, Any]


def run_in_order(
    executor: Executor,
    function: Function,
    jobs: Sequence[Job],
    progress: Progress = silent,
    *,
    what: str = "runs",
    finished: Callable[[int, Any], None] | None = None,
    lost: Callable[[int, LostJobError], Any] | None = None,
) -> Generator[Any, None, None]:
    """The results of `function` called with the keywords of each job, in the jobs' order, whatever order they end in.

    `function` is named "package.module:name", so that nothing but the name travels, or is one that pickle can name.
    `executor` is any of concurrent.futures, or what `sao_cli.study.executors.executor` opens. At most `executor.ahead`
    jobs (16 where it does not say) are in flight or done before their turn, which bounds memory. As soon as a job is
    done, in any order, `finished` is called with its number from 0 and its result, and then `progress`. What is given
    back in the place of a job whose worker dies whenever it is tried, `lost` decides.

    The first error of a job is raised, LostJobError too without `lost`, and ends them all: those in flight are
    cancelled, as they are where the generator is closed or Ctrl-C interrupts it.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(run_in_order(pool, "builtins:dict", [{"a": 1}, {"a": 2}]))
    [{'a': 1}, {'a': 2}]
    """
    ahead: int = getattr(executor, "ahead", AHEAD)
    waiting: dict[Future[Any], int] = {}
    ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    results: dict[int, Any] = {}
    sent = done = 0
    try:
        for turn in range(len(jobs)):
            while turn not in results:
                while sent < min(turn + ahead, len(jobs)):
                    future = executor.submit(call, function, dict(jobs[sent]))
                    waiting[future] = sent
                    future.add_done_callback(ended.put)
                    sent += 1
                number, result = _result(executor, _next(executor, ended), waiting, lost)
                results[number] = result
                done += 1
                if finished is not None:
                    finished(number, result)
                progress(what, done, len(jobs))
            yield results.pop(turn)
    finally:
        for future in waiting:
            future.cancel()


def call(function: Function, keywords: dict[str, Any]) -> Any:
    """What `function` gives for the keywords: what a worker runs."""
    if not isinstance(function, str):
        return function(**keywords)
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)(**keywords)


def _next(executor: Executor, ended: queue.SimpleQueue[Future[Any]]) -> Future[Any]:
    """The future that ends next; meanwhile the executor may say that none will."""
    look: Callable[[], None] = getattr(executor, "look", lambda: None)
    while True:
        try:
            return ended.get(timeout=GLANCE)
        except queue.Empty:
            look()


def _result(
    executor: Executor,
    future: Future[Any],
    waiting: dict[Future[Any], int],
    lost: Callable[[int, LostJobError], Any] | None,
) -> tuple[int, Any]:
    number = waiting.pop(future)
    explained: Callable[[BaseException], BaseException] = getattr(executor, "explained", lambda error: error)
    if future.cancelled():
        raise explained(ExecutorError(f"job {number + 1} was cancelled"))
    if (error := future.exception()) is None:
        return number, future.result()
    told = explained(error)
    if isinstance(told, LostJobError) and lost is not None:
        return number, lost(number, told)
    if told is error:
        raise error
    raise told from error
