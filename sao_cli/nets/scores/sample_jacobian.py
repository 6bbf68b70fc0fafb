"""The Jacobian of a module's outputs by its inputs, at many samples at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sao_cli.base.threads import SMALL
from sao_cli.nets.devices import full_precision
from sao_cli.nets.scores.scored_module import ScoredModule
from sao_cli.reports.sensitivities import PooledJacobian

MOST = 2**27  # numbers of all Jacobians, our choice: beyond, their singular values take minutes


def sample_jacobian(
    model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]
) -> tuple[PooledJacobian | None, str | None]:
    """The singular values of d model(x) / d x of all samples, pooled; or None, and why.

    In evaluation mode, where samples do not read each other, a backward pass an output gives the rows of all samples
    of a batch. The mean, the population's standard deviation, and the largest over the least (Lee et al., ICLR 2020).
    """
    module = ScoredModule(model)
    found, eps = [], 0.0
    with module.opened(), full_precision(SMALL):  # its matrices are as small as the number of outputs
        for x, _ in batches:
            point = module.inputs(x).detach().requires_grad_()
            output = module.run(module.weights, point)
            outputs, inputs = output.shape[-1], point[0].numel()
            if sum(len(one) for one, _ in batches) * outputs * inputs > MOST:
                return None, "the samples' Jacobians are too many numbers; give fewer --samples"
            rows = [
                torch.autograd.grad(one.sum(), point, retain_graph=True)[0].flatten(1) for one in output.unbind(dim=-1)
            ]
            jacobians = torch.stack(rows, dim=1).double()
            if not torch.isfinite(jacobians).all():
                return None, "the Jacobian at the samples is not finite"
            found.append(torch.linalg.svdvals(jacobians))
            eps = max(outputs, inputs) * torch.finfo(output.dtype).eps
    values = torch.cat(found)
    largest, least = float(values.max()), float(values.min())
    known = least > eps * largest
    reason = None if known else "a Jacobian has not full rank, so that there is no condition"
    pooled = PooledJacobian(
        mean=float(values.mean()),
        std=float(values.std(correction=0)),
        condition_pooled=largest / least if known else None,
    )
    return pooled, reason
