"""Activations that are mostly 0, at the edge of chaos: who explodes before training, and who learns the digits.

`python tests/benchmarks/bench_edge_of_chaos.py PART ...` prints one line a network, of these parts, or all but deep:

- forward (half a minute): ten seeds of 30 weight matrices before training, the mean q of the last hidden layer;
- train: three seeds trained for 20 epochs, 14 s of one core a run;
- weights: Gaussian against orthogonal weights, dense and sparse, clipped at slope 0.7;
- deep: 100 weight matrices, a minute of one core a run.
"""

import sys
import time

import torch

from sao_cli.base.errors import SaoError
from sao_cli.nets.training.data import load_data
from sao_cli.nets.training.hidden_signals import hidden_signals
from sao_cli.nets.training.loop import DivergedError, Training
from sao_cli.nets.training.settings import TrainingSettings

CUT = {"activation_sparsity": 0.85}  # share of zeros
SEEDS, RATE = (0, 1, 2), 3e-3
ENDS = {"depth": 29, "width": 300}  # 30 weight matrices: the first, 28 of 300 x 300, the last
TRAINED = (
    {"activation": "relu-tau", "learning_rate": 1e-3},
    {"activation": "soft-threshold", "learning_rate": 1e-3},
    {"activation": "crelu", "slope": 0.7},
    {"activation": "crelu", "slope": 0.7, "learning_rate": 1e-3},
    {"activation": "cst", "slope": 0.7},
    {"activation": "cst", "slope": 0.7, "learning_rate": 1e-3},
    {"activation": "cst", "slope": 0.9},
    {"activation": "crelu", "slope": 0.5},
    {"activation": "crelu", "slope": 0.5, "activation_sparsity": 0.95},
)
OF_WEIGHTS = (
    {"init": "orthogonal"},
    {"method": "rg-n", "d": 20},
    {"method": "sao", "d": 20},
    {"method": "rg-n", "d": 60},
    {"method": "sao", "d": 60},
)
DEEP = (
    {"slope": 0.7, "learning_rate": 3e-3},
    {"slope": 0.7, "learning_rate": 1e-3},
    {"slope": 0.5, "learning_rate": 1e-3},
    {"slope": 0.7, "learning_rate": 1e-3, "init": "orthogonal"},
    {"slope": 0.3, "learning_rate": 1e-3},
    {"slope": 0.7, "learning_rate": 1e-3, "epochs": 60},
    {"slope": 0.7, "learning_rate": 1e-3, "activation_sparsity": 0.7},
    {"slope": 0.7, "learning_rate": 1e-3, "activation_sparsity": 0.5},
)


def forward(activation: str, **told: float) -> None:
    """Mean q of all training images in the last hidden layer, ten seeds."""
    found = []
    for seed in range(10):
        settings = TrainingSettings(**ENDS, **CUT, activation=activation, seed=seed, **told)
        training = Training(settings, load_data(TrainingSettings()), device="cpu")
        found.append(hidden_signals(training.model.net, training._batches.all_train()).by_layer[-1].q_mean)
    past = sum(q > 10 for q in found)
    print(f"| {activation} {told} | {past} of 10 | {min(found):.3g} to {max(found):.3g} |", flush=True)


def train(told: dict, seed: int) -> None:
    """Train to the end, or until it diverges."""
    settings = TrainingSettings(**{**ENDS, **CUT, "seed": seed, "learning_rate": RATE, "jacobian_at": (), **told})
    start, training, end = time.process_time(), None, ""
    try:
        training = Training(settings, load_data(settings), device="cpu")
        for _ in training.epochs():
            pass
    except DivergedError as error:
        end = f"diverged: {error}"
    except SaoError as error:
        print(f"| {told} | {seed} | {error} |", flush=True)
        return
    rows = training.rows
    accuracy = [row["test_accuracy"] for row in rows]
    zeros = [row["signals"]["activation_sparsity"] for row in rows]
    first = f"loss {rows[0]['train_loss']:.3g}, zeros {zeros[0]:.3f}" if rows else ""
    last = f"{accuracy[-1]:.3f} (best {max(accuracy):.3f}), zeros {zeros[-1]:.3f}" if rows else ""
    print(f"| {told} | {seed} | {first} | {last} | {time.process_time() - start:.0f} s | {end}", flush=True)


def main(parts: list[str]) -> None:
    """The parts in turn."""
    torch.set_num_threads(1)
    if "forward" in parts:
        for told in ({"activation": "relu-tau"}, {"activation": "soft-threshold"}):
            forward(**told)
        for told in ({"activation": "crelu", "slope": 0.5}, {"activation": "cst", "slope": 0.7}):
            forward(**told)
    for part, several in (("train", TRAINED), ("weights", OF_WEIGHTS)):
        for told in several if part in parts else ():
            for seed in SEEDS:
                train({"activation": "cst", "slope": 0.7} | told if part == "weights" else told, seed)
    for told in DEEP if "deep" in parts else ():
        train({"activation": "cst", "depth": 99} | told, 0)


if __name__ == "__main__":
    main(sys.argv[1:] or ["forward", "train", "weights"])
