"""Digits after pruning at initialisation: methods side by side over seeds, with and without approximate isometry.

python tests/benchmarks/bench_pruning.py                            both networks, three seeds (a quarter of an hour)
python tests/benchmarks/bench_pruning.py --only snip --epochs 5     a part of it; --only takes networks and methods
python tests/benchmarks/bench_pruning.py --gammas                   what snip keeps at six variances (two minutes)
python tests/benchmarks/bench_pruning.py --gammas --mnist FOLDER    of MNIST too (five minutes more)
"""

import side_by_side as bench  # before torch: it sets the thread counts

# isort: split
import argparse
import statistics
import warnings
from typing import Any

import torch
from torch import nn

from sao_cli import SaoError, SaoWarning
from sao_cli.catalog import TRAIN_METHODS
from sao_cli.nets import Training, TrainingSettings, digits_like_mnist, inputs_like_mnist, variance_table
from sao_cli.nets.training.data import load_data
from sao_cli.nets.training.methods import dense_weight_of, prunable

torch.set_num_threads(1)
NETWORKS: dict[str, dict[str, Any]] = {
    "lenet300": {"arch": "lenet300"},
    "tanh7": {"depth": 7, "width": 100, "init": "vs-g"},
}
METHODS = ("snip", "grasp", "synflow", "erk", "magnitude", "random", "sao")
SPARSITIES = (0.9, 0.95, 0.98, 0.99)


def train(network: str, method: str, sparsity: float | None, isometry: bool, seed: int, epochs: int) -> Training:
    """A network after its last epoch."""
    sizes = NETWORKS[network] | ({} if TRAIN_METHODS[method].dense else {"init": None})
    asked: dict[str, Any] = {"isometry": isometry, "seed": seed, "epochs": epochs, "jacobian_at": ()}
    settings = TrainingSettings(method=method, sparsity=sparsity, **sizes, **asked)
    training = Training(settings, load_data(settings), device="cpu")
    for _ in training.epochs():
        pass
    return training


def weights(model: nn.Module) -> tuple[int, int]:
    """How many weights are not zero, and how many there are, the first and the last layer too."""
    found = [dense_weight_of(layer) for layer in prunable(model, all_layers=True)]
    return sum(int(one.count_nonzero()) for one in found), sum(one.numel() for one in found)


def cell(network: str, method: str, sparsity: float | None, isometry: bool, asked: argparse.Namespace) -> str:
    """Mean, least and largest test accuracy in percent, over the seeds; why there is none, where a method refuses."""
    try:
        runs = [train(network, method, sparsity, isometry, seed, asked.epochs) for seed in range(asked.seeds)]
    except SaoError as error:
        return str(error)
    found = [100 * run.rows[-1]["test_accuracy"] for run in runs]
    return f"{statistics.mean(found):.1f} ({min(found):.1f} to {max(found):.1f})"


def table(network: str, methods: list[str], asked: argparse.Namespace) -> None:
    """A Markdown table: a line for each method, without and with isometry where it can be repaired."""
    print(f"\n{network}, {asked.epochs} epochs; dense: {cell(network, 'dense', None, False, asked)} %\n")
    print("| method | isometry | " + " | ".join(f"{100 * one:g} %" for one in asked.sparsity) + " |")
    print("|---" * (2 + len(asked.sparsity)) + "|")
    for method in methods:
        for isometry in (False, True) if TRAIN_METHODS[method].before else (False,):
            cells = [cell(network, method, one, isometry, asked) for one in asked.sparsity]
            print(f"| {method} | {'yes' if isometry else 'no'} | " + " | ".join(cells) + " |", flush=True)


def count(network: str, methods: list[str], sparsities: list[float]) -> None:
    """The weights that stay, which are more where a method leaves the first and the last layer dense."""
    for method in methods:
        kept = [weights(train(network, method, one, False, 0, 0).model) for one in sparsities]
        print(f"{method} keeps {', '.join(str(left) for left, _ in kept)} of {kept[0][1]} weights")


def gammas(mnist: str | None) -> None:
    """A Markdown table: the dense network's Jacobian and the sparsity by layer after snip, by the weights' variance."""
    drawn = torch.Generator().manual_seed(0)
    gaussian = torch.randn(1000, 784, generator=drawn, dtype=torch.float64), torch.randint(10, (1000,), generator=drawn)
    print("| inputs | gamma | mean | std | CN | sparsity by layer |\n|---|---|---|---|---|---|")
    tables: dict[str, Any] = {"digits": (digits_like_mnist(), {}), "gaussian": (gaussian, {})}
    if mnist is not None:  # the Jacobians of all images together are beyond what is measured at once
        tables["mnist"] = inputs_like_mnist("mnist", mnist), {"jacobian_samples": 10000, "seeds": (0, 1, 2)}
    for inputs, (samples, options) in tables.items():
        for row in variance_table(*samples, **options):
            condition = "-" if row.condition_pooled is None else f"{row.condition_pooled:.3g}"
            sparsity = " ".join(f"{one:.2f}" for one in row.sparsity)
            told = f"{row.gamma:g} | {row.mean:.3g} | {row.std:.3g} | {condition} | {sparsity}"
            print(f"| {inputs} | {told} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", choices=(*NETWORKS, *METHODS), default=[])
    parser.add_argument("--sparsity", action="append", type=float)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--gammas", action="store_true")
    parser.add_argument("--mnist")
    asked = parser.parse_args()
    asked.sparsity = asked.sparsity or list(SPARSITIES)
    warnings.simplefilter("ignore", SaoWarning)  # of layers that collapse, which the accuracy shows
    if asked.gammas:
        gammas(asked.mnist)
        return
    networks = [one for one in NETWORKS if one in asked.only] or list(NETWORKS)
    methods = [one for one in METHODS if one in asked.only] or list(METHODS)
    for network in networks:
        print(f"\n{bench.seconds(lambda network=network: table(network, methods, asked)):.0f} s")
        count(network, methods, asked.sparsity)


if __name__ == "__main__":
    main()
