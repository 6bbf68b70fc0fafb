"""The weights of a checkpoint as they are pruned, one after the other, and what is told of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli import __version__
from sao_cli.data.arrays import Booleans
from sao_cli.data.mask import Mask
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.formats.tensor_file import Path
from sao_cli.models.audit.reasons import UNMEASURED, said
from sao_cli.models.audit.tensor import Layer
from sao_cli.models.left import PlainStack, Tracer, WhatIsLeft
from sao_cli.models.opened import opened
from sao_cli.models.prune_facts import counted, weight_facts
from sao_cli.models.rewrite import told_of
from sao_cli.pruning.pruner import Prunable, Pruner
from sao_cli.pruning.rules import RulePruner
from sao_cli.pruning.scores.magnitude import unit_magnitudes
from sao_cli.pruning.units import keep_units
from sao_cli.reports.changes import PrunedWeight

Watch = Callable[[str, Booleans], None]


class PruneRun:
    """One checkpoint's pruning, and what came of it.

    `rows` are in the order in which weights are written, and `squares` the sums of squares kept and before of each."""

    watch: Watch | None = None

    def __init__(self, checkpoint: Checkpoint, structure: Structure, pruner: Pruner, facts: bool) -> None:
        self.checkpoint, self.structure, self.pruner, self.facts = checkpoint, structure, pruner, facts
        self.rows: list[PrunedWeight] = []
        self._numbers = {name: number for number, name in enumerate(structure.order.names, 1)}
        self._stack = PlainStack(structure)
        self.squares: list[tuple[float, float]] = []

    def why_not(self, entry: Entry) -> str | None:
        """Why the weight can't be pruned as asked, as its shape and dtype tell."""
        if entry.dtype == "bool" and isinstance(self.pruner, RulePruner):
            return "booleans, which are a mask and no weights"
        reason = self.structure.layout(entry).reason if self.pruner.by_degree else None
        return reason or self.pruner.why_not(self.prunable(entry))

    def prunable(self, entry: Entry) -> Prunable:
        """The weight as pruning sees it."""
        layout = self.structure.layout(entry)
        shape = layout.shape(entry.shape)
        m, n, *taps = shape if len(shape) > 1 else (*shape, 1)
        number, read = self._numbers.get(entry.name, 0), partial(self._read, entry)
        return Prunable(m, n, number, read, math.prod(taps), layout.groups or 1, entry.name, shape)

    def change(self, entry: Entry, weight: NDArray[Any]) -> tuple[NDArray[Any], PrunedWeight]:
        """The weight (out, in/groups, ...) pruned, and its row; a bias is a matrix of one column."""
        if weight.ndim == 1:
            pruned, row = self.change(entry, weight[:, None])
            self.rows[-1] = replace(row, kind="bias", collapsed=False)
            return pruned[:, 0], self.rows[-1]
        mask = self.pruner.mask(self.prunable(entry), weight)
        drawn = self.pruner.drawn(self.prunable(entry), weight)
        pruned = keep_units(drawn, mask)
        if self.watch is not None and len(entry.shape) > 1:
            self.watch(entry.name, pruned != 0)
        share = self._kept_norm(drawn, mask)
        layer = self._layer(entry, pruned)
        self._stack.add(entry, layer)
        row = PrunedWeight(
            **told_of(self.structure, entry),
            method=self.pruner.method,
            d=mask.provenance.get("d"),
            kept_norm=share,
            kept_norm_bound=self._bound(mask, share),
            before=self._measured(entry, weight),
            after=self._measured(entry, pruned),
            kept=mask.nnz * (weight.size // (mask.m * mask.n)),
            effective=None,  # which all weights tell together
            effective_sparsity=None,
            collapsed=not layer.nnz,
            dead_inputs=self._dead_inputs(entry, layer),
            dead_outputs=int(np.count_nonzero(layer.pattern.row_degrees == 0)),
        )
        self.rows.append(row)
        return pruned, row

    def left(self, written: Path, network: Tracer | None) -> WhatIsLeft:
        """What is left, by the `network` of what was written, or by the names of a plain stack."""
        if network is None:
            return self._stack.left(lambda entry: self._layer(entry, self._read(entry)))
        try:
            with opened(written) as checkpoint:
                return network.left(checkpoint)
        except UNMEASURED as error:
            return WhatIsLeft(reason=said(error))

    def provenance(self) -> dict[str, Any]:
        """What the file tells of each pruned weight."""
        pruner = self.pruner
        asked: dict[str, Any] = {"sparsity": pruner.sparsity} if pruner.d is None else {"d": pruner.d}
        asked |= {} if pruner.pattern is None else {"pattern": str(pruner.pattern)}
        told = {"version": __version__, "command": "prune", "method": pruner.method}
        return {**told, **asked, "seed": pruner.seed}

    def _layer(self, entry: Entry, weight: NDArray[Any]) -> Layer:
        """A weight (out, in/groups, ...) as an audit sees it."""
        return Layer.of(weight, dtype=None, threshold=0.0, groups=self.structure.layout(entry).groups or 1)

    def _dead_inputs(self, entry: Entry, layer: Layer) -> int | None:
        known = layer.kind == "matrix" or self.structure.layout(entry).groups is not None
        return int(np.count_nonzero(layer.pattern.column_degrees == 0)) if known else None

    def _read(self, entry: Entry) -> NDArray[Any]:
        return self.structure.layout(entry).outputs_first(self.checkpoint.read(entry))

    def _kept_norm(self, weight: NDArray[Any], mask: Mask) -> float | None:
        """The share of the squared norm that is kept, None of all zeros; both parts of it are kept for the summary."""
        units = weight if mask.n == weight.shape[1] else weight.reshape(len(weight), -1)
        magnitudes = unit_magnitudes(units)
        peak = float(magnitudes.max())
        scaled = np.square(magnitudes / (peak or 1.0))
        kept, total = float(scaled[mask.entry_rows, mask.indices].sum()), float(scaled.sum())
        size = math.prod(units.shape[2:]) * peak * peak
        self.squares.append((kept * size, total * size))
        return kept / total if total else None

    def _bound(self, mask: Mask, share: float | None) -> float | None:
        """What no SAO mask of this degree keeps more than; None for other methods, whose masks are as they are."""
        if not self.pruner.by_degree or share is None:
            return None
        return max(share, float(mask.provenance.get("kept_norm_bound", share)))

    def _measured(self, entry: Entry, weight: NDArray[Any]) -> dict[str, Any]:
        if not self.facts:
            return counted(weight)
        groups = self.structure.layout(entry).groups
        return weight_facts(weight, entry, groups, self.pruner.seed, self.pruner.progress)
