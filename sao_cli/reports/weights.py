"""Reports on weights that were put on a mask: isometry reached, distance from what was there."""

from __future__ import annotations

from typing import Never

from sao_cli.data.arrays import Values
from sao_cli.reports.masks import Layered, LayerSize, MaskCounts
from sao_cli.reports.report import Report, fact


class Fit(Report, theory=8):
    """How far a matrix W is from an isometry, or, where there is a `gain`, W / gain."""

    residual: float = fact(
        "how far from an isometry",
        unit="||W W^T - I||_F for m <= n, else ||W^T W - I||_F; the root of sum (s_i^2 - 1)^2",
    )
    effective_ones: float | None = fact(
        "participation ratio of a row, the mean over rows that have a one; 1 of a permutation, at most the degree",
        unit="(sum w^2)^2 / sum w^4",
    )
    sigma_min: float = fact("least of the min(m, n) singular values")
    sigma_max: float = fact("largest of the min(m, n) singular values")


class Steps(Report, theory=8):
    """How near the mask lets its values come, and how they were brought there; see weights.isometry."""

    residual_floor: float = fact(
        "residual below which no values on this mask come", unit="sqrt(min(m, n) - structural_rank)"
    )
    structural_rank: int = fact("size of a maximum matching of the mask, the most that the rank can be")
    steps: int = fact("projections that the component with the most of them took")
    stopped: str = fact("why the component that contributes most to the residual took no more steps")


class Isometry(Steps, Fit):
    """Values on an (m, n) mask, and how far the matrix W that they make is from an isometry: what `isometry` gives."""

    values: Values = fact("(nnz,) float64, row by row, none of them 0", repr=False)


class Distance(Fit):
    """How far a matrix W is from `gain` times an isometry; `residual` and `effective_ones` are of W / gain."""


class RepairFacts(Steps, theory=13):
    """What a repair did to a weight W; "worse" is one more reason to stop, where no step brought W nearer."""

    nnz: int = fact("weights that are not zero")
    before: Distance = fact("how far it was from an isometry")
    after: Distance = fact("how far it is")
    gain: float = fact("what it is to be an isometry times")
    change: float = fact("how much the weights changed", unit="||W' - W||_F / ||W||_F")


class Repair(RepairFacts):
    """What a repair did, and the weight that it made: what `repair` gives."""

    weight: Values = fact("W', of W's shape, float64", repr=False)


class Built(
    MaskCounts[Never],
    LayerSize[Never],
    Layered,
    record="layer",
    table="layer m n c d nnz sparsity method values scheme shape",
    theory=8,
):
    """A mask, a weight or a kernel that was built: a line of the summary of `sao mask`, `sao weights`, `sao kernel`.

    What its construction does not tell is left out of its line; the rest of its provenance is in what was written.
    """

    density: float = fact("share of ones", unit="nnz/(m n)")
    method: str | None = fact("method that made the mask", default=None)
    c: int | None = fact("column degree: ones of each column; null where columns vary", default=None)
    d: int | None = fact("row degree: ones of each row; null where rows vary", default=None)
    arrangement: str | None = fact("which groups of an SAO layer its rows and columns belong to", default=None)
    draws: int | None = fact("masks that were drawn until one was certified", default=None)
    stages: tuple[int, int] | None = fact("row degrees of the two SAO stages of a product", default=None)
    connected: bool | None = fact("the graph has one component", default=None)
    lambda_2: float | None = fact("second largest singular value of the mask, counted with multiplicity", default=None)
    base: int | None = fact("RadiX-Net: how many numbers its numeral system counts, N'", default=None)
    place: int | None = fact("RadiX-Net: place value of this layer's digit", default=None)
    values: str | None = fact("law of the values, where there are any", default=None)
    values_seed: int | None = fact("seed of the values, where it is another than the mask's", default=None)
    looks_linear: bool | None = fact("the layer is [[H, -H], [-H, H]]", default=None)
    gain: float | None = fact("factor on the values, where it is not 1", default=None)
    requested_sparsity: float | None = fact("share of zeros that was asked for", default=None)
    rotations: int | None = fact("Givens rotations that were multiplied", default=None)
    residual: float | None = fact("of approximate isometry: ||W W^T - I||_F, as Isometry tells", default=None)
    residual_floor: float | None = fact("residual below which no values on this mask come", default=None)
    structural_rank: int | None = fact("size of a maximum matching of the mask", default=None)
    effective_ones: float | None = fact("participation ratio of a row, the mean over rows", default=None)
    sigma_min: float | None = fact("least singular value", default=None)
    sigma_max: float | None = fact("largest singular value", default=None)
    steps: int | None = fact("projections", default=None)
    stopped: str | None = fact("why there were no more", default=None)
    scheme: str | None = fact("what made a kernel: delta, eco, soc, normal, uniform", default=None)
    size: tuple[int, ...] | None = fact("taps of a kernel along each axis", default=None)
    stride: tuple[int, ...] | None = fact("stride that an ECO kernel is for, along each axis", default=None)
    skew_size: tuple[int, ...] | None = fact("SOC: taps of the skew kernel that is exponentiated", default=None)
    terms: int | None = fact("SOC: terms of the exponential series", default=None)
    scale: float | None = fact("SOC: norm of the skew kernel that is exponentiated", default=None)
    error_bound: float | None = fact("SOC: how far its singular values are from 1 at most, times gain", default=None)
    dtype: str | None = fact("dtype of the values", default=None)
    shape: tuple[int, ...] | None = fact("shape of a kernel", default=None)
