"""The poster of activations that are mostly 0 (Price et al. 2024): the map of variances, and both failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sao_cli.measure.criticality.criticality import criticality
from sao_cli.nets.experiments.error_rates import error_rates
from sao_cli.nets.training.loop import DivergedError
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.study.papers.cells import CLAIM, LAW, Asked, Cell, CellGroup

HOME = f"{__name__}:"
FULL = 100  # epochs
SPARSE = 0.85  # share of zeros of what is measured; the poster's text tells none
UNCLIPPED = {"ReLU_tau": "relu-tau", "ST_tau": "soft-threshold"}
CLIPPED = {"CReLU_tau,m": "crelu", "CST_tau,m": "cst"}


def variance_map(asked: Asked) -> Iterator[CellGroup]:
    """At the edge of chaos, fixed points are half-stable without a clip, and stable with one."""
    for named, activation in UNCLIPPED.items():
        cells = (
            Cell(label=f"{named}: V'(q*) at the edge of chaos", paper="1.000000", key="slope", kind=LAW),
            Cell(
                label=f"{named}: the fixed point is half-stable",
                key="half-stable",
                kind=CLAIM,
                unit="holds",
                evidence="V' = {slope:.6g}, V'' = {curvature:.4g}",
            ),
        )
        told = {"activation": activation, "activation_sparsity": SPARSE, "slope": None}
        yield CellGroup(cells=cells, function=f"{HOME}fixed_point", keywords=told)
    for named, activation in CLIPPED.items():
        cell = Cell(
            label=f"{named}: a clip makes it stable",
            key="stable",
            kind=CLAIM,
            unit="holds",
            evidence="V' = {slope:.6g}",
        )
        told = {"activation": activation, "activation_sparsity": SPARSE, "slope": 0.7}
        yield CellGroup(cells=(cell,), function=f"{HOME}fixed_point", keywords=told)


def fixed_point(activation: str, activation_sparsity: float, slope: float | None) -> dict[str, float | None]:
    """V' and V'' at q* = 1, whether that is stable or half-stable, and how many fixed points there are."""
    told: dict[str, Any] = {} if slope is None else {"slope": slope}
    [row] = criticality(activation, activation_sparsity=activation_sparsity, depths=[30], **told)
    tolerance = 1e-6
    half = abs(row.slope - 1) < tolerance and abs(row.curvature) > tolerance
    return {
        "slope": row.slope,
        "curvature": row.curvature,
        "half-stable": float(half),
        "stable": float(row.slope < 1 - tolerance),
        "points": float(len(row.fixed_points)),
        "several": float(len(row.fixed_points) > 1),
    }


def failures(asked: Asked) -> Iterator[CellGroup]:
    """The two ways in which training fails."""
    for slope in (0.95, 0.5):
        large = slope > 0.9
        cell = Cell(
            label=f"CST_tau,m at V' = {slope}: "
            + ("a large m has several fixed points" if large else "a small m has one fixed point"),
            key="several" if large else "single",
            kind=CLAIM,
            unit="holds",
            evidence="{points:.0f} fixed points at {sparsity:.0%} zeros",
        )
        yield CellGroup(cells=(cell,), function=f"{HOME}fixed_points_at", keywords={"slope": slope})
    data = asked.data_of("mnist")
    cell = Cell(
        label="the network is too sparse (95 % zeros): training is unstable even for small m",
        key="fails",
        kind=CLAIM,
        unit="holds",
        evidence=lambda measured: f"test accuracy {_told(measured['accuracy'])}",
    )
    epochs = FULL if asked.full else 10
    yield CellGroup(
        cells=(cell,),
        function=f"{HOME}too_sparse",
        keywords={"data": data, "folder": asked.folder if data != "digits" else None, "epochs": epochs},
        seeds=asked.count(2),
        data=data,
        own_data="mnist",
        scale=None if asked.full else f"{epochs} of {FULL} epochs",
    )


def fixed_points_at(slope: float) -> dict[str, float | None]:
    """How many fixed points a clip of that slope leaves."""
    found = fixed_point("cst", SPARSE, slope)
    return {**found, "single": float(found["points"] == 1), "sparsity": SPARSE}


def too_sparse(data: str, folder: str | None, epochs: int, seed: int) -> dict[str, float | None]:
    """Whether a network of 95 % zeros fails: it diverges, or stays below 20 %."""
    settings = {"activation": "crelu", "activation_sparsity": 0.95, "slope": 0.5, "depth": 29, "width": 300}
    found = _accuracy({**settings, "data": data, "epochs": epochs, "learning_rate": 3e-3}, folder, seed)
    return {"accuracy": found, "fails": float(found is None or found < 20)}


def accuracies(asked: Asked) -> Iterator[CellGroup]:
    """The poster's figure of accuracies, whose numbers its text does not tell: what it claims of them."""
    data = asked.data_of("mnist")
    for activation in CLIPPED.values():
        cell = Cell(
            label=f"{activation}, 30 layers of 300, {SPARSE:.0%} zeros: accuracy is retained, within 5 % of ReLU's",
            key="retained",
            kind=CLAIM,
            unit="holds",
            evidence=lambda measured: f"{_told(measured['accuracy'])} beside {_told(measured['dense'])} of ReLU",
        )
        epochs = FULL if asked.full else 20 if data == "digits" else 1
        yield CellGroup(
            cells=(cell,),
            function=f"{HOME}retained",
            keywords={
                "activation": activation,
                "data": data,
                "folder": asked.folder if data != "digits" else None,
                "epochs": epochs,
            },
            seeds=asked.count(5 if asked.full else 1),
            data=data,
            own_data="mnist",
            scale=None if asked.full else f"{epochs} of {FULL} epochs",
        )


def retained(activation: str, data: str, folder: str | None, epochs: int, seed: int) -> dict[str, float | None]:
    """Accuracies in percent of a clipped network of mostly zeros, and of ReLU at its edge of chaos.

    One that diverged retains nothing; beside a ReLU network that did, nothing can be told.
    """
    told = {"depth": 29, "width": 300, "data": data, "epochs": epochs, "learning_rate": 1e-3}
    sparse = {**told, "activation": activation, "activation_sparsity": SPARSE, "slope": 0.7}
    relu = {**told, "activation": "relu", "method": "dense", "init": "vs-h"}
    accuracy, dense = (_accuracy(settings, folder, seed) for settings in (sparse, relu))
    kept = None if dense is None else float(accuracy is not None and accuracy > dense - 5)
    return {"accuracy": accuracy, "dense": dense, "retained": kept}


def _told(accuracy: float | None) -> str:
    return "none (training diverged)" if accuracy is None else f"{accuracy:.1f} %"


def _accuracy(settings: Mapping[str, Any], folder: str | None, seed: int) -> float | None:
    """The test accuracy in percent; None of a network whose training diverged, which has none."""
    try:
        rates = error_rates(TrainingSettings(**settings, jacobian_at=()), folder, seeds=(seed,))
    except DivergedError:
        return None
    return 100 - rates.test[0]
