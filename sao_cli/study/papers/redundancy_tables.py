"""Tables 1 and 2 of the paper on redundancy in the rank (Lee et al. 2021): what needs no training, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from sao_cli.nets.networks.fnn import fnn_widths
from sao_cli.study.papers.cells import EXACT, Asked, Cell, CellGroup

HOME = f"{__name__}:"
HIDDEN, INPUTS, CLASSES = 500, 784, 10
TOLD, NEEDED = 4, 5  # hidden layers, as section 5.1.1 prints them, and as Tables 1 and 2 need
AVERAGES = (  # of Table 2, layers 2 to 6: inputs, outputs
    ("413.95", "414.90"),
    ("400.20", "401.20"),
    ("351.40", "351.45"),
    ("346.85", "347.15"),
    ("10.00", "10.00"),
)
MISSING = "2,000 epochs of Fashion-MNIST with the RaRe loss, which `sao paper` does not train"
ACCURACIES = {"baseline": "90.45", "with Frobenius normalisation": "90.51", "with DLRA, lambda 20": "90.65"}


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
    for named, accuracy in ACCURACIES.items():
        yield CellGroup(cells=(Cell(label=f"{named}: accuracy", paper=accuracy, unit="%"),), missing=MISSING)


def sizes() -> dict[str, float | None]:
    """Weights and operations of a step forward, a multiplication and an addition a weight."""

    def weights(hidden: int) -> int:
        widths = fnn_widths(hidden, (INPUTS, HIDDEN, CLASSES))
        return sum(n * m for n, m in pairwise(widths))

    return {"weights": weights(NEEDED), "flops": 2 * weights(NEEDED), "printed": weights(TOLD)}


def table2(asked: Asked) -> Iterator[CellGroup]:
    """What the layers' average sizes come to, beside what the text prints; the sizes themselves are of training."""
    cells = (
        Cell(label="weights of the layers' average sizes", paper="0.97E+6", key="weights", kind=EXACT),
        Cell(
            label="share saved",
            paper="30.65",
            key="saved",
            unit="%",
            kind=EXACT,
            evidence="{weights:.0f} of {initial:.0f} weights stay",
        ),
    )
    yield CellGroup(cells=cells, function=f"{HOME}average_sizes")
    for layer, row in enumerate(AVERAGES, 2):
        for which, paper in zip(("inputs", "outputs"), row, strict=True):
            cell = Cell(label=f"layer {layer}: {which}", paper=paper)
            yield CellGroup(cells=(cell,), missing=MISSING)


def average_sizes() -> dict[str, float | None]:
    """Weights of Table 2's averages with the first layer whole, and the share of all that they save, in percent."""
    initial = sizes()["weights"]
    assert initial is not None
    weights = INPUTS * HIDDEN + sum(float(inputs) * float(outputs) for inputs, outputs in AVERAGES)
    return {"weights": weights, "initial": initial, "saved": 100 * (1 - weights / initial)}


def ablation(asked: Asked) -> Iterator[CellGroup]:
    """What each part of the method gives."""
    claims = ("1.99E-1", "3.72E-4")
    for (named, _), paper in zip(list(ACCURACIES.items())[1:], claims, strict=True):
        yield CellGroup(cells=(Cell(label=f"{named}: p-value against the baseline", paper=paper),), missing=MISSING)
