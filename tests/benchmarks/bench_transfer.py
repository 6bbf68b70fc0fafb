"""Pruning without labels, and by other data: test errors of tanh networks, over seeds.

python tests/benchmarks/bench_transfer.py                    of digits in MNIST's shape (four minutes on one core)
python tests/benchmarks/bench_transfer.py --mnist FOLDER     of 8,000 MNIST images too, and masks from one to the other
python tests/benchmarks/bench_transfer.py --hidden 3 --way uniform --way labels --seeds 1     a part of it
"""

import side_by_side as bench  # before torch: it sets the thread counts

# isort: split
import argparse
import statistics
import warnings
from typing import Any

import torch

from sao_cli import SaoWarning
from sao_cli.nets import WayErrors, transfer_errors, unsupervised_errors
from sao_cli.nets.experiments.unsupervised_pruning import WAYS

torch.set_num_threads(1)
EPOCHS = {"digits": 40, "mnist": 8}
RATES = {"digits": 0.01, "mnist": 0.1}
IMAGES = 8000  # of MNIST's 60,000


def cell(row: WayErrors) -> str:
    """Mean, least and largest test error in percent."""
    found = row.rates.test
    return f"{statistics.mean(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def unsupervised(asked: argparse.Namespace) -> None:
    """A Markdown table: a line a way, a column a data set and depth."""
    columns = [(data, depth) for data in asked.data for depth in asked.hidden]
    print("| mask | " + " | ".join(f"{data}, K = {depth}" for data, depth in columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for way in asked.way:
        rows = [
            row
            for data, depth in columns
            for row in unsupervised_errors(data, ways=[way], hidden=[depth], **read(data, asked))
        ]
        print(f"| {way} | " + " | ".join(map(cell, rows)) + " |", flush=True)


def transfer(asked: argparse.Namespace) -> None:
    """A Markdown table: a line a mask's data and way, a column a depth, for each of the data to train on."""
    print("| trained on | mask of | way | " + " | ".join(f"K = {depth}" for depth in asked.hidden) + " |")
    print("|---" * (3 + len(asked.hidden)) + "|")
    for data in asked.data:
        for other in asked.data:
            for way in ("labels", "uniform"):
                told = {"folder": asked.mnist, "images": IMAGES, **read(data, asked)}
                rows = transfer_errors(data, [other], ways=[way], hidden=asked.hidden, **told)
                print(f"| {data} | {other} | {way} | " + " | ".join(map(cell, rows)) + " |", flush=True)


def read(data: str, asked: argparse.Namespace) -> dict[str, Any]:
    """What is read of the data, and for how long it is trained on."""
    own = {} if data == "digits" else {"folder": asked.mnist, "images": IMAGES}
    return {"epochs": EPOCHS[data], "seeds": range(asked.seeds), "learning_rate": asked.rate or RATES[data], **own}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mnist")
    parser.add_argument("--hidden", action="append", type=int)
    parser.add_argument("--way", action="append", choices=tuple(WAYS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float)
    asked = parser.parse_args()
    asked.data = [data for data in EPOCHS if data == "digits" or asked.mnist]
    asked.hidden, asked.way = asked.hidden or [3, 7], asked.way or list(WAYS)
    warnings.simplefilter("ignore", SaoWarning)  # of layers that collapse, which the error shows
    print(f"{bench.seconds(lambda: unsupervised(asked)):.0f} s\n")
    if asked.mnist:
        print(f"{bench.seconds(lambda: transfer(asked)):.0f} s")


if __name__ == "__main__":
    main()
