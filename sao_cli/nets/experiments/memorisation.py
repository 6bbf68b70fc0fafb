"""Whether pruned networks learn random labels by heart, beside what they learn of true ones (SNIP's slides)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sao_cli.base.progress import Progress, silent
from sao_cli.nets.experiments.error_rates import AS_SNIP, ErrorRates, error_rates, pruned_by
from sao_cli.nets.training.settings import TrainingSettings


def memorisation_errors(
    sparsities: Sequence[float] = (0.0, 0.9, 0.97, 0.99),
    *,
    data: str = "mnist",
    folder: str | None = None,
    images: int = 1000,
    epochs: int = 60,
    learning_rate: float = 0.01,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = silent,
) -> list[ErrorRates]:
    """Error rates of LeNet-300-100 on `images` training images: each sparsity with random labels, then with true ones.

    `settings.random_labels` tells which (Zhang et al., ICLR 2017); 0 is the dense network. SNIP scores all the images,
    with the labels that are then learnt. The rate is constant and there is no weight decay: nothing but the mask is in
    memory's way. As many test images are read. Raises what error_rates raises.

    >>> rows = memorisation_errors((0.9,), data="digits", images=100, epochs=1, seeds=(0,))
    >>> [(row.settings.random_labels, row.kept) for row in rows]
    [(True, 5020), (False, 5020)]
    """
    told: dict[str, Any] = {"data": data, "arch": "lenet300", "epochs": epochs, **AS_SNIP}
    told |= {"weight_decay": 0.0, "learning_rate": learning_rate}
    of = [
        TrainingSettings(**told, **pruned_by("snip", sparsity), random_labels=random)
        for sparsity in sparsities
        for random in (True, False)
    ]
    read: dict[str, Any] = {"images": images, "test_images": images}
    return [error_rates(settings, folder, **read, seeds=seeds, progress=progress) for settings in of]
