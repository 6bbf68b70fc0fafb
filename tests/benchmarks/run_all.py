"""All benchmarks of speed and memory, one after the other, recorded: what took how long, and what failed.

python tests/benchmarks/run_all.py             all in their default sizes
python tests/benchmarks/run_all.py --long      the parts that take many minutes each too
python tests/benchmarks/run_all.py reach io    these alone
python tests/benchmarks/run_all.py --list      what would be run
python tests/benchmarks/run_all.py --as-set start audit     with what the environment sets of PYTHONDONTWRITEBYTECODE,
                                               OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE, beside what is measured without

A benchmark that fails or takes longer than an hour keeps its old record, and so do those that are not run.
`python tests/benchmarks_page.py` makes docs/benchmarks.md of what is recorded.
"""

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from recording import SLOWING

HERE = Path(__file__).parent
EXPERIMENTS = ("edge_of_chaos", "experiments", "pruning", "transfer")  # which measure what networks learn, for hours
PARTS = {
    "audit": ("", "--large"),
    "jacobian": ("", "--train"),
    "train": ("--start", "--step"),
    "big": (),
}  # options, where there is not one run without
LONG = {"audit": ("--memory",), "growth": ("--long",), "verify": ("--fast",), "jobs": ("--smaller",), "big": ("",)}
LIMIT = 3600  # seconds


def commands(names: list[str], long: bool) -> list[list[str]]:
    """The command lines of these benchmarks, or of all."""
    known = [path.stem.removeprefix("bench_") for path in sorted(HERE.glob("bench_*.py"))]
    return [
        [f"{HERE / f'bench_{name}.py'}", *shlex.split(options)]
        for name in names or [name for name in known if name not in EXPERIMENTS]
        for options in (*PARTS.get(name, ("",)), *(LONG.get(name, ()) if long else ()))
    ]


def run(command: list[str], left_out: Sequence[str]) -> bool:
    """Whether a benchmark ends well within the limit, without these variables of the environment."""
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    told = [sys.executable, *command, "--record"]
    process = subprocess.Popen(told, env=environment, start_new_session=True)
    try:
        return process.wait(LIMIT) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        with contextlib.suppress(ProcessLookupError):  # it and what it started, where it has not ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--as-set", action="store_true")
    parser.add_argument("--list", action="store_true")
    asked = parser.parse_args()
    named = {" ".join([Path(one[0]).name, *one[1:]]): one for one in commands(asked.names, asked.long)}
    if asked.list:
        print(*named, sep="\n")
    else:
        sys.exit(not all(list(run_in_turn(named, () if asked.as_set else SLOWING))))


def run_in_turn(named: dict[str, list[str]], left_out: Sequence[str]) -> Iterator[bool]:
    """Whether each ends well; when all have, or it is interrupted, a line for each says so, with its time."""
    lines = []
    try:
        for name, command in named.items():
            print(f"\n== {name}", flush=True)
            start = time.perf_counter()
            well = run(command, left_out)
            lines.append(f"{time.perf_counter() - start:6.0f} s   {name}{'' if well else '   FAILED'}")
            yield well
    finally:
        print("", *lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()
