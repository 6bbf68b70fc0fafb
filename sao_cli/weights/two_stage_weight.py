"""Weights of a two-stage layer: the product of two sparse orthogonal stages, which is orthogonal and connected."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import VALUES, generator
from sao_cli.data.arrays import Values
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.masks.two_stage import find_stages, two_stage_mask
from sao_cli.weights.haar import haar_blocks

if TYPE_CHECKING:
    from numpy.random import Generator


def two_stage_weight(m: int, n: int, d: int, *, seed: int = 0, layer: int = 1, progress: Progress = silent) -> Matrix:
    """An (m, n) two-stage layer: two_stage_mask(m, n, d) with two_stage_values on it, all singular values 1.

    Raises InfeasibleError and DeadlineError as two_stage_mask does. O(m d log m); no dense matrix is made.

    >>> np.linalg.svd(two_stage_weight(8, 16, 8).to_dense(), compute_uv=False).round(12)
    array([1., 1., 1., 1., 1., 1., 1., 1.])
    """
    mask = two_stage_mask(m, n, d, seed=seed, layer=layer, progress=progress)
    mask = replace(mask, provenance={**mask.provenance, "values": "orthogonal"})
    return Matrix(mask, two_stage_values(mask, seed=seed, layer=layer))


def two_stage_values(mask: Mask, *, seed: int = 0, layer: int = 1) -> Values:
    """(nnz,) float64: the product W = S_2 S_1 of Haar-random sparse orthogonal values on the two stages of `mask`.

    Each block K_{c,d} of each stage gets an independent Haar-random semi-orthogonal c x d matrix, so W W^T = I for
    m <= n and W^T W = I for m >= n, on the pattern of `mask` exactly: with one path between an input and an output,
    each entry is a product of two numbers. `mask` may come from anywhere, as long as find_stages knows it. (W is not
    Haar among the orthogonal matrices of its pattern; it is the law of its factors.)

    Raises SaoError for a mask that is no product of two stages. O(m d log m) time, about 64 m d bytes.
    """
    stages = find_stages(mask)
    if stages is None:
        raise SaoError(
            "these values need a two-stage mask, the pattern of a product of two SAO masks, and this one is none; "
            "--values isometry fits any mask, and normal and uniform need no structure"
        )
    require_memory(64 * mask.nnz, f"two-stage values for {mask.nnz} ones")
    rng = generator(seed, layer, VALUES)
    first, second = _haar_stage(stages.first, rng), _haar_stage(stages.second, rng)
    hidden = stages.second.indices.reshape(second.shape)
    columns = stages.first.indices.reshape(first.shape)[hidden].reshape(mask.m, -1)
    values = (second[:, :, None] * first[hidden]).reshape(mask.m, -1)
    return np.take_along_axis(values, np.argsort(columns, axis=1), axis=1).reshape(-1)


def _haar_stage(stage: Mask, rng: Generator) -> Values:
    """(rows, degree) values on an SAO mask, row by row: a Haar block for each of its groups."""
    groups = stage.groups
    assert groups is not None
    values = np.empty((stage.m, stage.nnz // stage.m))
    by_group = np.argsort(groups.rows, kind="stable")
    values[by_group] = haar_blocks(groups.count, stage.m // groups.count, values.shape[1], rng).reshape(values.shape)
    return values
