"""How each weight of a checkpoint is pruned, and what is told of it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli import __version__
from sao_cli.base.errors import InfeasibleError, SaoError, SaoWarning, unknown_name
from sao_cli.base.progress import Progress, silent
from sao_cli.data.mask import Mask
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.output import shown
from sao_cli.masks.degrees import density_of, kappa, kept_entries, resolve_degree
from sao_cli.masks.lrp import lrp_mask
from sao_cli.models.audit.row import audit_weight
from sao_cli.models.rewrite import NAMED, Choice, told_of
from sao_cli.pruning.scores.nearest_sao import projected_mask
from sao_cli.pruning.units import Threshold, global_threshold, keep_units, largest_units, unit_magnitudes

Row = dict[str, Any]

METHODS = ("lmp", "gmp", "lrp", "sao")
NEAR = 1.5  # ratio of densities up to which an SAO mask counts as one of the sparsity asked for, as in `sao audit`
_NOT_TOLD = {  # of an audit's facts: those that the row tells itself, and those by options that audits alone have
    *("name", "kind", "shape", "dtype", "m", "n", "near_zero", "groups", "skipped", "scheme", "image", "outputs"),
    *("transposed", "assumed", "masked_by", "tied_with", "digest"),
    *("padding", "stride", "dilation", "alpha", "xmin", "alpha_distance", "mp_edge", "outliers"),
}


@dataclass
class PruneTask:
    """What is asked for, and what came of it: `rows` by name, in the order in which weights are written."""

    method: str
    sparsity: float | None
    d: int | None
    seed: int
    facts: bool
    structure: Structure
    progress: Progress = silent
    rows: dict[str, Row] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)  # of each weight in the order of names, from 1: its seed
    places: dict[str, int] = field(default_factory=dict)  # of each weight among those that are pruned
    threshold: Threshold | None = None
    squares: list[tuple[float, float]] = field(default_factory=list)  # kept, and before, of each weight

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SaoError(unknown_name("unknown method", self.method, METHODS))
        if (self.sparsity is None) == (self.d is None):
            raise SaoError("give --sparsity or --d, one of them: how much is to be kept")
        if self.sparsity is not None:
            density_of(self.sparsity)
        if self.d is not None and self.d < 1:
            raise InfeasibleError(f"--d {self.d}; a row keeps 1 at least")

    def why_not(self, entry: Entry) -> str | None:
        """Why the weight can't be pruned as asked, as its shape and dtype tell."""
        if entry.dtype == "bool":
            return "booleans, which are a mask and no weights"
        if self.method == "sao" and (reason := self.structure.layout(entry).reason) is not None:
            return reason
        try:
            if self.method == "sao":
                return _not_near(*self._sides(entry), self._degree(entry), self.sparsity)
            if self.method != "gmp" or self.d is not None:
                self._kept(entry)
        except InfeasibleError as error:
            return str(error)
        return None

    def prepare(self, checkpoint: Checkpoint, entries: list[Entry]) -> None:
        """Find what has to be known of all weights before one of them can be pruned."""
        self.numbers = {name: number for number, name in enumerate(self.structure.order.names, 1)}
        self.places = {entry.name: place for place, entry in enumerate(entries)}
        if self.method == "gmp":
            sizes = [math.prod(entry.shape[2:]) for entry in entries]
            magnitudes = [partial(self._magnitudes, checkpoint, entry) for entry in entries]
            self.threshold = global_threshold(magnitudes, sizes, self._kept_of_all(entries), progress=self.progress)

    def change(self, entry: Entry, weight: NDArray[Any]) -> NDArray[Any]:
        """The weight (out, in/groups, ...) pruned; its row is kept in `rows`."""
        magnitudes = unit_magnitudes(weight)
        mask = self._mask(entry, weight, magnitudes)
        pruned = keep_units(weight, mask)
        scaled = np.square(magnitudes / (magnitudes.max() or 1.0))
        kept, total = float(scaled[mask.entry_rows, mask.indices].sum()), float(scaled.sum())
        peak = float(magnitudes.max())
        size = math.prod(entry.shape[2:]) * peak * peak
        self.squares.append((kept * size, total * size))
        self.rows[entry.name] = {
            **told_of(self.structure, entry),
            "method": self.method,
            "d": mask.provenance.get("d") if self.method == "sao" else None,
            "kept_norm": (share := kept / total if total else None),
            "kept_norm_bound": self._bound(mask, share),
            "before": self._facts(entry, weight),
            "after": self._facts(entry, pruned),
        }
        return pruned

    def _bound(self, mask: Mask, share: float | None) -> float | None:
        """What no SAO mask of this degree keeps more than; None for other methods, whose masks are as they are."""
        if self.method != "sao" or share is None:
            return None
        return max(share, float(mask.provenance.get("kept_norm_bound", share)))

    def told(self, entries: list[Entry]) -> dict[str, dict[str, Any]]:
        """The provenance of each weight."""
        asked = {"sparsity": self.sparsity} if self.d is None else {"d": self.d}
        told = {"version": __version__, "command": "prune", "method": self.method, **asked, "seed": self.seed}
        return {entry.name: told for entry in entries}

    def summary(self, choice: Choice, checkpoint: Checkpoint, dense_ends: list[str]) -> Row:
        """The last row: the pruned weights together, and with those that stay as they are.

        A SaoWarning tells of weights of which nothing is left.
        """
        empty = [shown(name) for name, row in self.rows.items() if not row["after"]["nnz"]]
        if empty:
            told = ", ".join(empty[:NAMED]) + (f" and {len(empty) - NAMED} more" if len(empty) > NAMED else "")
            text = f"nothing is left of {told}: no signal passes (layer collapse)"
            warnings.warn(text, SaoWarning, stacklevel=2)
        size = sum(math.prod(row["shape"]) for row in self.rows.values())
        left = sum(row["after"]["nnz"] for row in self.rows.values())
        kept, total = map(sum, zip(*self.squares, strict=True))
        whole, nonzero = (a + b for a, b in zip((size, left), self._unchanged(checkpoint), strict=True))
        return {
            "summary": True,
            "pruned": len(self.rows),
            "skipped": len(choice.skipped),
            "weights": size,
            "nnz": left,
            "asked_sparsity": self.sparsity,
            "sparsity": 1 - left / size,
            "all_weights": whole,
            "overall_sparsity": 1 - nonzero / whole,
            "dense_ends": sorted(dense_ends, key=self.numbers.__getitem__),
            "order": None if self.structure.order.reason else "numbered names",
            "kept_norm": kept / total if total else None,
        }

    def _unchanged(self, checkpoint: Checkpoint) -> tuple[int, int]:
        """How many numbers the weights have that stay as they are, and how many of them are not zero."""
        size = nonzero = 0
        done = set(self.rows)
        for entry in self.structure.entries:
            if entry.kind == "skipped" or done & {entry.name, *self.structure.tied_with(entry)}:
                continue
            done.add(entry.name)
            size += math.prod(entry.shape)
            try:
                nonzero += int(np.count_nonzero(checkpoint.read(entry)))
            except SaoError:  # NaN and the like, which are no zeros
                nonzero += math.prod(entry.shape)
        return size, nonzero

    def _mask(self, entry: Entry, weight: NDArray[Any], magnitudes: NDArray[Any]) -> Mask:
        if self.threshold is not None:
            return self.threshold.mask(self.places[entry.name], magnitudes)
        if self.method == "sao":
            return self._sao_mask(entry, weight, magnitudes)
        (m, n), seeds = magnitudes.shape, {"seed": self.seed, "layer": self.numbers[entry.name]}
        if self.method == "lrp":
            return lrp_mask(m, n, self._kept(entry), **seeds)
        return largest_units(magnitudes, self._kept(entry))

    def _sao_mask(self, entry: Entry, weight: NDArray[Any], magnitudes: NDArray[Any]) -> Mask:
        """The SAO mask of a weight, or those of a kernel's groups, one above the other."""
        degree, step = self._degree(entry), self._sides(entry)[0]
        seeds = {"seed": self.seed, "layer": self.numbers[entry.name]}
        masks = []
        for start in range(0, len(weight), step):
            own = _own_mask(magnitudes[start : start + step], degree)
            part = weight[start : start + step]
            masks.append(own or projected_mask(part, degree, progress=self.progress, **seeds))
        if len(masks) == 1:
            return masks[0]
        dense = [mask.to_dense() for mask in masks]
        return Mask.from_dense(np.concatenate(dense), masks[0].provenance)

    def _degree(self, entry: Entry) -> int:
        return resolve_degree(*self._sides(entry), "sao", d=self.d, sparsity=self.sparsity)

    def _sides(self, entry: Entry) -> tuple[int, int]:
        """Outputs and inputs of a weight, or of each of a kernel's groups."""
        layout = self.structure.layout(entry)
        m, n = layout.shape(entry.shape)[:2]
        return m // (layout.groups or 1), n

    def _kept(self, entry: Entry) -> int:
        m, n = self.structure.layout(entry).shape(entry.shape)[:2]
        return kept_entries(m, n, d=self.d, sparsity=self.sparsity)

    def _kept_of_all(self, entries: list[Entry]) -> int:
        """How many numbers of all weights together are kept."""
        if self.sparsity is not None:
            return kappa(sum(math.prod(entry.shape) for entry in entries), self.sparsity)
        return sum(math.prod(entry.shape[2:]) * self._kept(entry) for entry in entries)

    def _magnitudes(self, checkpoint: Checkpoint, entry: Entry) -> NDArray[Any]:
        return unit_magnitudes(self.structure.layout(entry).outputs_first(checkpoint.read(entry)))

    def _facts(self, entry: Entry, weight: NDArray[Any]) -> Row:
        nnz = int(np.count_nonzero(weight))
        counted = {"nnz": nnz, "sparsity": 1 - nnz / weight.size}
        if not self.facts:
            return counted
        dtype = entry.dtype if entry.dtype == "bfloat16" else None  # which numpy lacks
        try:
            groups = self.structure.layout(entry).groups
            row = audit_weight(
                weight, name=entry.name, dtype=dtype, groups=groups, seed=self.seed, progress=self.progress
            )
        except SaoError as error:  # a weight too large to measure can be pruned all the same
            return {**counted, "reason": str(error)}
        return {key: fact for key, fact in row.to_dict().items() if key not in _NOT_TOLD}


def _own_mask(magnitudes: NDArray[Any], degree: int) -> Mask | None:
    """The mask that the weight has, where that is an SAO mask already, as sparse as was asked for or sparser."""
    kept = (magnitudes != 0).sum(axis=1)
    if not 0 < kept.min() == kept.max() <= degree:
        return None
    mask = Mask.from_dense(magnitudes != 0, {"d": int(kept[0])})
    return mask if mask.groups is not None and mask.column_degrees.min() == mask.column_degrees.max() else None


def no_numbers(weight: NDArray[Any]) -> str | None:
    """Why an array is no weight."""
    return None if weight.dtype.kind in "iuf" else f"its numbers are of type {weight.dtype}"


def _not_near(m: int, n: int, d: int, sparsity: float | None) -> str | None:
    """Why the SAO mask of the nearest degree is none of the sparsity that was asked for."""
    if not sparsity:
        return None
    ratio = d / (n * (1 - sparsity))
    if d < n and abs(math.log(ratio)) <= math.log(NEAR) * (1 + 1e-9):
        return None
    nearest = "is dense" if d == n else f"has {1 - d / n:.6g}"
    why = f"the nearest {nearest}, since gcd({m}, {n}) = {math.gcd(m, n)}"
    return f"no SAO mask of {m} x {n} is near to sparsity {sparsity:g}: {why}"
