"""Kernels by the names of their scheme and method."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from sao_cli.base.errors import SaoError, unknown_name
from sao_cli.base.threads import one_thread
from sao_cli.data.kernel import Kernel
from sao_cli.data.precision import PRECISIONS
from sao_cli.masks.degrees import DEFAULT_DEGREE, check_sizes, check_target, kept_entries, resolve_degree
from sao_cli.weights.kernels.baselines import lmp_kernel, lrp_kernel, masked_kernel, random_kernel
from sao_cli.weights.kernels.channels import channel_mask, checked_size, cut_mask, halves, looks_linear_kernel
from sao_cli.weights.kernels.delta import delta_kernel
from sao_cli.weights.kernels.eco import eco_kernel
from sao_cli.weights.kernels.soc import TERMS, soc_kernel

SCHEMES = ("delta", "eco", "soc", "normal", "uniform")
METHODS = ("dense", "sao", "rg-n", "rg-u", "rg-s", "lmp", "lrp")
SQUARE = ("eco", "soc")  # their unequal channels are cut from a square mask
LAW_OF = {"rg-n": "normal", "rg-u": "uniform"}


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
    options = {"axes": axes, **({"stride": stride} if scheme == "eco" else {"terms": terms} if scheme == "soc" else {})}
    make = partial(_CONSTRUCTIONS[scheme], c_out, c_in, size, **options, **stream)
    c_in *= stride**axes
    with one_thread(min(c_out, c_in)):
        kernel = _built(make, scheme, method, c_out, c_in, target, {"arrangement": arrangement, **stream})
    kernel = looks_linear_kernel(kernel) if looks_linear else kernel
    return _finished(kernel, gain, facts).as_dtype(dtype)


_CONSTRUCTIONS: dict[str, Callable[..., Kernel]] = {
    "delta": delta_kernel,
    "eco": eco_kernel,
    "soc": soc_kernel,
    "normal": partial(random_kernel, law="normal"),
    "uniform": partial(random_kernel, law="uniform"),
}


def _built(
    make: Callable[..., Kernel],
    scheme: str,
    method: str,
    c_out: int,
    c_in: int,
    target: dict[str, Any],
    of_masks: dict[str, Any],
) -> Kernel:
    """`make`'s kernel, dense or of a degree, or what the method keeps of the dense one."""
    side = max(c_out, c_in)
    sizes = (side, side) if scheme in SQUARE else (c_out, c_in)
    if method == "dense":
        if any(value is not None for value in target.values()):
            check_target(*sizes, **target)  # it is dense all the same, but what nothing can have is refused
        return make()
    if method in ("lmp", "lrp"):
        count = kept_entries(c_out, c_in, **target)
        stream = {"seed": of_masks["seed"], "layer": of_masks["layer"]}
        return lmp_kernel(make(), count) if method == "lmp" else lrp_kernel(make(), count, **stream)
    degree = resolve_degree(*sizes, "sao", **target)
    if method != "rg-s":
        return make(degree=degree, arrangement=of_masks["arrangement"])
    if scheme in SQUARE:
        return masked_kernel(make(), cut_mask(c_out, c_in, degree, **of_masks)[1])
    return masked_kernel(make(), channel_mask(c_out, c_in, degree, **of_masks))


def _checked_scheme(scheme: str, method: str) -> str:
    """The scheme of the method: its own law for rg-n and rg-u, which take no other than the default."""
    if method not in METHODS:
        raise SaoError(unknown_name("unknown method", method, METHODS))
    if scheme not in SCHEMES:
        raise SaoError(unknown_name("unknown scheme", scheme, SCHEMES))
    own = LAW_OF.get(method, scheme)
    if scheme not in (own, SCHEMES[0]):
        raise SaoError(
            f"method {method!r} has values of its own, {own}, and not those of scheme {scheme!r}; leave one out"
        )
    return own


def _check_options(
    scheme: str, method: str, stride: int, terms: int, arrangement: str, gain: float, dtype: str | None
) -> None:
    if scheme != "eco" and stride != 1:
        raise SaoError(f"stride {stride} is of scheme eco; a {scheme} kernel leaves its stride to the convolution")
    if scheme != "soc" and terms != TERMS:
        raise SaoError(f"terms {terms} are of scheme soc; a {scheme} kernel is no series")
    if stride < 1:
        raise SaoError(f"stride {stride}; a stride is at least 1")
    if method in ("dense", "lmp", "lrp") and arrangement != "random":
        raise SaoError(f"arrangement {arrangement!r} is of SAO masks; method {method!r} has none")
    if not (math.isfinite(gain) and gain > 0):
        raise SaoError(f"gain {gain} is no positive finite number; 1 leaves the weights as they are")
    if dtype is not None and dtype not in PRECISIONS:
        raise SaoError(unknown_name("unknown dtype", dtype, PRECISIONS))


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
