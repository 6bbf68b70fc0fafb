"""Reports on networks whose parallel rows and columns are fused while they are trained."""

from __future__ import annotations

from sao_cli.reports.report import Report, fact


class Fusion(Report, theory=18):
    """Two rows or columns of a layer that were made one in training; numbers are of W' before."""

    name: str = fact("name of the module in the network")
    axis: str = fact('"rows" or "columns"')
    kept: int = fact("place of the vector that stays, from 0, in W' as it was")
    dropped: int = fact("place of the one that goes, the longer of the two")
    cosine: float = fact("of the angle between them, signed")
    error: float = fact("what the layer's weight changed by", unit="||change||_F / ||W||_F")
    energy: float = fact("how much of the weight the two were", unit="(||w_i||^2 + ||w_j||^2) / ||W||_F^2")
    output_change: float | None = fact(
        "what the network's outputs changed by, at the samples of the step; null where none were given",
        unit="||change||_F / ||outputs||_F",
        default=None,
    )


class FactoredLayer(Report, theory=18):
    """A layer W = P W' Q as it stands in training."""

    name: str = fact("name of the module in the network")
    shape: tuple[int, ...] = fact("of the weight that it stands for", unit="(m, n)")
    core: tuple[int, ...] = fact("of W', which is trained", unit="(m', n')")
    fusions: int = fact("fusions so far", unit="m + n - m' - n'")
    zero_rows: int = fact("rows of W' that are zero, or below 1e-3 of the longest: they are left, and never fused")
    zero_columns: int = fact("columns of W' of which the same is true")


class RankReduction(Report, theory=18):
    """What fusing has made of a network: a part of a row of `sao train --rare`.

    Errors, energies and changes of outputs are of all fusions so far, so that those of the last row are the run's.
    """

    parameters: int = fact("numbers that are trained now, biases counted")
    fusions: int = fact("fusions so far")
    zero: int = fact("rows and columns that are zero, or below 1e-3 of the longest, and could still be fused")
    error_median: float | None = fact("median `error` of the fusions so far; null where there were none")
    error_max: float | None = fact("largest of these")
    energy_median: float | None = fact("median `energy` of the fusions so far: nearly 0 where what fuses is dead")
    output_change_max: float | None = fact("largest `output_change` of the fusions so far")
    cores: tuple[FactoredLayer, ...] = fact("the layers, first layer first")
    fused: tuple[Fusion, ...] = fact("the fusions of this epoch")
