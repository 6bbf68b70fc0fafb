"""The Jacobian of a network at several images, as a row of training tells it."""

from __future__ import annotations

import math

from torch import Tensor, nn

from sao_cli.base.progress import Progress, silent
from sao_cli.nets.jacobians.module import jacobian_spectrum
from sao_cli.reports.networks import InputOutputJacobian


def input_output_jacobian(model: nn.Module, inputs: Tensor, *, progress: Progress = silent) -> InputOutputJacobian:
    """The facts of the singular values of d model(x) / d x at the `inputs` (B, ...), which the model sees one by one.

    `std` is of the population, all values of all inputs together, and so is `condition_pooled`, their largest over
    their least (Lee et al., ICLR 2020, whose tables have both): `condition` is the worst of the inputs. Both
    conditions are None, and `reason` says why, where a Jacobian has not full rank or its values are estimated. In
    float64, whatever the model's dtype. Raises what jacobian_spectrum raises, and costs what it costs.

    >>> import torch
    >>> linear = nn.Linear(3, 2)
    >>> found = input_output_jacobian(linear, torch.zeros(4, 3))
    >>> found.inputs, found.condition == found.condition_pooled
    (4, True)
    """
    found = jacobian_spectrum(model, inputs, batched=True, progress=progress)
    largest, least = found.sigma_max, found.sigma_min
    told = found.rank == min(found.m, found.n)
    return InputOutputJacobian(
        inputs=found.inputs,
        m=found.m,
        n=found.n,
        mean=found.mean,
        variance=found.variance,
        std=found.std,
        log10_sigma_max=math.log10(largest) if largest else None,
        log10_sigma_min=math.log10(least) if least and told else None,
        rank=found.rank,
        participation=found.participation,
        condition=found.condition,
        condition_pooled=found.condition_pooled,
        reason=found.reason,
    )
