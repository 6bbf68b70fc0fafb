"""SNIP's table of LeNets: what they get wrong when they are pruned before training (Lee et al., ICLR 2019, Table 1)."""

from __future__ import annotations

from collections.abc import Sequence

from sao_cli.base.progress import Progress, silent
from sao_cli.nets.experiments.error_rates import AS_SNIP, ErrorRates, error_rates, pruned_by
from sao_cli.nets.training.settings import TrainingSettings

_SCORED = 100  # images: a batch, as in the paper


def lenet_errors(
    arch: str,
    sparsities: Sequence[float] = (0.0, 0.95, 0.98),
    *,
    data: str = "mnist",
    folder: str | None = None,
    epochs: int = 20,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = silent,
) -> list[ErrorRates]:
    """Error rates of LeNet-300-100 ("lenet300") or LeNet-5-Caffe ("lenet5") after SNIP, a row a sparsity; 0 is dense.

    All layers are pruned, the first and the last too, and biases never. SGD at 0.1 with momentum 0.9, as the paper's,
    whose rate falls tenfold every 25,000 steps; here it goes to 0 by a cosine, which any number of epochs has. Raises
    what error_rates raises.

    >>> dense, sparse = lenet_errors("lenet300", (0.0, 0.9), data="digits", epochs=1, seeds=(0,))
    >>> dense.kept, sparse.kept
    (50200, 5020)
    """
    told = {"data": data, "arch": arch, "epochs": epochs, "schedule": "cosine", **AS_SNIP}
    of = [TrainingSettings(**told, **pruned_by("snip", one, prune_samples=_SCORED)) for one in sparsities]
    return [error_rates(settings, folder, seeds=seeds, progress=progress) for settings in of]
