"""Kernels by the names of their scheme and method."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from sao_cli import catalog
from sao_cli.base.errors import SaoError
from sao_cli.base.names import check, load, one_of
from sao_cli.base.threads import one_thread
from sao_cli.data.kernel import Kernel
from sao_cli.data.precision import PRECISIONS
from sao_cli.masks.degrees import DEFAULT_DEGREE, check_sizes, check_target, kept_entries, resolve_degree
from sao_cli.weights.kernels.channels import channel_mask, checked_size, cut_mask, halves, looks_linear_kernel
from sao_cli.weights.kernels.soc import TERMS

SCHEMES = tuple(catalog.SCHEMES)
METHODS = tuple(catalog.KERNEL_METHODS)


def build_kernel(
    c_out: int,
    c_in: int,
    size: int | Sequence[int] = 3,
    *,
    scheme: str = "delta",
    method: str | None = None,
    d: int | None = None,
    c: int | None = None,
    sparsity: float | None = None,
    gain: float = 1.0,
    dtype: str | None = None,
    axes: int = 2,
    stride: int = 1,
    looks_linear: bool = False,
    terms: int = TERMS,
    seed: int = 0,
    layer: int = 1,
    arrangement: str = "random",
) -> Kernel:
    """The (c_out, c_in, *size) kernel of a scheme, one of SCHEMES, by a method, one of METHODS.

    `scheme`: delta_kernel, eco_kernel and soc_kernel, or random_kernel with values normal or uniform. `method`:

    - `dense`: all kernels; `d`, `c` and `sparsity` do not concern it. The default without any of them;
    - `sao`: the scheme on an SAO mask, which all three orthogonal schemes stay orthogonal on. The default with one;
    - `rg-n`, `rg-u`: normal or uniform values on an SAO mask; they have no scheme besides;
    - `rg-s`: the mask of `sao` times the dense kernel of the scheme;
    - `lmp`, `lrp`: of the dense kernel of the scheme the 2-D kernels of the largest norms, or those at random places.

    One of `d`, `c` and `sparsity` fixes how many kernels are kept, d = 4 or the nearest by none of them: d a row and c
    a column for delta, normal and uniform. For eco and soc both are the degree of the square mask of max(c_out, c_in)
    channels that theirs is cut from. A sparsity takes the nearest feasible degree; lmp and lrp keep
    masks.degrees.kept_entries kernels.

    `stride` s is for eco, which then has c_in s^D input channels; the other schemes leave strides to the convolution.
    `terms` is for soc, whose kernel is larger than `size`. `looks_linear` makes [[W, -W], [-W, W]] of a kernel
    W with half the channels and half the degree: singular values 2 and 0 where W is orthogonal. `gain` > 0 multiplies
    all values, which are drawn in float64 and rounded to `dtype`. The provenance tells all this.

    Raises SaoError for unknown names and for options that do not go together, InfeasibleError for sizes and degrees
    that can't be, MemoryLimitError for what would not fit. Cost: see each scheme.

    >>> build_kernel(128, 64, d=4)
    Kernel(128 x 64 x 3 x 3, kernels=512, float64)
    >>> build_kernel(16, 16, scheme="eco", sparsity=0.7).mask.sparsity
    0.75
    """
    target: dict[str, Any] = {"d": d, "c": c, "sparsity": sparsity}
    given = any(value is not None for value in target.values())
    method = method or ("sao" if given else "dense")
    scheme = _checked_scheme(scheme, method)
    _check_options(scheme, method, stride, terms, arrangement, gain, dtype)
    check_sizes(c_out, c_in)
    size = checked_size(size, axes)
    facts: dict[str, Any] = {"method": method}
    if sparsity is not None and method != "dense":
        facts["requested_sparsity"] = sparsity
    if looks_linear:
        c_out, c_in, target["d"], target["c"] = halves(c_out, c_in, d if given else DEFAULT_DEGREE, c)
    stream = {"seed": seed, "layer": layer}
    row = catalog.SCHEMES[scheme]
    offered = {"stride": stride, "terms": terms}
    options = {"axes": axes, **({"law": scheme} if row.law else {}), **{name: offered[name] for name in row.takes}}
    make = partial(load(row.home), c_out, c_in, size, **options, **stream)
    c_in *= stride**axes
    with one_thread(min(c_out, c_in)):
        kernel = _built(make, row, method, c_out, c_in, target, {"arrangement": arrangement, **stream})
    kernel = looks_linear_kernel(kernel) if looks_linear else kernel
    return _finished(kernel, gain, facts).as_dtype(dtype)


def _built(
    make: Callable[..., Kernel],
    scheme: catalog.Scheme,
    method: str,
    c_out: int,
    c_in: int,
    target: dict[str, Any],
    of_masks: dict[str, Any],
) -> Kernel:
    """`make`'s kernel, dense or of a degree, or what the method keeps of the dense one."""
    row = catalog.METHODS[method]
    side = max(c_out, c_in)
    sizes = (side, side) if scheme.circular else (c_out, c_in)
    if row.full:
        if any(value is not None for value in target.values()):
            check_target(*sizes, **target)  # it is dense all the same, but what nothing can have is refused
        return make()
    if row.keeps:
        random = bool(catalog.PRUNING[method].mask)
        stream = {"seed": of_masks["seed"], "layer": of_masks["layer"]} if random else {}
        return _part(row, make(), kept_entries(c_out, c_in, **target), **stream)
    degree = resolve_degree(*sizes, row.on, **target)
    if not row.kept_kernel:
        return make(degree=degree, arrangement=of_masks["arrangement"])
    if scheme.circular:
        return _part(row, make(), cut_mask(c_out, c_in, degree, **of_masks)[1])
    return _part(row, make(), channel_mask(c_out, c_in, degree, **of_masks))


def _part(row: catalog.Method, dense: Kernel, *kept: Any, **stream: int) -> Kernel:
    part: Kernel = load(row.kept_kernel)(dense, *kept, **stream)
    return part


def _checked_scheme(scheme: str, method: str) -> str:
    """The scheme of the method: its own law, where it has one and so takes no other than the default."""
    check("method", method, METHODS)
    check("scheme", scheme, SCHEMES)
    own = catalog.METHODS[method].own_law or scheme
    if scheme not in (own, SCHEMES[0]):
        raise SaoError(
            f"method {method!r} has values of its own, {own}, and not those of scheme {scheme!r}; leave one out"
        )
    return own


def _check_options(
    scheme: str, method: str, stride: int, terms: int, arrangement: str, gain: float, dtype: str | None
) -> None:
    takes = catalog.SCHEMES[scheme].takes
    if "stride" not in takes and stride != 1:
        raise SaoError(
            f"stride {stride} is of scheme {_taking('stride')}; a {scheme} kernel leaves its stride to the convolution"
        )
    if "terms" not in takes and terms != TERMS:
        raise SaoError(f"terms {terms} are of scheme {_taking('terms')}; a {scheme} kernel is no series")
    if stride < 1:
        raise SaoError(f"stride {stride}; a stride is at least 1")
    if not catalog.METHODS[method].on and arrangement != "random":
        raise SaoError(f"arrangement {arrangement!r} is of SAO masks; method {method!r} has none")
    if not (math.isfinite(gain) and gain > 0):
        raise SaoError(f"gain {gain} is no positive finite number; 1 leaves the weights as they are")
    if dtype is not None:
        check("dtype", dtype, PRECISIONS)


def _taking(option: str) -> str:
    return one_of(name for name, row in catalog.SCHEMES.items() if option in row.takes)


def _finished(kernel: Kernel, gain: float, facts: dict[str, Any]) -> Kernel:
    """The kernel times its gain, its provenance telling `facts` too."""
    values = kernel.values
    if gain != 1:
        facts = facts | {"gain": gain}
        with np.errstate(over="ignore", under="ignore"):
            values = values * gain
        if not np.isfinite(values).all() or not values[kernel.values != 0].all():
            raise SaoError(f"gain {gain} makes weights that overflow, or vanish; choose one nearer to 1")
    mask = replace(kernel.mask, provenance={**kernel.mask.provenance, **facts})
    return Kernel(values, mask, kernel.dtype)
