"""The Jacobians of trained networks by depth (SAO, Fig. 11), whose numbers are drawn and not printed: its claims."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sao_cli.data.arrays import Values
from sao_cli.nets.jacobians.trained import TrainedRun
from sao_cli.nets.training.data import load_data
from sao_cli.nets.training.folder import RunFolder
from sao_cli.nets.training.loop import Training
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.study.papers.accuracy_tables import DEGREE, DEPTHS_7, FULL_FNN
from sao_cli.study.papers.cells import CLAIM, Asked, Cell, CellGroup

HOME = f"{__name__}:"
NEAR, SPREAD = 0.1, 0.1  # our reading of means that are close, and of variances that are low or large
METHODS = {
    **dict.fromkeys(("Dense", "SAO"), ("near", "low")),
    **dict.fromkeys(("RG-N", "RG-U"), ("near", "large")),
    "GMP-S": ("vanished",),
}
CLAIMS = {
    "near": f"the mean is within {NEAR} of 1",
    "low": f"the variance is below {SPREAD}",
    "large": f"the variance is above {SPREAD}",
    "vanished": f"the mean is within {NEAR} of 0",
}
# The text speaks of "each layer", the caption of the networks' Jacobian; they are not the same, so both are asked.
READINGS = {"layer": "a layer's singular values", "network": "the whole network's"}
SAMPLED, INPUTS = 8, 4  # layers of a network, spread evenly over its square ones, and test images
EPOCHS = {"digits": 5}  # of other data one


def fig11(asked: Asked) -> Iterator[CellGroup]:
    """Mean and variance of the singular values of each method's Jacobian, by depth."""
    data = asked.data_of("mnist")
    epochs = FULL_FNN if asked.full else EPOCHS.get(data, 1)
    for depth in asked.depths or (DEPTHS_7 if asked.full else DEPTHS_7[:1]):
        for method, claims in METHODS.items():
            target: dict[str, Any] = {} if method == "Dense" else {"sparsity": 1 - DEGREE / 256}
            settings = {"depth": depth, "method": method.lower(), "data": data, "epochs": epochs, **target}
            yield CellGroup(
                cells=tuple(_cells(f"N = {depth}, {method}", claims)),
                function=f"{HOME}moments_after_training",
                keywords={"settings": settings, "folder": None if data == "digits" else asked.folder},
                seeds=asked.count(1),
                data=data,
                own_data="mnist",
                scale=None if asked.full else f"{epochs} of {FULL_FNN} epochs",
            )


def _cells(network: str, claims: Sequence[str]) -> Iterator[Cell]:
    for reading, line in READINGS.items():
        for claim in claims:
            yield Cell(
                label=f"{network}, {line}: {CLAIMS[claim]}",
                key=f"{reading} {claim}",
                kind=CLAIM,
                unit="holds",
                evidence=f"mean {{{reading} mean:.3g}}, variance {{{reading} variance:.3g}}",
            )


def moments_after_training(settings: Mapping[str, Any], folder: str | None, seed: int) -> dict[str, float | None]:
    """Mean and variance of the singular values of single layers and of the network, after training, and the claims."""
    with tempfile.TemporaryDirectory() as there:
        run = _trained(TrainingSettings(**settings, seed=seed, jacobian_at=()), folder, there)
        stack, _ = run.layers()
        told: dict[str, Any] = {"x": run.samples(run.settings.data, folder, INPUTS), "device": "cpu"}
        square = [number for number, weight in enumerate(stack, 1) if weight.mask.m == weight.mask.n]
        some = np.unique(np.linspace(0, len(square) - 1, SAMPLED).round().astype(int))
        rows = list(run.jacobian([square[place] for place in some], by_layer=True, **told))
        [whole] = run.jacobian(**told)
    with np.errstate(under="ignore"):  # what is not resolved is 0, and of thousand pruned layers it nearly is
        layers, network = (10.0 ** np.stack([row.log10_values for row in of]) for of in (rows, [whole]))
    return {**_facts("layer", layers), **_facts("network", network)}


def _facts(reading: str, sigma: Values) -> dict[str, float | None]:
    mean, variance = float(sigma.mean()), float(sigma.var())
    found = {
        "mean": mean,
        "variance": variance,
        "near": float(abs(mean - 1) < NEAR),
        "low": float(variance < SPREAD),
        "large": float(variance > SPREAD),
        "vanished": float(mean < NEAR),
    }
    return {f"{reading} {key}": value for key, value in found.items()}


def _trained(settings: TrainingSettings, data_folder: str | None, there: str) -> TrainedRun:
    """The run of the settings, in the folder `there`."""
    settings, folder = settings.resolved(), RunFolder(there)
    training = Training(settings, load_data(settings, data_folder), device="cpu")
    training.prepare()
    folder.begin(settings, data_folder)
    for _ in folder.epochs(training):
        pass
    return TrainedRun.of(there)
