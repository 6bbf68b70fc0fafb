"""Pruning before training without labels, and what of a mask matters (Lee et al., ICLR 2020; Su et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sao_cli.base.errors import SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.nets.experiments.error_rates import ErrorRates, Read, rates_by_seed
from sao_cli.nets.experiments.mnist_shapes import mnist_shaped
from sao_cli.nets.training.settings import TrainingSettings

_SNIP = {"method": "snip"}
WAYS: dict[str, dict[str, Any]] = {  # how the network is pruned, as settings have it
    "dense": {"method": "dense"},
    "labels": _SNIP,
    "one batch of 100": _SNIP | {"prune_samples": 100},
    "fresh weights": _SNIP | {"control": "fresh"},
    "shuffled in layers": _SNIP | {"control": "shuffle"},
    "argmax": _SNIP | {"prune_labels": "argmax"},
    "random labels": _SNIP | {"prune_labels": "random"},
    "uniform": _SNIP | {"prune_labels": "uniform"},
    "entropy": _SNIP | {"prune_labels": "prediction"},
    "sum of logits": _SNIP | {"prune_labels": "logits"},
    "random mask": {"method": "random"},
}


@dataclass(frozen=True)
class WayErrors:
    """What tanh networks get wrong that are pruned in the `way` of that name; `rates.settings` tell data and sizes."""

    way: str
    rates: ErrorRates


def unsupervised_errors(
    data: str = "digits",
    folder: str | None = None,
    *,
    images: int | None = None,
    ways: Sequence[str] = tuple(WAYS),
    hidden: Sequence[int] = (3, 7),
    width: int = 100,
    sparsity: float = 0.9,
    epochs: int | None = None,
    learning_rate: float | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = silent,
) -> list[WayErrors]:
    """Lee et al.'s table of unsupervised pruning (ICLR 2020, "Validation and extensions"), a row a depth and way.

    Networks of 784, `hidden` times `width`, and the classes are drawn by vs-g, pruned to `sparsity` by SNIP in one of
    the WAYS, and trained on the first `images` images (all) of mnist_shaped data, with what TrainingSettings have where
    `epochs` and `learning_rate` are not told. Ways differ in the mask alone: a seed's weights, batches and test images
    are the same, but for "fresh weights", which are drawn anew. Their "Pred. (raw)" and "Pred. (softmax)" are in no
    code of theirs: ours are "sum of logits" and "entropy".

    Raises SaoError for unknown ways and without seeds, and what mnist_shaped and Training raise. A run of Training a
    row and seed.

    >>> [row] = unsupervised_errors(images=200, ways=["uniform"], hidden=[1], width=20, seeds=[0], epochs=1)
    >>> row.way, row.rates.kept, row.rates.weights
    ('uniform', 1588, 15880)
    """

    def read(settings: TrainingSettings) -> Read:
        return mnist_shaped(data, folder, images=images, seed=settings.seed), None

    asked: dict[str, Any] = {"sparsity": sparsity, "epochs": epochs, "learning_rate": learning_rate}
    of = [(way, way_settings(data, way, [width] * depth, **asked)) for depth in hidden for way in ways]
    return [WayErrors(way, rates_by_seed(settings, read, seeds, progress)) for way, settings in of]


def way_settings(data: str, way: str, widths: Sequence[int], *, sparsity: float = 0.9, **told: Any) -> TrainingSettings:
    """The settings of a tanh network of those hidden widths, pruned in the way of that name, with others as `told`."""
    if way not in WAYS:
        raise SaoError(f"no way {way!r} of pruning; there are {', '.join(WAYS)}")
    pruned: dict[str, Any] = {} if way == "dense" else {"sparsity": sparsity}
    asked: dict[str, Any] = {"widths": tuple(widths), "init": "vs-g", "jacobian_at": ()}
    return TrainingSettings(data=data, **asked, **WAYS[way], **pruned, **told)
