"""Single layers of the SAO paper: its eigenvalues, reachability and singular values (Figs. 7 to 10, Table 6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sao_cli.masks.build_masks import mask_stack
from sao_cli.masks.sao import sao_mask
from sao_cli.measure.graph.expansion import expansion
from sao_cli.measure.layer.spectrum import compare_spectra
from sao_cli.measure.reach.reachability import reachability
from sao_cli.reports.spectra import LayerSpectrum
from sao_cli.study.papers.cells import CLAIM, LAW, Asked, Cell, CellGroup
from sao_cli.weights.build_weights import weight_stack

HOME = f"{__name__}:"
SIDE, DEGREE = 256, 4
SPARSITY, INPUT_STD = 0.992, 0.9  # of Table 6; the paper does not tell the inputs, and these fit it best
COLUMNS = {"SAO": "sao", "RG": "rg-s", "LMP": "lmp", "LRP": "lrp"}
ACTIVATIONS = ("linear", "tanh", "relu", "silu")
TABLE_6 = {
    "linear": ("1.00000", "4.23E-153", "4.23E-153", "4.23E-153"),
    "tanh": ("0.83958", "4.74E-107", "8.92E-54", "2.97E-102"),
    "relu": ("0.99998", "2.07E-30", "2.07E-30", "2.07E-30"),
    "silu": ("0.41603", "1.42E-96", "1.53E-62", "2.55E-93"),
}
FIG_7_SIDES = (128, 256, 512, 1024)


def fig7(asked: Asked) -> Iterator[CellGroup]:
    """Eigenvalues of SAO masks; the paper does not tell d, which is 4 here."""
    for n in FIG_7_SIDES:
        cells = (
            Cell(label=f"n = {n}: largest eigenvalue, d", paper=str(DEGREE), key="lambda_1", kind=LAW),
            Cell(label=f"n = {n}: second largest distinct one", paper="0", key="lambda_2_distinct", kind=LAW),
            Cell(
                label=f"n = {n}: the Ramanujan condition holds, eigenvalues counted with multiplicity",
                key="ramanujan",
                kind=CLAIM,
                unit="holds",
                evidence="the second largest is {lambda_2:g}, above {bound:.4g}: {components:.0f} components",
            ),
        )
        yield CellGroup(cells=cells, function=f"{HOME}eigenvalues", keywords={"n": n}, seeds=asked.count(3))


def eigenvalues(n: int, seed: int) -> dict[str, float | None]:
    """The facts of an n x n SAO mask."""
    found = expansion(sao_mask(n, n, DEGREE, seed=seed))
    keys = ("lambda_1", "lambda_2", "lambda_2_distinct", "bound", "components", "ramanujan")
    return {key: None if (value := getattr(found, key)) is None else float(value) for key in keys}


def fig8(asked: Asked) -> Iterator[CellGroup]:
    """The depth at which all inputs reach all outputs."""
    cells = (
        Cell(label="RG: the first depth at which all reach all", paper="5", key="full_at", kind=LAW, unit="layers"),
        Cell(
            label="magnitude pruning: at N = 5 some inputs reach not all outputs",
            key="pruned apart",
            kind=CLAIM,
            unit="holds",
        ),
    )
    yield CellGroup(cells=cells, function=f"{HOME}reached", seeds=asked.count(200 if asked.full else 40))


def reached(seed: int) -> dict[str, float | None]:
    """The first full depth of SAO masks, each drawn anew, and whether five pruned layers are short of it."""
    widths = [SIDE] * 13
    full_at = reachability(mask_stack(widths, method="sao", d=DEGREE, seed=seed)).summary.full_at
    pruned = weight_stack(widths[:6], method="lmp", sparsity=1 - DEGREE / SIDE, seed=seed)
    depths = reachability([weight.mask for weight in pruned]).depths
    return {"full_at": full_at, "pruned apart": float(depths[4].reachable < 1)}


def table6(asked: Asked) -> Iterator[CellGroup]:
    """The p-values of 16 KS tests against a dense orthogonal layer."""
    cells = tuple(
        Cell(label=f"{activation}, {column}", paper=paper, key=f"{activation} {column}", group=activation)
        for activation, row in TABLE_6.items()
        for column, paper in zip(COLUMNS, row, strict=True)
    )
    yield CellGroup(cells=cells, function=f"{HOME}pvalues", seeds=asked.count(200 if asked.full else 60))


def pvalues(seed: int) -> dict[str, float | None]:
    """The p-value of each method under each activation."""
    return {f"{one.activation} {_column(one)}": one.ks.pvalue for one in _spectra(seed) if one.ks is not None}


def fig9(asked: Asked) -> Iterator[CellGroup]:
    """Where pruning and Ramanujan layers have singular values that are 0."""
    cells = tuple(
        Cell(
            label=f"{column}, {activation}: some singular values are 0",
            key=f"{activation} {column}",
            kind=CLAIM,
            unit="holds",
            evidence=f"rank {{{activation} {column} rank:.0f}} of {SIDE}, the least "
            f"{{{activation} {column} least:.2g}}",
        )
        for activation in ACTIVATIONS
        for column in list(COLUMNS)[1:]
    )
    yield CellGroup(cells=cells, function=f"{HOME}null_values", seeds=asked.count(200 if asked.full else 20))


def null_values(seed: int) -> dict[str, float | None]:
    """Whether there are null singular values, the rank and the least of them."""
    found: dict[str, float | None] = {}
    for one in _spectra(seed):
        key = f"{one.activation} {_column(one)}"
        assert one.rank is not None
        told = {"": float(one.rank < SIDE), " rank": float(one.rank), " least": one.sigma_min}
        found |= {key + more: value for more, value in told.items()}
    return found


def fig10(asked: Asked) -> Iterator[CellGroup]:
    """SAO's singular values beside a dense layer's, which have the same law."""
    ones = [
        Cell(label=f"linear: {which} singular value", paper="1.000000", key=key, kind=LAW)
        for which, key in (("least", "sigma_min"), ("largest", "sigma_max"))
    ]
    means = [
        Cell(label=f"{activation}: mean of SAO's less that of the dense layer's", paper="0.000", key=activation)
        for activation in ACTIVATIONS[1:]
    ]
    cells = (*ones, *means)
    yield CellGroup(cells=cells, function=f"{HOME}beside_dense", seeds=asked.count(200 if asked.full else 20))


def beside_dense(seed: int) -> dict[str, float | None]:
    """The ends of SAO's linear spectrum, and by how much its mean is above the reference's under each activation."""
    rows = _spectra(seed, ("SAO",))
    found: dict[str, float | None] = {"sigma_min": rows[0].sigma_min, "sigma_max": rows[0].sigma_max}
    for row in rows[1:]:
        assert row.reference_values is not None
        found[str(row.activation)] = row.mean - float(np.mean(row.reference_values))
    return found


def _spectra(seed: int, columns: Sequence[str] = tuple(COLUMNS)) -> list[LayerSpectrum]:
    def draw(method: str) -> Any:
        return lambda one: weight_stack([SIDE, SIDE], method=method, sparsity=SPARSITY, seed=one)

    draws = {COLUMNS[column]: draw(COLUMNS[column]) for column in columns}
    return compare_spectra(draws, ACTIVATIONS, input_std=INPUT_STD, seed=seed)


def _column(row: LayerSpectrum) -> str:
    return next(column for column, method in COLUMNS.items() if method == row.method)
