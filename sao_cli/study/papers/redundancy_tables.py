"""Tables 1 and 2 of the paper on redundancy in the rank (Lee et al. 2021): sizes, and what training leaves of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from sao_cli.nets.experiments.rank_reduction import RareRuns, core_sizes, p_values_of, rare_ablation, rare_strengths
from sao_cli.nets.networks.fnn import fnn_widths
from sao_cli.study.papers.cells import CLAIM, EXACT, Asked, Cell, CellGroup, Measured

HOME = f"{__name__}:"
HIDDEN, INPUTS, CLASSES = 500, 784, 10
TOLD, NEEDED = 4, 5  # hidden layers, as section 5.1.1 prints them, and as Tables 1 and 2 need
AVERAGES = (  # of Table 2, layers 2 to 6: inputs, outputs, features
    ("413.95", "414.90", "417.00"),
    ("400.20", "401.20", "406.15"),
    ("351.40", "351.45", "359.30"),
    ("346.85", "347.15", "353.45"),
    ("10.00", "10.00", "10.00"),
)
SIZES = ("inputs", "outputs", "features")
KINDS = {  # what Table 1 and the experiment call a training, its accuracy, and the p-value of that
    "baseline": ("baseline", "90.45", None),
    "with Frobenius normalisation": ("+FN", "90.51", "1.99E-1"),
    "with DLRA, lambda 20": ("+DLRA", "90.65", "3.72E-4"),
}
DEVIATION = 0.97  # of what lambda_1 = 20 saves, over the paper's seeds
SAVED = {1.0: "10.41", 10.0: "27.22", 20.0: "30.65", 40.0: "34.22"}  # percent, by lambda_1 (section 5.2)
# Two thousand epochs of 20 seeds are the paper's, and days a network; of Fashion-MNIST one epoch is a minute.
FULL, FULL_SEEDS, DROPOUT = 2000, 20, 0.2
EPOCHS, SMALL = {"digits": 100}, 128  # of digits, whose hidden layers are SMALL; of other data one


def table1(asked: Asked) -> Iterator[CellGroup]:
    """Sizes of the network, of which one is printed in the text and another in the tables; accuracies."""
    cells = (
        Cell(label="baseline: weights", paper="1.40E+6", key="weights", kind=EXACT),
        Cell(label="baseline: FLOPs", paper="2.79E+6", key="flops", kind=EXACT),
        Cell(
            label="784-500-500-500-500-10, as section 5.1.1 prints it: weights",
            paper="1.40E+6",
            key="printed",
            kind=EXACT,
            evidence="five hidden layers have {weights:.0f}",
        ),
    )
    yield CellGroup(cells=cells, function=f"{HOME}sizes")
    for named, (kind, accuracy, _) in KINDS.items():
        trained = [Cell(label=f"{named}: accuracy", paper=accuracy, key="accuracy", unit="%", group="accuracy")]
        if kind == "+DLRA":
            trained.append(Cell(label=f"{named}: share saved", paper=SAVED[20.0], key="saved", unit="%"))
        yield _trained(trained, "trained", asked, {"kind": kind}, seeds=3)


def sizes() -> dict[str, float | None]:
    """Weights and operations of a step forward, a multiplication and an addition a weight."""

    def weights(hidden: int) -> int:
        widths = fnn_widths(hidden, (INPUTS, HIDDEN, CLASSES))
        return sum(n * m for n, m in pairwise(widths))

    return {"weights": weights(NEEDED), "flops": 2 * weights(NEEDED), "printed": weights(TOLD)}


def table2(asked: Asked) -> Iterator[CellGroup]:
    """What the layers' average sizes come to, beside what the text prints, and the sizes that training ends with."""
    cells = (
        Cell(label="weights of the layers' average sizes", paper="0.97E+6", key="weights", kind=EXACT),
        Cell(
            label="the share that these save is the printed 30.65 %, within its deviation of 0.97",
            key="as printed",
            kind=CLAIM,
            unit="holds",
            evidence="{saved:.4g} %: {weights:.0f} of {initial:.0f} weights stay",
        ),
    )
    yield CellGroup(cells=cells, function=f"{HOME}average_sizes")
    learnt = [
        Cell(label=f"layer {layer}: {which}", paper=paper, group="" if layer == 6 and which != "inputs" else which)
        for layer, row in enumerate(AVERAGES, 2)
        for which, paper in zip(SIZES, row, strict=True)
    ]
    yield _trained(learnt, "trained", asked, {"kind": "+DLRA"}, seeds=3)


def average_sizes() -> dict[str, float | None]:
    """Weights of Table 2's averages with the first layer whole, and the share of all that they save, in percent."""
    initial = sizes()["weights"]
    assert initial is not None
    weights = INPUTS * HIDDEN + sum(float(inputs) * float(outputs) for inputs, outputs, _ in AVERAGES)
    saved = 100 * (1 - weights / initial)
    printed = abs(saved - float(SAVED[20.0])) < DEVIATION
    return {"weights": weights, "initial": initial, "saved": saved, "as printed": float(printed)}


def ablation(asked: Asked) -> Iterator[CellGroup]:
    """What each part of the method gives: whether accuracies differ, and what is saved by how strong a loss."""
    tests = [
        Cell(label=f"{named}: p-value against the baseline", paper=paper, pooled=_p_value(kind))
        for named, (kind, _, paper) in KINDS.items()
        if paper is not None
    ]
    if asked.count(2) < 2:
        yield CellGroup(cells=tuple(tests), missing="a p-value is of two seeds at least: --seeds 2")
    else:
        yield _trained(tests, "accuracies", asked, {}, seeds=3)
    for strength, saved in SAVED.items():
        cell = Cell(label=f"lambda_1 = {strength:g}: share saved", paper=saved, key="saved", unit="%", group="lambda_1")
        yield _trained([cell], "fused", asked, {"strength": strength}, seeds=1)
    loss = Cell(
        label="the loss saves weights: more with lambda_1 = 20 than with 0",
        key="more",
        kind=CLAIM,
        unit="holds",
        evidence="{with:.3g} % with it and {without:.3g} % without",
    )
    yield _trained([loss], "saved_by_the_loss", asked, {}, seeds=1)


def _trained(
    cells: Sequence[Cell], function: str, asked: Asked, keywords: Mapping[str, Any], *, seeds: int
) -> CellGroup:
    """What networks of five hidden layers measure, the paper's on its data, narrower ones on digits."""
    data = asked.data_of("fashion-mnist")
    small, epochs = data == "digits", FULL if asked.full else EPOCHS.get(data, 1)
    width = SMALL if small else HIDDEN
    told = {"widths": (width,) * NEEDED, "epochs": epochs, "dropout": 0.0 if small else DROPOUT}
    shrunk = [f"hidden layers of {width}, no drop-out"] * small + [f"{epochs} of {FULL} epochs"] * (not asked.full)
    return CellGroup(
        cells=tuple(cells),
        function=f"{HOME}{function}",
        keywords={"training": {**told, "data": data}, "folder": None if small else asked.folder, **keywords},
        seeds=asked.count(FULL_SEEDS if asked.full else seeds if small else min(seeds, 2)),
        data=data,
        own_data="fashion-mnist",
        scale=", ".join(shrunk) or None,
    )


def trained(training: Mapping[str, Any], folder: str | None, kind: str, seed: int) -> dict[str, float | None]:
    """The accuracy of one kind of training and the share of its numbers that is saved, in percent, and final sizes."""
    [runs] = rare_ablation(kinds=[kind], folder=folder, seeds=(seed,), **training)
    told: dict[str, float | None] = {"accuracy": runs.accuracy()[0], "saved": runs.compression[0]}
    for row in core_sizes(runs):
        told |= {f"layer {row.layer}: {which}": getattr(row, which)[0] for which in SIZES}
    return told


def accuracies(training: Mapping[str, Any], folder: str | None, seed: int) -> dict[str, float | None]:
    """The accuracies of all kinds, in percent."""
    kinds = [kind for kind, _, _ in KINDS.values()]
    return {
        runs.name: runs.accuracy()[0] for runs in rare_ablation(kinds=kinds, folder=folder, seeds=(seed,), **training)
    }


def fused(training: Mapping[str, Any], folder: str | None, strength: float, seed: int) -> dict[str, float | None]:
    """The share of the numbers that a loss of that strength saves, in percent."""
    return {"saved": _saved(training, folder, seed, strength)[0]}


def saved_by_the_loss(training: Mapping[str, Any], folder: str | None, seed: int) -> dict[str, float | None]:
    """The shares that are saved with the loss and without it, by weight decay alone."""
    loss, decay = _saved(training, folder, seed, 20.0, 0.0)
    return {"with": loss, "without": decay, "more": float(loss > decay)}


def _saved(training: Mapping[str, Any], folder: str | None, seed: int, *strengths: float) -> list[float]:
    found: list[RareRuns] = rare_strengths(strengths, folder=folder, seeds=(seed,), **training)
    return [runs.compression[0] for runs in found]


def _p_value(kind: str) -> Callable[[Sequence[Measured]], float | None]:
    """The one-sided p-value of that kind against the baseline, which is what the paper prints."""

    def pooled(results: Sequence[Measured]) -> float | None:
        kinds, baseline = ([one[name] or 0.0 for one in results] for name in (kind, "baseline"))
        return p_values_of(kinds, baseline)[0]

    return pooled
