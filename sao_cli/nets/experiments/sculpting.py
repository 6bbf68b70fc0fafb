"""Architecture sculpting: networks grown, and pruned back to a small one's size (Lee et al., ICLR 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from sao_cli.base.errors import InfeasibleError
from sao_cli.base.progress import Progress, silent
from sao_cli.nets.experiments.error_rates import AS_SNIP, ErrorRates, error_rates, pruned_by
from sao_cli.nets.training.data import load_data
from sao_cli.nets.training.settings import TrainingSettings

Widths = Sequence[int]


def sculpted_errors(
    small: Widths = (20, 20),
    grown: Sequence[Widths] = ((100, 100), (300, 300)),
    *,
    data: str = "mnist",
    folder: str | None = None,
    biases: bool = False,
    images: int | None = None,
    epochs: int = 20,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = silent,
) -> list[ErrorRates]:
    """Error rates of the dense network with hidden layers of `small` widths, and of grown ones that SNIP prunes to it.

    The rows keep equally many weights: s = 1 - P_small/P_big, of weights alone, so that the grown ones have their
    larger number of biases beside them. With `biases` weights and biases together are equal, and the grown ones keep
    fewer weights: s = 1 - (P_small + B_small - B_big)/P_big. All training images are scored; SGD as in lenet_errors.

    Raises InfeasibleError for networks that are not larger, or whose biases alone are too many, and what error_rates
    raises.

    >>> rows = sculpted_errors((4,), [(8, 8)], data="digits", images=100, epochs=1, seeds=(0,))
    >>> [(row.settings.hidden, row.kept, row.weights, row.biases) for row in rows]
    [((4,), 296, 296, 14), ((8, 8), 296, 656, 26)]
    """
    told: dict[str, Any] = {"data": data, "epochs": epochs, "schedule": "cosine", **AS_SNIP}
    ends = _ends(TrainingSettings(widths=tuple(small), **told, **pruned_by("snip", 0.0)), folder)
    networks = [(small, 0.0), *((widths, _sparsity(small, widths, ends, biases)) for widths in grown)]
    of = [TrainingSettings(widths=tuple(widths), **told, **pruned_by("snip", one)) for widths, one in networks]
    return [error_rates(settings, folder, images=images, seeds=seeds, progress=progress) for settings in of]


def _ends(settings: TrainingSettings, folder: str | None) -> tuple[int, int]:
    """Inputs and classes."""
    data = load_data(settings.resolved(), folder)
    return data.channels * data.side**2, data.classes


def _sparsity(small: Widths, big: Widths, ends: tuple[int, int], biases: bool) -> float:
    (weights, own), (all_weights, all_biases) = (_sizes(widths, ends) for widths in (small, big))
    kept = weights + own - all_biases if biases else weights
    if not 0 < kept < all_weights:
        told = "x".join(map(str, big)), "x".join(map(str, small))
        raise InfeasibleError(
            f"hidden layers of {told[0]} can't be pruned to the size of {told[1]}: {all_weights} weights and "
            f"{all_biases} biases against {weights} and {own}; grow them, or count weights alone"
        )
    return 1 - kept / all_weights


def _sizes(widths: Widths, ends: tuple[int, int]) -> tuple[int, int]:
    """How many weights, and how many biases."""
    sizes = [ends[0], *widths, ends[1]]
    return sum(m * n for n, m in pairwise(sizes)), sum(sizes[1:])
