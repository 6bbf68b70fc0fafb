"""Rows and columns fused while a network is trained: the loss, the fusions, and what a row tells of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sao_cli.base.rng import DROPOUT, generator
from sao_cli.measure.redundancy.pairs import zero_vectors
from sao_cli.measure.redundancy.unit_vectors import FLOOR
from sao_cli.nets.layers.rare_linear import RareLinear
from sao_cli.nets.training.rare_training import numbers_of, rare_backward_, rare_layers, rare_step_
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.reports.fusions import FactoredLayer, Fusion, RankReduction


class RankReducer:
    """What `settings.rare` asks of the training of `model`, whose layers are RareLinear."""

    def __init__(self, model: nn.Module, settings: TrainingSettings) -> None:
        assert settings.rare is not None
        assert settings.l2 is not None
        self._model, self._settings = model, settings
        self._lambdas = settings.rare, settings.l2
        self._rule: dict[str, Any] = {
            "tau_cos": settings.tau_cos,
            "tau_euc": settings.tau_euc,
            "every": settings.check_every,
        }
        self._fused: list[Fusion] = []

    def begin(self, epoch: int, device: torch.device) -> None:
        """Begin an epoch, whose random numbers follow from the seed and its number."""
        self._fused = []
        seed = int(generator(self._settings.seed, 0, DROPOUT, epoch).integers(2**63 - 1))
        drawing = torch.Generator(device).manual_seed(seed)
        for layer in rare_layers(self._model).values():
            layer.generator = drawing

    def backward_(self, loss: Tensor) -> None:
        """Leave the gradient of the batch's `loss`, of the loss RaRe, and of the squared norms."""
        rare_backward_(self._model, *self._lambdas, loss=loss)

    def step_(self, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
        """Fuse what may be fused now, after a step of the optimizer on the samples x."""
        self._fused += rare_step_(self._model, optimizer, **self._rule, inputs=x)

    def row(self, rows: Sequence[dict[str, Any]]) -> RankReduction:
        """What the row of the epoch tells, after the `rows` before it."""
        of_run = [one for row in rows for one in row["rare"]["fused"]] + [one.to_dict() for one in self._fused]
        layers = tuple(_told(name, layer) for name, layer in rare_layers(self._model).items())
        errors, energies = ([one[fact] for one in of_run] for fact in ("error", "energy"))
        changes = [one["output_change"] for one in of_run if one["output_change"] is not None]
        return RankReduction(
            parameters=sum(parameter.numel() for parameter in self._model.parameters()),
            fusions=len(of_run),
            zero=sum(layer.zero_rows + layer.zero_columns for layer in layers),
            error_median=statistics.median(errors) if errors else None,
            error_max=max(errors, default=None),
            energy_median=statistics.median(energies) if energies else None,
            output_change_max=max(changes, default=None),
            cores=layers,
            fused=tuple(self._fused),
        )


def _told(name: str, layer: RareLinear) -> FactoredLayer:
    weight = numbers_of(layer.weight)
    m, n = layer.out_features, layer.in_features
    return FactoredLayer(
        name=name,
        shape=(m, n),
        core=layer.shape,
        fusions=m + n - sum(layer.shape),
        zero_rows=len(zero_vectors(weight, FLOOR)),
        zero_columns=len(zero_vectors(weight.T, FLOOR)),
    )
