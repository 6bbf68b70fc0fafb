"""The exact singular values of a weight's connected components, and which components are too large for them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory
from sao_cli.base.rng import PROBES, generator
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import FINITE, Matrix
from sao_cli.measure.graph.component_edges import Kinds, singular_values_of_components
from sao_cli.measure.graph.components import Components, find_components
from sao_cli.measure.graph.edge import EXACT_SIDE
from sao_cli.measure.krylov.lanczos import Lanczos, Vector
from sao_cli.measure.values.small_singular_values import small_singular_values
from sao_cli.measure.values.two_stages import add_gram, symmetric_eigenvalues

EXACT_ENTRIES = 2**27  # height * width up to which a component is made dense: 1 GB, and a minute or two
GRAM_SIDE = 512  # shorter side from which eigenvalues of the Gram matrix are sooner had than an SVD
GRAM_CONDITION = 4.0  # sigma_max / sigma_min up to which they are as exact as an SVD's singular values
_GATE_STEPS = 10  # of Lanczos before a Gram matrix is tried: a hundredth of the time of the SVD
_SAFE_EXPONENT = 200  # 2^+-200 can be squared and summed without overflow or loss

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WeightComponents:
    """A weight without its explicit zeros, and the connected components of what is left."""

    weight: Matrix
    components: Components

    @classmethod
    def of(cls, weight: Matrix) -> WeightComponents:
        """Those of `weight`; FormatError for values that are not finite. O(nnz) for complete components and few others.

        Zeros are dropped first: rows that an activation's derivative silences cost an SVD as much as others do, and
        the components may fall apart. It takes a thousandth of the time of the SVD of a dense weight.
        """
        if weight.values is not None and not np.isfinite(weight.values).all():
            wrong = weight.values[~np.isfinite(weight.values)][0]
            raise FormatError(f"the weight holds {wrong}; {FINITE}")
        weight = without_zeros(weight)
        return cls(weight, labelled(weight.mask))

    def too_large(self, exact_side: int = EXACT_SIDE) -> Numbers:
        """The components whose singular values are out of reach: shorter side above `exact_side`, or too many entries.

        For a pattern without values none that has a closed form.
        """
        large = exceeds(self.components, exact_side)
        if self.weight.values is None:
            known = Kinds.of(self.components)
            large[np.concatenate((known.complete, known.cycle, known.path))] = False
        return np.flatnonzero(large)

    def values(self, chosen: Numbers) -> Values:
        """The singular values of the chosen components, in no order; some zeros may be left out."""
        if self.weight.values is None:
            parts = list(singular_values_of_components(self.components.only(chosen)))
        else:
            parts = list(self._blocks(chosen))
        return np.concatenate([np.empty(0), *parts])

    def _blocks(self, chosen: Numbers) -> Iterator[Values]:
        heights, widths = self.components.heights[chosen], self.components.widths[chosen]
        if len(chosen):
            largest = int(np.argmax(heights * widths))
            what = f"the dense SVD of a connected component of {heights[largest]} x {widths[largest]}"
            ones = float(self.components.ones[chosen].sum())
            require_memory(24 * float(heights[largest] * widths[largest]) + 64 * ones, what)
        for _, batch in self.components.batches(chosen, self.weight.values):
            yield block_singular_values(batch).reshape(-1)


def labelled(mask: Mask) -> Components:
    """The live connected components of `mask`, from its groups where all are complete: that is sooner told."""
    groups = mask.groups
    return find_components(mask) if groups is None else Components(mask, groups.rows, groups.columns)


def exceeds(components: Components, exact_side: int) -> NDArray[np.bool_]:
    """(count,) whether each component is too large for a dense SVD."""
    shorter = np.minimum(components.heights, components.widths)
    return (shorter > exact_side) | (components.heights * components.widths > EXACT_ENTRIES)


def without_zeros(weight: Matrix) -> Matrix:
    """`weight` with its explicit zeros taken out of the mask. O(nnz)."""
    if weight.values is None or weight.values.all():
        return weight
    kept = weight.values != 0
    before = np.concatenate(([0], np.cumsum(kept)))
    mask = Mask(before[weight.mask.indptr], weight.mask.indices[kept], weight.shape)
    return Matrix(mask, weight.values[kept], weight.dtype)


def block_singular_values(blocks: Values) -> Values:
    """(batch, min(height, width)) the singular values, descending, of each of (batch, height, width) blocks.

    A row or column has its norm; a single large block whose singular values are within GRAM_CONDITION of each other
    has the roots of the eigenvalues of its Gram matrix, at a half to a fifth of the time; the others have an SVD.
    """
    if blocks.shape[1] < blocks.shape[2]:
        blocks = blocks.swapaxes(1, 2)  # LAPACK's QR first, for tall ones, takes half the time of its LQ
    if blocks.shape[2] == 1:
        return _norms(blocks[:, :, 0])
    if len(blocks) == 1 and blocks.shape[2] >= GRAM_SIDE:
        by_gram = _by_gram_matrix(blocks[0])
        if by_gram is not None:
            return by_gram[None]
    return small_singular_values(blocks)


def _norms(rows: Values) -> Values:
    """(count, 1) norms of (count, length) rows, without overflow or underflow of the squares."""
    peaks = np.maximum(rows.max(axis=1), -rows.min(axis=1))[:, None]
    scaled = rows / np.where(peaks > 0, peaks, 1)
    norms: Values = peaks * np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    return norms


def _by_gram_matrix(block: Values) -> Values | None:
    """The singular values of a tall block from B^T B, or None where an SVD would be more exact.

    Rounding moves an eigenvalue s_i^2 by a modest multiple of eps s_1^2, and so s_i by that of eps s_1^2 / (2 s_i):
    with s_k >= s_1 / 4 by twice eps s_1 times that multiple, which is what an SVD's backward error allows too. The
    computed values prove the condition themselves. The Ritz values of a few Lanczos steps lie inside the spectrum,
    so that where they spread further than that the Gram matrix need not be tried.
    """
    peak = max(float(block.max()), -float(block.min()))
    if abs(np.frexp(peak)[1]) > _SAFE_EXPONENT or _spread(block) > GRAM_CONDITION**2:
        return None
    gram = np.zeros((block.shape[1],) * 2)
    add_gram(gram, block)
    squares = symmetric_eigenvalues(gram)[::-1]
    if squares[0] > GRAM_CONDITION**2 * squares[-1]:
        return None
    values: Values = np.sqrt(squares)
    return values


class _DenseGram:
    """x -> B^T B x; an Operator."""

    def __init__(self, block: Values) -> None:
        self._block = block

    def apply(self, x: Vector) -> Vector:
        image: Vector = (self._block @ x) @ self._block
        return image

    def project_(self, x: Vector) -> None: ...


def _spread(block: Values) -> float:
    """A lower bound on the condition number of B^T B: the ratio of the extreme Ritz values of a random start."""
    start = generator(0, 0, PROBES).standard_normal(len(block.T))
    process = Lanczos(_DenseGram(block), start / math.sqrt(start @ start))
    for _ in range(_GATE_STEPS):
        process.step()
        if process.betas[-1] <= 1e-8 * process.alphas[0]:  # the Krylov space is used up
            break
    off = np.diag(process.betas[:-1], 1)
    ritz = np.linalg.eigvalsh(np.diag(process.alphas) + off + off.T)
    return float(ritz[-1] / ritz[0]) if ritz[0] > 0 else np.inf
