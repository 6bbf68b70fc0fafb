"""The learning rate as training goes on."""

from __future__ import annotations

import math

from sao_cli.nets.training.settings import TrainingSettings


def learning_rate(settings: TrainingSettings, epoch: float) -> float:
    """The learning rate after `epoch` of the epochs of a phase, a fraction of one too (2.5: half of the third is done).

    It rises linearly from 0 in the first `warmup` epochs. Then "steps" multiplies it by `decay` at each milestone that
    has passed; "cosine" has (1 + cos(pi t)) / 2 of it, t the part that has passed of the epochs after the warm-up
    (Loshchilov and Hutter, ICLR 2017). `settings` are resolved ones.

    >>> [learning_rate(TrainingSettings(milestones=(1,)).resolved(), epoch) for epoch in (0, 1)]
    [0.01, 0.001]
    """
    rate, warmup = settings.learning_rate, settings.warmup
    assert rate is not None
    assert warmup is not None
    assert settings.milestones is not None
    assert settings.epochs is not None
    if epoch < warmup:
        return rate * epoch / warmup
    if settings.schedule == "cosine":
        return rate * (1 + math.cos(math.pi * (epoch - warmup) / max(settings.epochs - warmup, 1))) / 2
    return rate * settings.decay ** sum(epoch >= one for one in settings.milestones)
