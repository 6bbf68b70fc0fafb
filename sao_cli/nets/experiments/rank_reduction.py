"""What training that fuses parallel rows and columns saves and costs (Lee et al., Appl. Sci. 2021, 11, 725)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from sao_cli.base.errors import SaoError
from sao_cli.base.names import check
from sao_cli.base.progress import Progress, silent
from sao_cli.io.datasets.dataset import Dataset
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.measure.redundancy.features import FeatureLayer, StatedBetween, reduce_features
from sao_cli.nets.layers.rare_linear import RareLinear
from sao_cli.nets.training.data import load_data
from sao_cli.nets.training.loop import Training
from sao_cli.nets.training.settings import TrainingSettings

# Of section 5.1.1, but for the batch size, which it does not tell, and the noise on gradients, which is left out.
AS_RARE: dict[str, Any] = {
    "method": "dense",
    "activation": "relu",
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "batch_size": 64,
    "init": "vs-h",
    "jacobian_at": (),
}
STRENGTH, DECAY = 20.0, 0.1  # the paper's lambda_1 and lambda_2
_UNFUSED = {"rare": 0.0, "l2": 0.0, "tau_cos": 0.0}
_FUSED = {"rare": STRENGTH, "l2": DECAY}
KINDS: dict[str, dict[str, Any]] = {  # the rows of the paper's Table 1, and controls
    "baseline": _UNFUSED | {"frobenius": False},
    "+FN": _UNFUSED | {"frobenius": True},
    "+DLRA": _FUSED | {"frobenius": True},
    "+DLRA without FN": _FUSED | {"frobenius": False},
    "lambda_1 = 0": _FUSED | {"rare": 0.0, "frobenius": True},
}


@dataclass(frozen=True)
class RareRuns:
    """Networks trained with one kind of settings, a number a seed, after the last epoch.

    `settings` are resolved, with the first seed. `accuracies` are of the test data in percent, by epoch, epoch 0 first.
    `parameters` are the numbers trained at the start, biases too, and `left` those at the end. `fusions` and `zero`
    (rows and columns that have died, and are not fused) are counts over all layers; `error_median` is that of a fuse,
    ||change||_F/||W||_F, None where there were none. `cores` are (m', n') of the layers, first layer first, and
    `features` how many units each passes on once those are merged that may be without any change (reduce_features).
    """

    name: str
    settings: TrainingSettings
    steps: int
    parameters: int
    left: tuple[int, ...]
    accuracies: tuple[tuple[float, ...], ...]
    fusions: tuple[int, ...]
    zero: tuple[int, ...]
    error_median: tuple[float | None, ...]
    cores: tuple[tuple[tuple[int, int], ...], ...]
    features: tuple[tuple[int, ...], ...]

    def accuracy(self, last: int = 5) -> tuple[float, ...]:
        """The mean of the `last` epochs of each seed, as the paper's Table 1 has it; of fewer where there are fewer."""
        return tuple(statistics.fmean(one[1:][-last:] or one) for one in self.accuracies)

    @property
    def compression(self) -> tuple[float, ...]:
        """The share of the numbers that is no longer trained, in percent."""
        return tuple(100 * (1 - one / self.parameters) for one in self.left)

    def epochs_to(self, accuracy: float) -> tuple[int | None, ...]:
        """The first epoch of each seed with a test `accuracy`, in percent, of at least that; None if there is none."""
        return tuple(next((k for k, found in enumerate(one) if found >= accuracy), None) for one in self.accuracies)


class CoreSizes(NamedTuple):
    """Means and standard deviations over seeds of one layer's sizes: a column of the paper's Table 2."""

    layer: int
    shape: tuple[int, int]
    inputs: tuple[float, float]
    outputs: tuple[float, float]
    features: tuple[float, float]


def rare_ablation(
    widths: Sequence[int] = (128, 128, 128),
    *,
    kinds: Sequence[str] = tuple(KINDS),
    data: str = "digits",
    folder: str | None = None,
    epochs: int = 260,
    dropout: float = 0.0,
    images: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = silent,
    **told: Any,
) -> list[RareRuns]:
    """The networks of the paper's Table 1, and controls: plain, with Frobenius normalisation, and with fusing.

    `widths` are the hidden ones; the paper's are (500,) * 5, its data fashion-mnist, its `dropout` 0.2 and its epochs
    2,000. Rows: "baseline", "+FN" (nothing is fused in these), "+DLRA" (lambda_1 = 20, lambda_2 = 0.1), "+DLRA without
    FN", and "lambda_1 = 0", which fuses what weight decay alone makes parallel or lets die; `kinds` are those that are
    wanted. `told` are further settings of all of them, as check_every. Raises SaoError for unknown kinds, and what
    Training and load_data raise. The cost of a training a kind and seed.

    >>> rows = rare_ablation((8, 8), epochs=1, images=64, seeds=(0,))
    >>> [(row.name, row.parameters, row.fusions) for row in rows][:2]
    [('baseline', 682, (0,)), ('+FN', 685, (0,))]
    """
    for kind in kinds:
        check("kind of training", kind, KINDS)
    chosen = {kind: KINDS[kind] for kind in kinds}
    common = AS_RARE | {"widths": tuple(widths), "data": data, "epochs": epochs, "dropout": dropout} | told
    return [
        rare_runs(TrainingSettings(**common | kind), folder, name=name, images=images, seeds=seeds, progress=progress)
        for name, kind in chosen.items()
    ]


def rare_strengths(
    strengths: Sequence[float] = (0.0, 1.0, 10.0, 20.0, 40.0, 80.0),
    widths: Sequence[int] = (128, 128, 128),
    *,
    data: str = "digits",
    folder: str | None = None,
    epochs: int = 260,
    dropout: float = 0.0,
    images: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = silent,
    **told: Any,
) -> list[RareRuns]:
    """Networks fused with each lambda_1 of `strengths`, the rest as in rare_ablation: the paper's Figure 3.

    >>> [row.name for row in rare_strengths((0, 20), (8, 8), epochs=0, images=64, seeds=(0,))]
    ['lambda_1 = 0', 'lambda_1 = 20']
    """
    common = AS_RARE | {"widths": tuple(widths), "data": data, "epochs": epochs, "dropout": dropout} | told
    return [
        rare_runs(
            TrainingSettings(**common | {"rare": float(one), "l2": DECAY, "frobenius": True}),
            folder,
            name=f"lambda_1 = {one:g}",
            images=images,
            seeds=seeds,
            progress=progress,
        )
        for one in strengths
    ]


def rare_runs(
    settings: TrainingSettings,
    folder: str | None = None,
    *,
    name: str = "",
    images: int | None = None,
    seeds: Sequence[int] = (0,),
    progress: Progress = silent,
) -> RareRuns:
    """Train the network of `settings`, which have `rare`, once a seed on the CPU, and tell what fusing made of it.

    The data are read from `folder`; with `images` the first so many training images are all there are. Raises SaoError
    without seeds and for settings without RaRe, and what Training and load_data raise.
    """
    if not seeds or settings.rare is None:
        raise SaoError(
            f"{len(seeds)} seeds, rare {settings.rare}: runs are of one seed at least, and of settings with rare, as 20"
        )
    settings = settings.resolved()
    runs = [_run(replace(settings, seed=seed), folder, images, progress) for seed in seeds]
    columns: dict[str, Any] = {key: tuple(run[key] for run in runs) for key in runs[0]}
    steps, parameters = columns.pop("steps")[0], columns.pop("parameters")[0]
    return RareRuns(name, replace(settings, seed=seeds[0]), steps, parameters, **columns)


def core_sizes(runs: RareRuns) -> list[CoreSizes]:
    """The sizes of W' that each layer ends with, over the seeds of `runs`, numbered from 1: the paper's Table 2.

    >>> [runs] = rare_strengths((20,), (8, 8), epochs=0, images=64, seeds=(0, 1))
    >>> core_sizes(runs)[1]
    CoreSizes(layer=2, shape=(8, 8), inputs=(8.0, 0.0), outputs=(8.0, 0.0), features=(8.0, 0.0))
    """
    shapes = _shapes(runs)
    return [
        CoreSizes(
            place + 1,
            shape,
            _spread([one[place][1] for one in runs.cores]),
            _spread([one[place][0] for one in runs.cores]),
            _spread([one[place] for one in runs.features]),
        )
        for place, shape in enumerate(shapes)
    ]


def p_values(runs: RareRuns, baseline: RareRuns, last: int = 5) -> tuple[float | None, float | None]:
    """Of Student's t-test that the accuracy of `runs` is that of the `baseline`: against a higher one, and two-sided.

    The paper's Table 1 has the one-sided ones, and does not say so. None with fewer than two seeds, or no spread.
    """
    return p_values_of(runs.accuracy(last), baseline.accuracy(last))


def p_values_of(accuracies: Sequence[float], of_baseline: Sequence[float]) -> tuple[float | None, float | None]:
    """The p_values of accuracies, a number a seed.

    >>> p_values_of([0.9], [0.8])
    (None, None)
    """
    if min(len(accuracies), len(of_baseline)) < 2 or not statistics.pvariance([*accuracies, *of_baseline]):
        return None, None
    from scipy import stats

    sides = ("greater", "two-sided")
    told = [float(stats.ttest_ind(accuracies, of_baseline, alternative=side).pvalue) for side in sides]
    one_sided, two_sided = (value if math.isfinite(value) else None for value in told)
    return one_sided, two_sided


def _run(settings: TrainingSettings, folder: str | None, images: int | None, progress: Progress) -> dict[str, Any]:
    """What RareRuns has of one seed."""
    data = _first(load_data(settings, folder, progress=progress), images)
    training = Training(settings, data, device="cpu", progress=progress)
    rows = list(training.epochs())
    first, last = rows[0].rare, rows[-1].rare
    assert first is not None
    assert last is not None
    return {
        "steps": settings.total_epochs * math.ceil(len(data.train_images) / (settings.batch_size or 1)),
        "parameters": first.parameters,
        "left": last.parameters,
        "accuracies": tuple(100 * row.test_accuracy for row in rows),
        "fusions": last.fusions,
        "zero": last.zero,
        "error_median": last.error_median,
        "cores": tuple((layer.core[0], layer.core[1]) for layer in last.cores),
        "features": _features(training.model),
    }


def _first(data: Dataset, images: int | None) -> Dataset:
    return replace(data, train_images=data.train_images[:images], train_labels=data.train_labels[:images])


def _features(model: nn.Module) -> tuple[int, ...]:
    """How many units of each layer are left once all that can be is merged without a change of the outputs."""
    layers = [one for one in model.modules() if isinstance(one, RareLinear)]
    chain = [
        FeatureLayer(_array(layer.to_dense()), None if layer.bias is None else _array(layer.bias), "float32")
        for layer in layers
    ]
    relu = StatedBetween(ActivationFunction("relu"))
    return tuple(len(kept) for kept in reduce_features(chain, [relu] * (len(chain) - 1)).kept)


def _array(tensor: Any) -> Any:
    return tensor.detach().cpu().double().numpy()


def _shapes(runs: RareRuns) -> list[tuple[int, int]]:
    """(m, n) of the layers before anything was fused."""
    rows = runs.cores[0]
    sizes = [rows[0][1], *runs.settings.hidden, rows[-1][0]]
    return [(m, n) for n, m in pairwise(sizes)]


def _spread(counts: Sequence[int]) -> tuple[float, float]:
    return float(np.mean(counts)), float(np.std(counts, ddof=1)) if len(counts) > 1 else 0.0
