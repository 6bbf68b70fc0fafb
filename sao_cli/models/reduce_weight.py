"""A weight of a checkpoint as it is fused, and the tensors that it is stored as then."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.data.precision import PRECISIONS, rounded_within
from sao_cli.io.checkpoints import Entry, Lazy
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.measure.redundancy.fusing import TAU_COS, TAU_EUC, Fused, fuse
from sao_cli.measure.redundancy.fusing_errors import FusingErrors, fusing_errors
from sao_cli.measure.redundancy.unit_vectors import FLOOR

WEIGHT = "weight"  # the last part of a name beside which indices and scales find their place
_ROUNDINGS = 4  # eps that the rounding of two multiples of one vector makes of the difference of their directions


@dataclass(frozen=True)
class Fusing:
    """What is fused, and how; with `lossless` only vectors that are multiples of each other to the rounding of dtype,
    and only zeros are removed."""

    rule: str
    tau_cos: float
    tau_euc: float
    floor: float
    lossless: bool = False

    @classmethod
    def asked(
        cls,
        rule: str,
        tau_cos: float | None,
        tau_euc: float | None,
        floor: float | None,
        lossless: bool,
        features: bool,
    ) -> Fusing | None:
        """What the options say; None where units alone are to go. SaoError for options that contradict each other."""
        given = {"--tau-cos": tau_cos, "--tau-euc": tau_euc, "--floor": floor}
        named = [name for name, value in given.items() if value is not None]
        if lossless and named:
            raise SaoError(f"--lossless admits exact merges only, and leaves no room for {' '.join(named)}")
        if features and tau_cos is None:
            if named:
                raise SaoError(f"{' '.join(named)}: --features fuses nothing unless --tau-cos is given too")
            return None
        if lossless:
            return cls(rule, 0.0, math.inf, 0.0, True)
        made = cls(
            rule,
            TAU_COS if tau_cos is None else tau_cos,
            TAU_EUC if tau_euc is None else tau_euc,
            FLOOR if floor is None else floor,
        )
        fuse(np.ones((1, 1)), **made.thresholds("float64"))  # what is out of range is refused now
        return made

    def thresholds(self, dtype: str) -> dict[str, Any]:
        """What `fuse` takes for a weight of that dtype."""
        eps = min(PRECISIONS.get(dtype, 0.0), PRECISIONS["float32"])  # of narrower types a multiple must be better
        tau_cos = (_ROUNDINGS * eps) ** 2 / 2 if self.lossless else self.tau_cos
        return {"tau_cos": tau_cos, "tau_euc": self.tau_euc, "floor": self.floor, "rule": self.rule}


class FusedWeight(NamedTuple):
    """A weight as it is stored: `fused` in the precision of the file, and how far its product is from what it was."""

    fused: Fused
    errors: FusingErrors

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return self.fused.fusions + self.fused.zero > 0


def why_not_fused(entry: Entry, structure: Structure, dense: bool) -> str | None:
    """Why a weight can't be kept as P W' Q, or with `dense` as their product; None where it can."""
    if entry.dtype == "bool":
        return "booleans, which are a mask and no weights"
    if entry.masked_by is not None:
        return f"{entry.masked_by} is multiplied in, and would not fit; make it permanent (prune.remove), then save"
    if dense:
        return None
    if entry.kind != "matrix":
        return "a kernel, whose rows and columns as P W' Q no layer reads; --dense writes their product"
    if tied := structure.tied_with(entry):
        return f"one weight with {', '.join(tied)}; --dense writes it under each of its names"
    if entry.name.rpartition(".")[2] != WEIGHT:
        return "its name does not end in .weight, beside which P and Q have their places; --dense writes their product"
    return None


def fused_weight(weight: NDArray[Any], dtype: str, fusing: Fusing, progress: Progress = silent) -> FusedWeight:
    """A matrix (m, n), or a kernel as one of c_out rows, fused and rounded to `dtype`: FusedWeight."""
    matrix = np.asarray(weight, dtype=np.float64).reshape(len(weight), -1)
    fused, _ = fuse(matrix, **fusing.thresholds(dtype), progress=progress)
    if fused.fusions + fused.zero == 0:
        return FusedWeight(fused, FusingErrors(0.0, 0.0))
    scales = scale_dtype(dtype)
    stored = replace(
        fused,
        weight=rounded_within(fused.weight, dtype),
        row_scale=rounded_within(fused.row_scale, scales),
        col_scale=rounded_within(fused.col_scale, scales),
    )
    return FusedWeight(stored, fusing_errors(matrix, stored, progress))


def scale_dtype(dtype: str) -> str:
    """In which scales are stored: as the weight, or in float32 where that is narrower, so that they add no error."""
    return dtype if dtype in ("float64", "float32") else "float32"


def factor_tensors(fused: Fused, stem: str, dtype: str) -> dict[str, Lazy]:
    """The indices and scales of P and Q by the names that a file has them under, beside `stem` + "weight"."""
    scales = scale_dtype(dtype)
    parts = {
        "row_index": (fused.row_index, "int64"),
        "row_scale": (fused.row_scale, scales),
        "col_index": (fused.col_index, "int64"),
        "col_scale": (fused.col_scale, scales),
    }
    return {stem + name: stored(array, kind) for name, (array, kind) in parts.items()}


def stored(array: NDArray[Any], dtype: str) -> Lazy:
    """An array to be written in `dtype`, held in no more than that takes."""
    narrow = array.astype("float32" if dtype == "bfloat16" else dtype, copy=False)
    return Lazy(narrow.shape, dtype, lambda: narrow)
