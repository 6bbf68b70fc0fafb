"""How dense each layer is made, without a score: ER, ERK, ideal gas, smart ratio, uniform; and exactly so many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli import catalog
from sao_cli.base.errors import InfeasibleError
from sao_cli.base.names import check, load
from sao_cli.data.arrays import Booleans, Values
from sao_cli.masks.degrees import density_of, kappa
from sao_cli.masks.lrp import lrp_mask
from sao_cli.pruning.keep import keep_largest

Shape = Sequence[int]

LINEAR_KEPT = 0.3  # of the matrices of a network of kernels (Su et al. 2020)


def uniform_densities(shapes: Sequence[Shape], sparsity: float) -> Values:
    """(L,) the density D = 1 - s of every layer."""
    return np.full(len(shapes), density_of(sparsity))


def erk_densities(shapes: Sequence[Shape], sparsity: float) -> Values:
    """(L,) densities min(1, e p_l), p_l = sum(shape) / prod(shape), with sum_l density_l N_l = D P.

    Erdos-Renyi-Kernel (Evci et al., ICML 2020, section 3) of layers (out, in, k, k). e by water-filling: layers that
    would exceed 1 are full, and the others share what is left. O(L log L).

    >>> erk_densities([(300, 784), (100, 300), (10, 100)], 0.9).round(4)
    array([0.0796, 0.2302, 1.    ])
    """
    return _of_shapes(shapes, sparsity, [sum(shape) / math.prod(shape) for shape in shapes])


def er_densities(shapes: Sequence[Shape], sparsity: float) -> Values:
    """(L,) as erk_densities has them with p_l = (m + n) / (m n), whatever the kernel (Mocanu et al. 2018)."""
    return _of_shapes(shapes, sparsity, [sum(shape[:2]) / math.prod(shape[:2]) for shape in shapes])


def ideal_gas_densities(shapes: Sequence[Shape], sparsity: float) -> Values:
    """(L,) densities 1 / (1 + F N_l) with sum_l density_l N_l = D P (Vysogorets and Kempe 2021, "ideal gas quotas").

    F by bisection of its logarithm to double precision. O(L).

    >>> ideal_gas_densities([(300, 784), (100, 300), (10, 100)], 0.9).round(4)
    array([0.0644, 0.3507, 0.9419])
    """
    sizes = _sizes(shapes)
    wanted = density_of(sparsity) * sizes.sum()
    if sparsity == 0:
        return np.ones(len(sizes))
    low, high = -200.0, 200.0  # log2 F
    for _ in range(100):
        middle = (low + high) / 2
        more = float((sizes / (1 + 2.0**middle * sizes)).sum()) > wanted
        low, high = (middle, high) if more else (low, middle)
    densities: Values = 1 / (1 + 2.0**high * sizes)
    return densities


def smart_ratio_densities(shapes: Sequence[Shape], sparsity: float) -> Values:
    """(L,) densities of 0.3 of matrices, and of kernel l of L layers min(1, e p_l), p_l = (L - l + 1)^2 + L - l + 1.

    Smart ratio (Su et al., NeurIPS 2020): the later, the sparser; l counts all layers, as the authors'
    code does, which divides p_l by l^2 for VGG alone. e by water-filling, so that sum_l density_l N_l = D P: what
    exceeds 1 goes to all other kernels by their p_l, and in that code to the next ones. O(L log L).

    Raises InfeasibleError where there is no kernel, and where 0.3 of the matrices leaves the kernels nothing of D P, or
    more than they have: 0.3 stays what it is.

    >>> smart_ratio_densities([(16, 3, 3, 3), (32, 16, 3, 3), (10, 32)], 0.9).round(4)
    array([0.1608, 0.0804, 0.3   ])
    """
    sizes, kernels = _sizes(shapes), np.array([len(shape) > 2 for shape in shapes])
    fixed = LINEAR_KEPT * float(sizes[~kernels].sum())
    wanted = density_of(sparsity) * float(sizes.sum()) - fixed
    if not 0 < wanted <= sizes[kernels].sum():
        raise InfeasibleError(_why_no_smart_ratio(sizes, kernels, sparsity, fixed))
    left = np.arange(len(sizes), 0, -1.0)
    densities = np.full(len(sizes), LINEAR_KEPT)
    densities[kernels] = _filled(sizes[kernels], wanted, (left**2 + left)[kernels])
    return densities


def kept_by_layer(shapes: Sequence[Shape], densities: Values, count: int) -> list[int]:
    """How many weights each layer keeps: `count` in all, by largest remainders of density_l N_l; one at least.

    Of equal remainders the first layer has it. Raises InfeasibleError where there are more layers than `count`.

    >>> kept_by_layer([(3, 5), (2, 5)], np.array([0.5, 0.5]), 13)
    [8, 5]
    """
    sizes = _sizes(shapes)
    if not len(sizes) <= count <= sizes.sum():
        raise InfeasibleError(
            f"{count} weights in {len(sizes)} layers of {int(sizes.sum())}: each keeps one at least, or no signal "
            "passes; lower the sparsity"
        )
    wanted = densities * sizes
    kept = np.clip(np.floor(wanted + 1e-9), 1, sizes).astype(np.int64)
    order = np.argsort(-(wanted - kept), kind="stable")
    while (left := count - int(kept.sum())) != 0:
        step = 1 if left > 0 else -1
        ranked = order if left > 0 else order[::-1]
        able = ranked[(kept < sizes)[ranked] if left > 0 else (kept > 1)[ranked]][: abs(left)]
        kept[able] += step
    found: list[int] = kept.tolist()
    return found


def density_masks(
    weights: Mapping[str, NDArray[Any]], density: str, sparsity: float, *, within: str = "random", seed: int = 0
) -> dict[str, Booleans]:
    """Masks, by name, of layers as dense as `density` of catalog.DENSITIES has them: kappa weights in all.

    Those of a layer are `within` it at random, by `seed`, or its largest. Raises SaoError for unknown names,
    InfeasibleError. O(P).

    >>> masks = density_masks({"a": np.ones((4, 8)), "b": np.ones((2, 4))}, "erk", 0.5)
    >>> {name: int(mask.sum()) for name, mask in masks.items()}
    {'a': 13, 'b': 7}
    """
    check("density", density, catalog.DENSITIES)
    check("within", within, catalog.WITHIN)
    shapes = [weight.shape for weight in weights.values()]
    quotas = load(catalog.DENSITIES[density].home)(shapes, sparsity)
    counts = kept_by_layer(shapes, quotas, kappa(sum(map(math.prod, shapes)), sparsity))
    masks = {}
    for layer, ((name, weight), count) in enumerate(zip(weights.items(), counts, strict=True), 1):
        if within == "random":
            flat = lrp_mask(weight.shape[0], math.prod(weight.shape[1:]), count, seed=seed, layer=layer).to_dense()
        else:
            flat = np.zeros(weight.size, dtype=bool)
            flat[keep_largest(np.abs(weight.reshape(-1)), count)] = True
        masks[name] = flat.astype(bool).reshape(weight.shape)
    return masks


def _of_shapes(shapes: Sequence[Shape], sparsity: float, weights: Sequence[float]) -> Values:
    sizes = _sizes(shapes)
    return _filled(sizes, density_of(sparsity) * float(sizes.sum()), np.array(weights))


def _filled(sizes: Values, wanted: float, p: Values) -> Values:
    """min(1, e p_l), `wanted` numbers in all, by water-filling: the more layers are full, the more others get."""
    order = np.argsort(-p, kind="stable")
    for full in range(len(p)):
        rest = order[full:]
        factor = (wanted - sizes[order[:full]].sum()) / float((p[rest] * sizes[rest]).sum())
        if factor * p[rest[0]] <= 1:
            break
    densities: Values = np.minimum(1.0, factor * p)
    return densities


def _why_no_smart_ratio(sizes: Values, kernels: Booleans, sparsity: float, fixed: float) -> str:
    others = ", ".join(name for name, row in catalog.DENSITIES.items() if not row.kernels)
    if not kernels.any():
        return f"smart-ratio is of convolutions, and none of {len(sizes)} layers is one; of any layers are {others}"
    total, movable = float(sizes.sum()), float(sizes[kernels].sum())
    least, most = 1 - (fixed + movable) / total, 1 - fixed / total
    return (
        f"smart-ratio keeps {LINEAR_KEPT} of the {total - movable:.0f} weights of linear layers, so that of sparsities "
        f"of all {total:.0f} it has {least:.4g} to below {most:.4g}, and not {sparsity}; any have {others}"
    )


def _sizes(shapes: Sequence[Shape]) -> Values:
    if not shapes:
        raise InfeasibleError("no layers, so none has a density")
    return np.array([math.prod(shape) for shape in shapes], dtype=np.float64)
