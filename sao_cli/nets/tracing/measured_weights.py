"""What is true of each weight of a module by itself, as its run used it: its mask, and its singular values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.measure.graph.expansion import expansion
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.measure.layer.spectrum import Comparison, compare_spectra, with_holm
from sao_cli.models.audit.reasons import UNMEASURED, said
from sao_cli.nets.tracing.used_weights import UsedWeight, weights_as_used
from sao_cli.reports.masks import Expansion
from sao_cli.reports.spectra import LayerSpectrum

Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class MeasuredWeights(Generic[Row]):
    """The `rows` of weights, in the order run, and why there is none, by name, of those that could not be measured.

    `weights` are those that were measured.
    """

    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    weights: list[UsedWeight] = field(default_factory=list)

    def require_any(self) -> None:
        """Raise SaoError where nothing was measured."""
        if not self.rows:
            why = next((f"{name}: {reason}" for name, reason in self.skipped.items()), "none multiplied its input")
            raise SaoError(f"no weight of the module could be measured; {why}")


def module_expansions(
    module: nn.Module, *inputs: Tensor, criterion: str = "paper", seed: int = 0, progress: Progress = silent
) -> MeasuredWeights[Expansion]:
    """The eigenvalue conditions of each weight's mask, outputs by inputs as the run on `inputs` used it.

    Of a kernel the mask is of channels, all groups of them. `layer` counts the weights that ran, from 1. Raises what
    weights_as_used and `expansion` do for options that are none, and SaoError where nothing could be measured.

    >>> import torch
    >>> found = module_expansions(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)), torch.ones(1, 3))
    >>> [(row.name, row.m, row.n) for row in found.rows]
    [('0.weight', 2, 3), ('2.weight', 1, 2)]
    """

    def measure(layer: int, weight: UsedWeight) -> list[Expansion]:
        row = expansion(weight.mask(), criterion=criterion, seed=seed, progress=progress)
        return [replace(row, layer=layer, name=weight.name)]

    return _each(weights_as_used(module, *inputs), measure)


def module_spectra(
    module: nn.Module,
    *inputs: Tensor,
    activations: Sequence[str | ActivationFunction] = ("linear",),
    input_std: float = 1.0,
    comparison: Comparison | None = None,
    repeats: int = 1,
    dtype: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> MeasuredWeights[LayerSpectrum]:
    """The singular values of each weight as the run on `inputs` used it: compare_spectra's rows.

    A kernel is a linear map of images of the run's size, with its stride, padding, dilation and groups, whatever the
    activations are. `layer` counts the weights that ran, from 1; `dtype` rounds them first. Raises what weights_as_used
    and compare_spectra do for options that are none, and SaoError where nothing could be measured.

    >>> import torch
    >>> rows = module_spectra(nn.Conv2d(1, 1, 1, bias=False), torch.ones(1, 1, 2, 3)).rows
    >>> rows[0].name, rows[0].image, rows[0].m
    ('weight', (2, 3), 6)
    """
    weights = weights_as_used(module, *inputs)

    def measure(layer: int, weight: UsedWeight) -> list[LayerSpectrum]:
        rows = compare_spectra(
            {"": lambda _: [weight.map(dtype)]},
            activations,
            input_std=input_std,
            comparison=comparison,
            repeats=repeats,
            seed=seed,
            first=layer,
            layers=len(weights),
            progress=progress,
        )
        return [replace(row, name=weight.name) for row in rows]

    found = _each(weights, measure)
    return replace(found, rows=with_holm(found.rows))


def _each(weights: Sequence[UsedWeight], measure: Callable[[int, UsedWeight], list[Row]]) -> MeasuredWeights[Row]:
    """The rows of each, and the reason where it has none."""
    found: MeasuredWeights[Row] = MeasuredWeights()
    for layer, weight in enumerate(weights, 1):
        try:
            found.rows.extend(measure(layer, weight))
            found.weights.append(weight)
        except UNMEASURED as error:
            found.skipped[weight.name] = said(error)
    found.require_any()
    return found
