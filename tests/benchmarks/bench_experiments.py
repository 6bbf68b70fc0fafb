"""The experiments of SNIP and of its authors' second paper, as Markdown tables.

python tests/benchmarks/bench_experiments.py lenet300 --data mnist --data-folder FOLDER --epochs 20 --seeds 3
python tests/benchmarks/bench_experiments.py lenet5 --data mnist --data-folder FOLDER --epochs 12 --seeds 1
python tests/benchmarks/bench_experiments.py memorisation --data mnist --data-folder FOLDER --epochs 60 --rate 0.01
python tests/benchmarks/bench_experiments.py sculpting --data mnist --data-folder FOLDER --images 8000 --epochs 8
python tests/benchmarks/bench_experiments.py inputs --data mnist --data-folder FOLDER
"""

import side_by_side as bench  # before torch: it sets the thread counts

# isort: split
import argparse
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from sao_cli.io.datasets.samples import load_samples
from sao_cli.nets import ErrorRates, first_layer_counts, lenet_errors, memorisation_errors, sculpted_errors

torch.set_num_threads(1)
SPARSITIES = {"lenet300": (0.0, 0.95, 0.98), "lenet5": (0.0, 0.98, 0.99), "memorisation": (0.0, 0.9, 0.97, 0.99)}
GROWN = ((50, 50), (100, 100), (300, 300), (20,) * 6, (100,) * 6)
INK = 0.5  # of the brightest pixel


def over_seeds(errors: Sequence[float]) -> str:
    """Mean, least and largest."""
    return f"{statistics.mean(errors):.2f} ({min(errors):.2f} to {max(errors):.2f})"


def table(rows: Iterable[ErrorRates]) -> None:
    """A Markdown table, each row printed as soon as it is there."""
    print("| network | labels | sparsity | weights kept | biases | test error, % | training error, % |")
    print("|---" * 7 + "|")
    for row in rows:
        of = row.settings
        named = of.arch if of.arch != "fnn" else "-".join(map(str, of.hidden))
        told = f"{named} | {'random' if of.random_labels else 'true'} | {100 * (of.sparsity or 0):.3g} %"
        counts = f"{row.kept:,} of {row.weights:,} | {row.biases:,}"
        print(f"| {told} | {counts} | {over_seeds(row.test)} | {over_seeds(row.train)} |", flush=True)


def lenets(asked: argparse.Namespace, told: dict[str, Any]) -> None:
    of = SPARSITIES[asked.experiment]
    table(row for one in of for row in lenet_errors(asked.experiment, (one,), epochs=asked.epochs, **told))


def memorisation(asked: argparse.Namespace, told: dict[str, Any]) -> None:
    told |= {"epochs": asked.epochs, "images": asked.images or 1000, "learning_rate": asked.rate}
    table(row for one in SPARSITIES["memorisation"] for row in memorisation_errors((one,), **told))


def sculpting(asked: argparse.Namespace, told: dict[str, Any]) -> None:
    told |= {"epochs": asked.epochs, "images": asked.images}
    for biases in (False, True):
        print(f"\n{'weights and biases together' if biases else 'weights alone'} are as many\n")
        rows = (sculpted_errors(grown=[one], biases=biases, **told) for one in GROWN)
        table(row for place, found in enumerate(rows) for row in found[min(place, 1) :])


def inputs(asked: argparse.Namespace, told: dict[str, Any]) -> None:
    """How many weights of the first layer read a pixel: where the scored images have ink, and where none of them has.

    And how the counts go with the pixels' means, standardised: of each class they are nearly their absolute values.
    """
    told.pop("seeds")
    samples = load_samples(asked.data, asked.data_folder)
    x = samples.x[:, 0]
    bright = x > x.min() + INK * (x.max() - x.min())
    print("| scored | kept | where half have ink | where none has | correlation with abs(mean) |\n" + "|---" * 5 + "|")
    for row in first_layer_counts(sparsity=0.9, **told):
        scored = samples.y == row.label if row.label is not None else slice(None)
        share = bright[scored].mean(axis=0)
        most = min(0.5, share.max())
        reads = f"{row.counts[share >= most].mean():.1f} | {row.counts[share == 0].mean():.1f}"
        means = np.abs(x[scored].mean(axis=0)).ravel()
        found = np.corrcoef(means, row.counts.ravel())[0, 1]
        named = "all" if row.label is None else f"class {row.label}"
        print(f"| {named} | {row.kept:,} | {reads} | {found:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    of = {"lenet300": lenets, "lenet5": lenets, "memorisation": memorisation, "sculpting": sculpting, "inputs": inputs}
    parser.add_argument("experiment", choices=of)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-folder")
    parser.add_argument("--images", type=int)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    told = {"data": asked.data, "folder": asked.data_folder, "seeds": range(asked.seeds)}
    print(f"\n{bench.seconds(lambda: of[asked.experiment](asked, told)):.0f} s")


if __name__ == "__main__":
    main()
