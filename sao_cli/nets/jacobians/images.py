"""The Jacobian from images to features of the paper's convolutional networks, at several depths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from sao_cli.base.memory import require_memory
from sao_cli.base.names import check, load
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import SIZED_ARCHITECTURES
from sao_cli.data.arrays import Values
from sao_cli.nets.devices import computed_dtype, find_device
from sao_cli.nets.jacobians.functions import Function
from sao_cli.nets.jacobians.module import jacobian_spectrum
from sao_cli.nets.jacobians.points import drawn_inputs
from sao_cli.reports.networks import DepthJacobian

OF_IMAGES = {name: row for name, row in SIZED_ARCHITECTURES.items() if row.image}


def architecture_jacobian(
    architecture: str,
    depths: Sequence[int],
    *,
    image: int | None = None,
    inputs: int = 1,
    input_std: float = 1.0,
    device: str = "auto",
    dtype: str = "float64",
    seed: int = 0,
    progress: Progress = silent,
    **options: Any,
) -> Iterator[DepthJacobian]:
    """One row a depth: the singular values of d features(x) / d x of a freshly initialised network of that depth.

    `architecture` is "cnn" or "lipconvnet", and `options` are CNN's or LipConvNet's. Features are what stands before
    the pooling and the classifier, (m,), and x an image of 3 channels, (n,), x ~ N(0, input_std^2 I); `inputs` draws of
    it are taken together. Up to the exact side of jacobian_spectrum the Jacobian is computed whole, in reverse mode;
    beyond, the values are quantiles of a stochastic density, and `reason` says so. Values below max(m, n) eps sigma_max
    are rounding here, since no chain of matrices is at hand, and not resolved.

    Raises what CNN, LipConvNet and jacobian_spectrum raise, and SaoError for another architecture.

    >>> [row] = architecture_jacobian("cnn", [3], image=8, width=8, degree=4)
    >>> row.m, row.n
    (32, 192)
    """
    check("architecture", architecture, OF_IMAGES)
    computed = computed_dtype(dtype)
    row = OF_IMAGES[architecture]
    build = load(row.home)
    where = find_device(device, dtype)
    side = row.image if image is None else image
    channels = int(options.get(row.sized_by, row.width))
    what = f"features of {channels} channels on images of {side} x {side}"
    require_memory(4 * 8 * channels * side**2, what, "choose fewer channels or smaller images")
    x = drawn_inputs(inputs, (3, side, side), input_std, seed)
    for number, depth in enumerate(depths, 1):
        network = build(depth, image=side, seed=seed, device=where, dtype=computed, **options)
        network.requires_grad_(False)
        told = {
            "depth": depth,
            "method": options.get("method", "sao" if options.keys() & {"degree", "sparsity"} else "dense"),
            "activation": "max-min" if row.fixed else str(options.get("activation", "tanh")),
            "gain": float(options.get("gain", 1.0)),
        }
        yield at_images(network.features, x, told, device=device, dtype=dtype, seed=seed, progress=progress)
        progress("networks", number, len(depths))


def at_images(
    function: nn.Module | Function,
    x: Values,
    told: dict[str, Any],
    *,
    device: str,
    dtype: str,
    seed: int,
    progress: Progress,
) -> DepthJacobian:
    """The row of `told`, depth, method, activation and gain, of a network at images `x` (B, channels, side, side)."""
    where = find_device(device, dtype)
    asked: dict[str, Any] = {"device": str(where), "dtype": dtype, "seed": seed, "progress": progress}
    found = jacobian_spectrum(function, torch.from_numpy(x).to(where, computed_dtype(dtype)), batched=True, **asked)
    largest = found.singular_values.max(axis=1, keepdims=True)
    eps = float(torch.finfo(computed_dtype(found.dtype)).eps)
    live = found.singular_values > max(found.m, found.n) * eps * largest
    with np.errstate(divide="ignore"):
        values = np.where(live, np.log10(found.singular_values), -np.inf)
    resolved = values[live]
    any_, lost = bool(resolved.size), values.size - resolved.size
    reasons = [found.reason] if found.reason else []
    if lost and found.exact:
        reasons.append(f"{lost} of {values.size} singular values can't be told from zero: log10_sigma_min is not known")
    return DepthJacobian(
        m=found.m,
        n=found.n,
        inputs=found.inputs,
        mean=found.mean,
        variance=found.variance,
        log10_sigma_max=float(resolved.max()) if any_ else None,
        log10_sigma_min=float(resolved.min()) if any_ and found.exact and not lost else None,
        log10_mean=float(resolved.mean()) if any_ else None,
        log10_std=float(resolved.std()) if any_ else None,
        rank=found.rank,
        resolved=resolved.size / values.size,
        participation=found.participation,
        predicted_log10_mean_square=None,
        predicted_relative_variance=None,
        device=found.device,
        dtype=found.dtype,
        reason="; ".join(reasons) or None,
        log10_values=values,
        **told,
    )
