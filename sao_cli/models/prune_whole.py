"""All pruned weights of a checkpoint together: how many stay, and what of them lies on a path."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sao_cli.base.errors import SaoError
from sao_cli.io.checkpoints import Checkpoint, Entry
from sao_cli.io.checkpoints.order import WAY_OUT
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.masks.degrees import kappa
from sao_cli.models.left import WhatIsLeft
from sao_cli.models.prune_run import PruneRun
from sao_cli.pruning.keep import NO_SIGNAL
from sao_cli.reports.changes import PrunedWeight, PruneSummary, SkippedWeight

NOTHING = "no weight lies on a path from an input to an output, so that there is no effective compression"
OF_BIASES = "paths are of weights, and biases are pruned too"
_OF_NETWORK = ("reachable", "lost_inputs", "unreached_outputs", "unknown", "assumed")


def summary_of(
    run: PruneRun,
    rows: Sequence[PrunedWeight],
    skipped: int,
    ends: Mapping[str, str],
    unchanged: tuple[int, int],
    remains: WhatIsLeft,
) -> PruneSummary:
    """The pruned weights together, and with those that stay as they are, as `unchanged` counts them."""
    size = sum(math.prod(row.shape) for row in rows)
    left = sum(row.after["nnz"] for row in rows)
    kept, total = map(sum, zip(*run.squares, strict=True))
    whole, nonzero = (a + b for a, b in zip((size, left), unchanged, strict=True))
    order = run.structure.order
    counts = _counts(rows, size, run.pruner.sparsity)
    reasons = [remains.reason, OF_BIASES if any(row.kind == "bias" for row in rows) else None]
    return PruneSummary(
        pruned=len(rows),
        skipped_tensors=skipped,
        weights=size,
        nnz=left,
        asked_sparsity=run.pruner.sparsity,
        sparsity=1 - left / size,
        all_weights=whole,
        overall_sparsity=1 - nonzero / whole,
        dense_ends=tuple(name for name in order.names if name in ends),
        order=None if order.reason else "numbered names",
        kept_norm=kept / total if total else None,
        **counts,
        ties_at_threshold=run.pruner.ties_at_threshold,
        zero_scores=run.pruner.zero_scores,
        **{key: getattr(remains, key) for key in _OF_NETWORK},
        reason=next((one for one in reasons if one), None) or (NOTHING if counts["effective"] == 0 else None),
    )


def _counts(rows: Sequence[PrunedWeight], size: int, sparsity: float | None) -> dict[str, Any]:
    """How many of `size` numbers are kept, and lie on a path."""
    kept = sum(row.kept for row in rows)
    counts = [row.effective for row in rows if row.effective is not None]
    effective = sum(counts) if len(counts) == len(rows) else None
    return {
        "kappa": None if sparsity is None else kappa(size, sparsity),
        "kept": kept,
        "compression": size / kept if kept else None,
        "effective": effective,
        "effective_sparsity": None if effective is None else 1 - effective / size,
        "effective_compression": size / effective if effective else None,
        "collapsed_layers": sum(row.collapsed for row in rows),
    }


def count_unchanged(checkpoint: Checkpoint, structure: Structure, pruned: Sequence[Entry]) -> tuple[int, int]:
    """How many numbers the weights have that are not pruned, and how many of them are not zero."""
    size = nonzero = 0
    done = {entry.name for entry in pruned}
    for entry in structure.entries:
        if entry.kind == "skipped" or done & {entry.name, *structure.tied_with(entry)}:
            continue
        done.add(entry.name)
        size += math.prod(entry.shape)
        try:
            nonzero += int(np.count_nonzero(checkpoint.read(entry)))
        except SaoError:  # NaN and the like, which are no zeros
            nonzero += math.prod(entry.shape)
    return size, nonzero


def in_context(row: PrunedWeight | SkippedWeight, left: WhatIsLeft) -> PrunedWeight | SkippedWeight:
    """The row with what is known of its weight in the network."""
    if not isinstance(row, PrunedWeight):
        return row
    counts = [left.effective[name] for name in (row.name, *row.tied_with) if name in left.effective]
    if not counts:
        return row
    return replace(row, effective=counts[0], effective_sparsity=1 - counts[0] / math.prod(row.shape))


def signals_of(summary: PruneSummary) -> str:
    """Whether a signal passes the network beside an empty layer, as far as that is known."""
    if summary.reachable is None:
        return f"layer collapse, unless signals pass beside it, which {WAY_OUT}"
    if summary.reachable:
        return "signals pass beside it (layer collapse)"
    return NO_SIGNAL if summary.assumed is None else f"no signal passes {summary.assumed} (layer collapse)"
