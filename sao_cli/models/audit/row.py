"""The facts of one tensor of a checkpoint: its graph, its spectrum, and what SAO would have given in its place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sao_cli.base.errors import SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.data.kernel import WeightLike, weight_of
from sao_cli.data.product import Product
from sao_cli.measure.graph.expansion import expansion
from sao_cli.measure.graph.nm_groups import GROUPS, most_by_group, most_in_dense, nm_facts
from sao_cli.measure.values.by_array import Solver
from sao_cli.models.audit.connections import Pattern
from sao_cli.models.audit.heavy_tail import require_powerlaw
from sao_cli.models.audit.layer_values import Setting, kernel_facts, matrix_facts
from sao_cli.models.audit.reasons import ALL_ONES, MANY_ONES, NO_GROUPS, UNMEASURED, said
from sao_cli.models.audit.tensor import Layer
from sao_cli.reports.audits import AuditRow
from sao_cli.reports.masks import GraphFacts, NMFacts
from sao_cli.reports.report import facts_of

Facts = dict[str, Any]

SMALL = 2**20  # entries up to which a mask is looked at by its eigenvalues even where most of it is ones


def audit_weight(
    weight: WeightLike | Product,
    *,
    name: str,
    dtype: str | None = None,
    threshold: float = 0.0,
    image: int | Sequence[int] | None = None,
    padding: str | int = "zeros",
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    groups: int | None = 1,
    transposed: bool = False,
    max_size: int | None = None,
    heavy_tail: bool = False,
    fast: bool = False,
    solver: Solver | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> AuditRow:
    """One row of facts on `weight`: a Matrix (m, n), a Kernel, or an array with 2 axes (a matrix) or 3 to 5 (a kernel);
    or anything else that data.kernel.weight_of takes; or the Product of two factors, whose singular values are found
    from these alone, and of which some rows at a time are there.

    `dtype` names the precision in which an array was born where it is not its own (bfloat16 held as float32). Of the
    numbers, `nnz` are not zero, and `sparsity` = 1 - nnz / size. With a `threshold`, magnitudes up to it count as zeros
    in everything below, and `near_zero` is the share of numbers that are such, and not zeros anyway.

    `weight` is (m, n), or of a kernel (c_out, c_in/groups, k_1, ...); if `transposed`, it is stored the other way
    round, (n, m) as in GPT-2's Conv1D, or (c_in, c_out/groups, k_1, ...) as in torch.nn.ConvTranspose2d, and `image`
    is the smaller one that it reads. `groups` None says that they are not known: then what needs them is None, the
    facts of columns and singular values. `digest` is of the numbers: equal ones, in whatever dtype, have equal
    digests.

    The graph joins `m` outputs and `n` inputs: channels for a kernel, n = groups * c_in, where whole kernels count, and
    `kernel_sparsity` is the share of those that are zero. Its facts are measure.graph.expansion.expansion's;
    `lambda_2`, `bound` and the verdicts are None for an all-ones mask, and for one of more than a million entries of
    which more than half are ones: its graph would take several times the tensor's memory, and the conditions are of
    sparse masks.

    The singular values' facts are measure.layer.spectrum.spectrum's, a kernel's those of the map of an `image` with
    `padding`, `stride`, `dilation` (measure.convolution.kernel_spectrum.kernel_spectrum), or None without one, unless
    there is one tap alone, which is a matrix at each pixel; they are estimated from EXACT_COST on, where
    kernel_spectrum, which measures one kernel, goes on to minutes;
    `reshaped_sigma_max` is of the (c_out, c_in k^D) matrix. Besides:

    - `scale`: the root mean square of the singular values, ||W||_F / sqrt(min(m, n)) for a matrix;
    - `ks`: the KS test against a dense orthogonal layer times `scale`, min(m, n) values that are equal, so that it
      judges the shape of the spectrum and not its size; `ks_sao` against an SAO layer times `scale`, of the row degree
      `sao_degree` whose sparsity is nearest. The values of an SAO layer are equal too (min(c, d) in each of K blocks),
      so the two tests agree; `ks_sao` is None where no SAO layer of these sides has a density within a factor of 1.5;
    - `exact`, and then `error`: about how far rounding has moved the singular values, sqrt(max(m, n)) eps sigma_max,
      eps of float64 or float32. float16 and bfloat16 are taken as they are stored, which is what `rank` is of; that
      they were rounded once adds the norm of a matrix of such roundings, eps ||W||_F (1/sqrt(m) + 1/sqrt(n)) /
      sqrt(12), to `error`, and three times that to the slack of the KS tests;
    - else `density_error`: that of the distribution function of which they are quantiles (measure.values.by_array);
      `sigma_min`, `rank` and `condition` are None, `frobenius_norm` and `scale` exact, from the numbers, and
      `sigma_max` the largest Ritz value or norm of a row or column, a lower bound;
    - `error_kind`: "estimate", which both of these errors are;
    - with `fast` a matrix of more than FAST_SIDE rows and columns is always estimated, within 64 products, in float32
      where its numbers are no finer: in an eighth of the time at 4096; kernels are from a sixteenth of EXACT_COST on;
    - with `heavy_tail` what models.audit.heavy_tail tells;
    - a `solver` finds the exact values of dense matrices, and of reshaped kernels, as sao_cli.nets.DeviceSolver does on
      a GPU; sparse ones, maps of images and estimates are found here all the same.

    Raises FormatError and SaoError for what is no weight, or not finite, or has more than `max_size` numbers, and for
    options that are out of range; MemoryLimitError. What can be told of a good weight is told, and `reason` says why
    the rest is None: an image that does not fit the kernel, an SVD that does not converge or does not fit in memory.
    Cost: that of the singular values (a dense float32 matrix: a half to a third of numpy's SVD), and of the expansion
    where the mask is sparse.

    >>> row = audit_weight(np.diag([1.0, 1.0, 0.5, 0.0]), name="layer")
    >>> row.sparsity, row.dead_inputs, row.rank, row.sigma_max
    (0.8125, 1, 3, 1.0)
    """
    if heavy_tail:
        require_powerlaw()
    setting = Setting(
        image=image,
        padding=padding,
        stride=stride,
        dilation=dilation,
        heavy_tail=heavy_tail,
        fast=fast,
        solver=solver,
        seed=seed,
        progress=progress,
    )
    held, born = (weight, weight.dtype) if isinstance(weight, Product) else weight_of(weight, name)
    if (reason := too_large(held.shape, max_size)) is not None:
        raise SaoError(reason)
    layer = Layer.of(held, dtype=dtype or born, threshold=threshold, groups=groups or 1, transposed=transposed)
    reasons: list[str] = []
    facts = {**_counts(layer), **(_graph(layer, setting, reasons) if groups else _rows(layer, reasons))}
    try:
        if layer.kind == "matrix":
            facts |= matrix_facts(layer, setting, facts, reasons)
        else:
            facts |= kernel_facts(
                layer, setting if groups else replace(setting, image=None), reasons, groups is not None
            )
    except UNMEASURED as error:  # an image that does not fit, a size out of reach: the graph's facts still stand
        reasons.append(said(error))
    return AuditRow(
        name=name,
        kind=layer.kind,
        shape=tuple(held.shape),
        dtype=layer.dtype,
        **facts,
        transposed=transposed,
        digest=layer.digest(),
        pattern=layer.pattern,
        reason="; ".join(dict.fromkeys(reasons)) or None,
    )


def skipped_row(
    name: str, shape: Sequence[int] | None, dtype: str, reason: str, *, kind: str | None = None
) -> AuditRow:
    """The row of a tensor that is not audited, for `reason`; `kind` where it would be a layer and can't be read.

    >>> skipped_row("norm.weight", [64], "float32", "1-D").skipped
    True
    """
    known = None if shape is None else tuple(shape)
    return AuditRow(name=name, kind=kind, shape=known, dtype=dtype, skipped=True, reason=reason)


def too_large(shape: Sequence[int], max_size: int | None) -> str | None:
    """Why a tensor of `shape` is not audited: it has more than `max_size` numbers; None where it may be.

    Raises SaoError for a `max_size` below 1.
    """
    if max_size is not None and max_size < 1:
        raise SaoError(f"max_size {max_size}; it is the most numbers that a tensor may have, 1 or more")
    if max_size is None or (size := math.prod(shape)) <= max_size:
        return None
    return f"too large: {size} numbers, and --max-size is {max_size}"


def _counts(layer: Layer) -> Facts:
    m, n = layer.sides
    connections = layer.pattern.nnz if layer.kind == "kernel" else None
    return {
        "m": m,
        "n": n,
        **nm_facts(_most_in_groups(layer)),
        "nnz": layer.nnz,
        "sparsity": 1.0 - layer.nnz / math.prod(layer.shape),
        "near_zero": layer.near_zero,
        "kernel_sparsity": None if connections is None else 1.0 - connections / (m * n // layer.groups),
        "groups": None if connections is None else layer.groups,
    }


def _most_in_groups(layer: Layer) -> dict[int, int]:
    """The most ones in groups of consecutive inputs, by their sizes; of a kernel at each tap."""
    if layer.nnz == math.prod(layer.shape):
        return {of: of for of in GROUPS if layer.shape[1] % of == 0}
    if layer.matrix is not None:
        return most_by_group(layer.matrix.mask)
    if layer.product is not None:
        found = [most_in_dense(piece) for piece in layer.product.pieces()]
        return {of: max(most[of] for most in found) for of in found[0]}
    assert layer.dense is not None
    return most_in_dense(layer.dense)


def _rows(layer: Layer, reasons: list[str]) -> Facts:
    """What is known of a kernel's graph without its groups, which say what columns are."""
    reasons.append(NO_GROUPS)
    degrees = layer.pattern.row_degrees
    row_degree = int(degrees.min()), int(degrees.max())
    known = {"row_degree": row_degree, "dead_outputs": int(np.count_nonzero(degrees == 0))}
    return known | {"n": None, "groups": None}


def _graph(layer: Layer, setting: Setting, reasons: list[str]) -> Facts:
    pattern = layer.pattern
    if (known := _dense_graph(pattern)) is not None:
        reasons.append(ALL_ONES if pattern.full else MANY_ONES)
        return known
    try:
        found = expansion(pattern.to_mask(), seed=setting.seed, progress=setting.progress)
    except UNMEASURED as error:
        reasons.append(said(error))
        return {}
    if found.reason:
        reasons.append(found.reason)
    return {key: getattr(found, key) for key in facts_of(GraphFacts) if key not in facts_of(NMFacts)}


def _dense_graph(pattern: Pattern) -> Facts | None:
    """The facts that degrees alone tell of a pattern of all ones, or of a large one of which most are; else None.

    Rows that have more than half of the live columns as neighbours share one, pairwise: they are connected.
    """
    m, n = pattern.shape
    if not pattern.full and (m * n <= SMALL or pattern.nnz <= m * n // 2):
        return None
    rows, columns = pattern.row_degrees, pattern.column_degrees
    live_rows, live_columns = rows[rows > 0], columns[columns > 0]
    if 2 * int(live_rows.min()) <= len(live_columns):
        return None
    dead_inputs, dead_outputs = n - len(live_columns), m - len(live_rows)
    row_degree, column_degree = ((int(degrees.min()), int(degrees.max())) for degrees in (rows, columns))
    return {
        "biregular": row_degree[0] == row_degree[1] and column_degree[0] == column_degree[1],
        "row_degree": row_degree,
        "column_degree": column_degree,
        "components": 1 + dead_inputs + dead_outputs,
        "connected": not dead_inputs and not dead_outputs,
        "dead_inputs": dead_inputs,
        "dead_outputs": dead_outputs,
    }
