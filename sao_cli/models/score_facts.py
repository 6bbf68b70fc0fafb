"""What is told of the scores of a checkpoint's weights, and their file."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from sao_cli import __version__
from sao_cli.io.checkpoints import Lazy, write_checkpoint
from sao_cli.io.formats.tensor_file import Path
from sao_cli.io.provenance import provenance_json
from sao_cli.models.stored_scores import StoredScores
from sao_cli.reports.sensitivities import SensitivityLayer, SensitivitySummary


def layer_facts(found: StoredScores) -> list[SensitivityLayer]:
    """A row for each scored weight, in the order in which equal scores are kept. O(P)."""
    total, facts = _sum_of_all(found), found.facts
    return [
        SensitivityLayer(
            name=name,
            shape=facts.shapes[name],
            parameters=math.prod(facts.shapes[name]),
            method=facts.method,
            score_share=_finite(_sum(found, name) / total) if total and math.isfinite(total) else None,
            score_signed=facts.signed.get(name),
            score_max=_finite(float(scores.max())),
            zero_scores=int(np.count_nonzero(scores == 0)),
            nan_scores=int(np.count_nonzero(~np.isfinite(scores))),
        )
        for name, scores in found.scores.items()
    ]


def summary_facts(found: StoredScores) -> SensitivitySummary:
    """All of them together, and what they were made with."""
    facts = found.facts
    return SensitivitySummary(
        parameters=sum(map(math.prod, facts.shapes.values())),
        samples=facts.samples,
        labels=facts.labels,
        loss=facts.loss,
        sum_abs=_finite(_sum_of_all(found)),
        rounds=facts.rounds,
        temperature=facts.temperature,
        training_mode=facts.training_mode,
        jacobian=found.jacobian,
        reason=found.reason,
    )


def write_scores(found: StoredScores, path: Path) -> None:
    """Write the scores as float64 of the weights' names and shapes to a .safetensors file, or to "-"."""
    lazy = {name: Lazy(shape, "float64", partial(found.full, name)) for name, shape in found.facts.shapes.items()}
    told = {"version": __version__, "command": "sensitivity", "method": found.facts.method}
    write_checkpoint(lazy, path, {"sao": provenance_json(dict.fromkeys(lazy, told))})


def _sum(found: StoredScores, name: str) -> float:
    """The sum of absolute scores, one a unit."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.abs(found.scores[name]).sum())


def _sum_of_all(found: StoredScores) -> float:
    return sum(_sum(found, name) for name in found.scores)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
