"""Which of the first layer's weights pruning keeps: by the pixel that they read, and by the class that is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sao_cli.base.names import check, load
from sao_cli.catalog import SCORES
from sao_cli.io.datasets.samples import Samples, load_samples, of_class
from sao_cli.nets.initialise.laws import initialise_by_
from sao_cli.nets.networks.fnn import FNN
from sao_cli.nets.scores.prune_module import keep


@dataclass(frozen=True, eq=False)
class InputCounts:
    """How many weights of the first layer are kept at each pixel, where `samples` are scored.

    `counts` are whole numbers of an image's shape, (side, side) of grey ones, from 0 to `outputs`; `label` is the class
    that the samples are of, None where they are of all. `kept` weights are in the first layer, of all layers' `total`.
    """

    label: int | None
    samples: int
    outputs: int
    counts: NDArray[np.int64]
    total: int

    @property
    def kept(self) -> int:
        """The first layer's."""
        return int(self.counts.sum())


def first_layer_counts(
    data: str = "mnist",
    folder: str | None = None,
    *,
    sparsity: float = 0.9,
    method: str = "snip",
    widths: tuple[int, ...] = (300, 100),
    activation: str = "relu",
    init: str = "vs-l",
    samples: int | None = None,
    seed: int = 0,
) -> list[InputCounts]:
    """The first layer's mask summed over its outputs, of all classes and then of each class alone (SNIP, section 5.4).

    One fully connected network, of LeNet-300-100's hidden layers by default and drawn by `seed`, is pruned by the
    scores of a `method` that reads samples: of the first `samples` training images (all), and of those of each class
    among them. Raises what load_samples, the scores and `keep` raise. The cost of scoring all samples twice.

    >>> everything, *classes = first_layer_counts("digits", sparsity=0.9, samples=200)
    >>> everything.counts.shape, len(classes), sum(one.samples for one in classes)
    ((8, 8), 10, 200)
    """
    check("method", method, [name for name, row in SCORES.items() if row.data])
    read = load_samples(data, folder, samples, seed=seed)
    sizes = [read.flat.shape[1], *widths, read.classes]
    model = FNN(1, sizes, method="dense", dense_ends=False, activation=activation, dtype=torch.float64)
    initialise_by_(model, init, seed=seed)
    told: dict[str, Any] = {"sparsity": sparsity, "method": method}
    whole = _counted(model, read, None, **told)
    labels = [label for label in range(read.classes) if (read.y == label).any()]
    return [whole, *(_counted(model, of_class(read, label), label, **told) for label in labels)]


def _counted(model: nn.Module, samples: Samples, label: int | None, *, sparsity: float, method: str) -> InputCounts:
    pairs = [(torch.from_numpy(samples.flat), torch.from_numpy(samples.y))]
    row = SCORES[method]
    scores = load(row.home)(model, pairs, **({"sparsity": sparsity} if row.rounds else {}))
    masks = scores.facts.masks or keep(scores, sparsity)
    first = next(iter(masks.values())).cpu().numpy()
    counts = first.sum(axis=0, dtype=np.int64).reshape(samples.x.shape[1:])
    total = sum(int(mask.sum()) for mask in masks.values())
    return InputCounts(label, len(samples.y), len(first), counts[0] if len(counts) == 1 else counts, total)
