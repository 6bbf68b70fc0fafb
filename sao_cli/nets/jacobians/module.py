"""The singular values of any module's Jacobian: exactly where it can be held, else their distribution by products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import require_memory, telling_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import PROBES, generator
from sao_cli.base.threads import one_thread
from sao_cli.data.matrix import FINITE
from sao_cli.data.precision import PRECISIONS
from sao_cli.measure.graph.edge import EXACT_SIDE
from sao_cli.measure.values.density import PRODUCTS, SpectralDensity, check_products, operator_density
from sao_cli.measure.values.singular_values import SingularValues
from sao_cli.nets.devices import computed_dtype, find_device, full_precision
from sao_cli.nets.jacobians.functions import (
    Function,
    cast_function,
    dtype_name,
    named_tensors,
    require_determined,
    undisturbed,
)
from sao_cli.nets.jacobians.products import JacobianGram, JacobianProducts, checked_norm
from sao_cli.reports.networks import ModuleJacobian
from sao_cli.reports.report import ESTIMATE

Values = NDArray[np.float64]

BUDGET = 2**28  # bytes of gradients at a time, our choice: past some hundred rows at once nothing is gained
HELD = 4  # gradients as wide as the widest that one backward pass holds together
NUDGE = 1e-4  # relative; how far the input is moved to see whether the output moves


def jacobian_spectrum(
    module: nn.Module | Function,
    x: Tensor | ArrayLike,
    *,
    batched: bool = False,
    device: str | None = None,
    dtype: str = "float64",
    max_dense: int = EXACT_SIDE,
    products: int = PRODUCTS,
    seed: int = 0,
    progress: Progress = silent,
) -> ModuleJacobian:
    """The singular values s_1 >= ... >= s_k of J = d module(x) / d x, (m, n), k = min(m, n), and their facts.

    m and n count all outputs and all inputs, whatever their shapes. With `batched` the first axis of `x` counts inputs,
    each of which the module sees as a batch of one. The facts are over the values of all inputs together:

    - `mean`, `variance`, and `participation`, the fraction of values within [0.5, 2];
    - `rank`: how many are above max(m, n) eps s_1 (numpy.linalg.matrix_rank's rule), the least over inputs; eps is
      of the coarsest dtype among the parameters, the output and `dtype`;
    - `std`, the population's, and `condition_pooled`, the largest value of all over the least: what the tables of Lee
      et al. (ICLR 2020) have;
    - `condition`: the largest s_1/s_k of an input. Both conditions are None where a Jacobian has not full rank.

    Where k <= max_dense, J is computed, not by finite differences: row by row in reverse mode, or column by column
    where n < m, many at a time, and then LAPACK's SVD. Beyond, the distribution of the values is found by stochastic
    Lanczos quadrature of J J^T or J^T J, the smaller one, with at most about `products` products with J and J^T
    (measure.values.density, whose default it is), and `error` tells how far it may be off; `sigma_max` is a lower bound
    then.

    Parameters and buffers, in copies, and x are cast to `dtype`, float64 or float32, whatever they were: a deep
    network has singular values of which float32 leaves no digit. Other tensors that a module or function holds are not
    cast. The module, its mode and torch's random state stay as they are: in training mode batch norm takes the
    statistics of this very input, and what draws random numbers, such as dropout, is refused. Casts of float16 and
    bfloat16 are told in `reason`, and so is why something is None, or all is zero. Values below eps s_1 are rounding
    here; network_jacobian tells them from zero. `device` is torch's name of one, or "auto"; None is the module's own.

    Raises FormatError for inputs that are no finite real numbers, for outputs that are not one real tensor and for
    Jacobians that are not finite; SaoError for what the module can't take, for one that is random, for fewer than 128
    products and for unknown devices and dtypes; MemoryLimitError. The cost an input is k backward passes, O(m n k) and
    3 m n numbers, or `products` passes and O(m + n) numbers beside what the module's graph holds.

    >>> linear = nn.Linear(3, 2)
    >>> found = jacobian_spectrum(linear, [0.1, 0.2, 0.3])
    >>> np.allclose(found.singular_values[0], torch.linalg.svdvals(linear.weight.double()).detach())
    True
    """
    given = _given(x, batched)
    told: dict[str, Any] = {"device": device, "dtype": dtype, "max_dense": max_dense, "products": products}
    return spectrum_at(module, list(given.split(1)) if batched else [given], seed=seed, progress=progress, **told)


def spectrum_at(
    module: nn.Module | Function,
    inputs: Sequence[Tensor],
    *,
    device: str | None = None,
    dtype: str = "float64",
    max_dense: int = EXACT_SIDE,
    products: int = PRODUCTS,
    seed: int = 0,
    progress: Progress = silent,
) -> ModuleJacobian:
    """What jacobian_spectrum gives, at inputs of any shape that the module takes, at each alone; all alike."""
    computed = computed_dtype(dtype)
    if max_dense < 0:
        raise SaoError(f"max_dense {max_dense}: it is a number of singular values from 0; the default is {EXACT_SIDE}")
    check_products(products)
    tensors = [tensor for _, tensor in named_tensors(module)]
    where = find_device(device or str(next(iter([*tensors, *inputs])).device), dtype)
    points = [one.detach().to(device=where, dtype=computed) for one in inputs]
    with undisturbed(module, where):
        function = cast_function(module, where, computed)
        with telling_memory(lambda: _no_room(where, points[0].numel())):
            require_determined(function, points[0])
            found = []
            for number, point in enumerate(points):
                rng = generator(seed, number, PROBES)
                graph = JacobianProducts(function, point)
                with full_precision(_side(graph, max_dense, tensors)):
                    found.append(_found(function, graph, max_dense, products, rng, progress))
    eps = max(PRECISIONS[dtype], *(one.eps for one in found), *_eps(module))
    name = type(module).__name__ if isinstance(module, nn.Module) else getattr(module, "__name__", "function")
    return _report(found, eps, _halves([*tensors, inputs[0]]), module=name, device=str(where), dtype=dtype)


def _no_room(where: torch.device, size: int) -> str:
    elsewhere = "" if where.type == "cpu" else ", or device='cpu'"
    return f"{where} has no room for the Jacobian at an input of {size} numbers; choose a smaller one{elsewhere}"


class _Found(NamedTuple):
    """What one input has given; `density` is None where the values are exact."""

    values: Values
    shape: tuple[int, int]
    eps: float
    density: SpectralDensity | None
    note: str | None


def _side(products: JacobianProducts, max_dense: int, tensors: list[Tensor]) -> int:
    """Of a square of as many numbers as the largest operands have."""
    size = min(products.shape)
    return math.isqrt(max([products.widest * (size if size <= max_dense else 1), *map(torch.numel, tensors)]))


def _found(
    function: Function,
    products: JacobianProducts,
    max_dense: int,
    count: int,
    rng: np.random.Generator,
    progress: Progress,
) -> _Found:
    size = min(products.shape)
    density: SpectralDensity | None = None
    note: str | None = None
    if not products.connected:
        values = np.zeros(size)
    elif size <= max_dense:
        values = _dense_values(products, progress)
    else:
        density = _density(products, count, rng, progress)
        estimate = SingularValues.estimated(density, f"{size} singular values are more than max_dense = {max_dense}")
        values, note = estimate.values, estimate.reason
    if not values[0]:
        note = _zero_note(function, products, rng)
    return _Found(values, products.shape, products.eps, density, note)


def _dense_values(products: JacobianProducts, progress: Progress) -> Values:
    """The singular values of J, made in its shorter direction, in pieces whose gradients take BUDGET bytes."""
    m, n = products.shape
    size, width = min(m, n), HELD * max(products.point.element_size() * products.widest, products.row_bytes())
    piece = max(1, min(size, BUDGET // width))
    require_memory(24.0 * m * n + piece * width, f"a Jacobian of {m} x {n}", "choose a smaller max_dense")
    rows = np.empty((size, max(m, n)))
    for start in range(0, size, piece):
        progress("jacobian", start, size)
        basis = products.point.new_zeros(min(piece, size - start), size)
        basis.diagonal(start).fill_(1.0)
        found = products.backward(basis) if m <= n else products.forward(basis)
        rows[start : start + piece] = found.cpu().numpy()
    if not np.isfinite(rows).all():
        i, j = np.argwhere(~np.isfinite(rows))[0].tolist()
        output, at = (i, j) if m <= n else (j, i)
        raise FormatError(f"the Jacobian is {rows[i, j]} at output {output}, input {at} (from 0); {FINITE}")
    with one_thread(size):
        values: Values = np.linalg.svd(rows, compute_uv=False)
    return values


def _density(products: JacobianProducts, count: int, rng: np.random.Generator, progress: Progress) -> SpectralDensity:
    m, n = products.shape
    require_memory(80.0 * (m + n), f"the Lanczos vectors of a Jacobian of {m} x {n}")
    exponent = math.frexp(checked_norm(products, rng))[1]  # so that squares stay in range
    return operator_density(JacobianGram(products, exponent), rng, products=count, progress=progress).scaled(exponent)


def _zero_note(function: Function, products: JacobianProducts, rng: np.random.Generator) -> str:
    """Why a Jacobian is zero, as far as moving the input a little can tell."""
    point = products.point
    direction = torch.from_numpy(np.array(rng.standard_normal(tuple(point.shape)))).to(point)
    step = NUDGE * (1 + point.abs()) * direction
    near = [JacobianProducts(function, point + side * step) for side in (1, -1)]
    if all(torch.equal(one.output, products.output) for one in near):
        return "the Jacobian is zero: the output does not change with the input near it"
    if any(bool(one.backward(one.output.new_ones(1, one.shape[0])).any()) for one in near):
        return "the Jacobian is zero here, and not near it: the input is at a kink, where torch's derivative is 0"
    return "the Jacobian is zero, though the output changes with the input: a detach or rounding cuts the gradient"


def _given(x: Tensor | ArrayLike, batched: bool) -> Tensor:
    """The input as a tensor, checked."""
    given = x if isinstance(x, Tensor) else _from_numpy(np.array(x, order="C"))
    if not given.is_floating_point():
        raise FormatError(
            f"an input of {dtype_name(given)}; a Jacobian is with respect to real numbers: convert it, or give the "
            "embeddings of indices"
        )
    if not given.numel() or (batched and not given.ndim):
        least = "batched inputs need a first axis" if batched else "it must hold one number at least"
        raise FormatError(f"an input of shape {tuple(given.shape)}; {least}")
    finite = torch.isfinite(given)
    if not bool(finite.all()):
        place = tuple((~finite).nonzero()[0].tolist())
        raise FormatError(f"the input is {float(given[place])} at {place}; {FINITE}")
    return given


def _from_numpy(array: NDArray[Any]) -> Tensor:
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise FormatError(f"an input of numpy's {array.dtype}; give real numbers of a dtype that torch has") from error


def _eps(module: nn.Module | Function) -> list[float]:
    """Of the parameters' dtypes."""
    dtypes = {part.dtype for part in module.parameters()} if isinstance(module, nn.Module) else set()
    return [float(torch.finfo(dtype).eps) for dtype in dtypes if dtype.is_floating_point or dtype.is_complex]


def _halves(tensors: list[Tensor]) -> list[str]:
    """The names of their dtypes that are coarser than float32."""
    dtypes = {tensor.dtype: dtype_name(tensor) for tensor in tensors if tensor.is_floating_point()}
    return sorted(name for dtype, name in dtypes.items() if torch.finfo(dtype).eps > PRECISIONS["float32"])


def _report(found: list[_Found], eps: float, halves: list[str], **told: str) -> ModuleJacobian:
    (m, n), *others = {one.shape for one in found}
    if others:
        raise FormatError(f"{m} outputs of one input and {others[0][0]} of another; give such inputs one by one")
    values = np.stack([one.values for one in found])
    densities = [one.density for one in found if one.density is not None]
    exact = not densities
    largest = float(values.max())
    shares = values / (largest or 1.0)  # so that no square overflows
    ranks = (values > max(m, n) * eps * values[:, :1]).sum(axis=1)
    full = exact and bool((ranks == min(m, n)).all())
    variance = largest * largest * float(shares.var())
    notes = [one.note for one in found if one.note]
    if exact and largest and not full:
        least = f"{ranks.min()} of {min(m, n)}"
        notes.append(
            f"no condition number: the rank is {least}, values up to {max(m, n) * eps:.2g} sigma_max count as 0"
        )
    if not math.isfinite(variance):
        notes.append("the variance leaves the range of float64")
    if halves:
        notes.append(f"{' and '.join(halves)} cast to {told['dtype']}")
    return ModuleJacobian(
        **told,
        m=m,
        n=n,
        inputs=len(found),
        sigma_max=largest,
        sigma_max_error=max((density.sigma_max_error for density in densities), default=None),
        sigma_min=float(values.min()) if exact else None,
        mean=largest * float(shares.mean()),
        variance=variance,
        std=largest * float(shares.std()),
        rank=int(ranks.min()) if exact else None,
        participation=float(((values >= 0.5) & (values <= 2)).mean()),
        condition=float((values[:, 0] / values[:, -1]).max()) if full else None,
        condition_pooled=largest / float(values.min()) if full else None,
        exact=exact,
        error=max((density.error for density in densities), default=None),
        error_kind=None if exact else ESTIMATE,
        products=max((density.products for density in densities), default=0),
        reason="; ".join(dict.fromkeys(notes)) or None,
        singular_values=values,
    )
