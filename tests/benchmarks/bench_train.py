"""Digits at depth: methods side by side over seeds, with the mean and the spread of the test accuracy.

With --step an epoch of 1000 layers on the digits, as SAO's blocks and as masked dense layers.

python tests/benchmarks/bench_train.py [FOLDER]                      depths 50 and 200, three seeds (half an hour)
python tests/benchmarks/bench_train.py FOLDER --depth 50 --seeds 1   a part of it; runs that are there are not repeated
python tests/benchmarks/bench_train.py --step                        an epoch of 1000 layers, blocks against masked
python tests/benchmarks/bench_train.py --start                       the first epoch's end against `import torch`
"""

import side_by_side as bench  # before torch: it sets the thread counts

# isort: split
import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

METHODS = ("dense", "sao", "rg-n", "gmp-s", "lmp-s")
DEPTHS = (50, 200)
STARTS = 5


def run(folder: Path, depth: int, method: str, seed: int) -> list[dict]:
    """The rows of a run, which is made where it is not there."""
    where = folder / f"{depth}-{method}-{seed}"
    density = [] if method == "dense" else ["--d", "4"]
    asked = ["train", "--depth", str(depth), "--method", method, *density, "--seed", str(seed), "-q", "-o", str(where)]
    if not (where / "final.safetensors").exists():
        subprocess.run([sys.executable, "-m", "sao_cli", *asked], check=True, stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in (where / "metrics.jsonl").read_text().splitlines()]


def spread(values: list[float]) -> str:
    """Mean, and the least and largest."""
    return f"{statistics.mean(values):6.1f} ({min(values):.1f} to {max(values):.1f})"


def table(folder: Path, depths: list[int], methods: list[str], seeds: int) -> None:
    """A line for each depth and method, over the seeds 0 .. seeds - 1."""
    print("depth method   test accuracy, %         train accuracy, %        s/epoch  log10 sigma_min..max: start, end")
    for depth in depths:
        for method in methods:
            runs = [run(folder, depth, method, seed) for seed in range(seeds)]
            last = [rows[-1] for rows in runs]
            test, train = ([100 * row[f"{part}_accuracy"] for row in last] for part in ("test", "train"))
            seconds = min(row["seconds"] for rows in runs for row in rows[1:])
            ranges = ", ".join(_range(runs[0][place]["jacobian"]) for place in (0, -1))
            print(f"{depth:5} {method:8} {spread(test):24} {spread(train):24} {seconds:7.2f}  {ranges}", flush=True)


def _range(jacobian: dict) -> str:
    return f"{jacobian['log10_sigma_min']:.1f}..{jacobian['log10_sigma_max']:.1f}"


def step(folder: Path) -> None:
    """Seconds an epoch of 1000 layers, in blocks and as masked dense layers, in turns."""
    seconds = {}
    for layers in ("blocks", "masked"):
        asked = ["train", "--depth", "1000", "--method", "sao", "--d", "4", "--storage", layers, "--epochs", "2"]
        where = folder / f"step-{layers}"
        subprocess.run(
            [sys.executable, "-m", "sao_cli", *asked, "--jacobian-at", "0", "-q", "-o", str(where)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        rows = [json.loads(line) for line in (where / "metrics.jsonl").read_text().splitlines()]
        seconds[layers] = min(row["seconds"] for row in rows[1:])
    bench.print_ratio("an epoch of 1000 layers on digits, blocks / masked", seconds["blocks"], seconds["masked"])


def start(folder: Path) -> None:
    """Processor seconds of whole processes: `sao train` to the end of its first epoch, and `import torch`."""
    asked = ["train", "--data", "digits", "--epochs", "1", "--jacobian-at", "none", "-q", "-o"]
    taken = []
    for _ in range(STARTS + 1):
        times = [_of_children()]
        with tempfile.TemporaryDirectory(dir=folder) as made:
            for run in (["-m", "sao_cli", *asked, f"{made}/start"], ["-c", "import torch"]):
                subprocess.run([sys.executable, *run], check=True, stdout=subprocess.DEVNULL)
                times.append(_of_children())
        taken.append([after - before for before, after in itertools.pairwise(times)])
    ours, torch = (statistics.median(side) for side in zip(*taken[1:], strict=True))
    bench.print_ratio("sao train, digits, to the end of its first epoch, against import torch", ours, torch, 2.0)


def _of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--depth", type=int, action="append")
    parser.add_argument("--method", action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--step", action="store_true")
    parser.add_argument("--start", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        folder = asked.folder or Path(aside)
        folder.mkdir(parents=True, exist_ok=True)
        if asked.step:
            step(folder)
        elif asked.start:
            start(folder)
        else:
            table(folder, asked.depth or list(DEPTHS), asked.method or list(METHODS), asked.seeds)


if __name__ == "__main__":
    main()
