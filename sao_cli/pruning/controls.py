"""What a mask is compared with to tell what of it matters (Su et al. 2020; Frankle et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from sao_cli.base.rng import CONTROL, generator
from sao_cli.data.arrays import Booleans, Values


def shuffled(masks: Mapping[str, Booleans], seed: int) -> dict[str, Booleans]:
    """The masks, each with its ones at random places of its layer, the taps of kernels too: only the counts stay.

    >>> import numpy as np
    >>> mask = np.arange(12).reshape(3, 4) < 5
    >>> int(shuffled({"a": mask}, 0)["a"].sum())
    5
    """
    return {name: redrawn(mask, seed, layer) for layer, (name, mask) in enumerate(masks.items(), 1)}


def fresh(weights: Mapping[str, NDArray[Any]], seed: int) -> dict[str, NDArray[Any]]:
    """The weights, drawn anew: each layer's own numbers in random order, so that any law stays what it was.

    They are drawn before the mask is put on, which keeps its places.
    """
    return {name: redrawn(weight, seed, layer) for layer, (name, weight) in enumerate(weights.items(), 1)}


def inverted(scores: Mapping[str, Values]) -> dict[str, Values]:
    """The scores negated, so that the lowest are kept."""
    return {name: -one for name, one in scores.items()}


def redrawn(array: NDArray[Any], seed: int, layer: int) -> NDArray[Any]:
    """The numbers of a layer in random order, by `seed` and its number."""
    return generator(seed, layer, CONTROL).permutation(array.reshape(-1)).reshape(array.shape)
