"""What share of images networks get wrong, over seeds, after training as settings say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sao_cli.base.errors import SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.io.datasets.dataset import Dataset
from sao_cli.nets.training.data import Batches, load_data
from sao_cli.nets.training.labels import randomly_labelled
from sao_cli.nets.training.loop import Training
from sao_cli.nets.training.methods import kept_places
from sao_cli.nets.training.settings import TrainingSettings

# Of SNIP's LeNets (Lee et al., ICLR 2019, section 5 and its code): relu, weights of variance 1/fan_in, batches of 100.
AS_SNIP: dict[str, Any] = {
    "activation": "relu",
    "init": "vs-l",
    "batch_size": 100,
    "learning_rate": 0.1,
    "weight_decay": 5e-4,
    "jacobian_at": (),
}

Read = tuple[Dataset, Dataset | None]  # what is trained on, and what is pruned by where that is something else


@dataclass(frozen=True)
class ErrorRates:
    """The errors of networks after their last epoch, in percent, a number a seed.

    `settings` are resolved, with the first seed. `weights` of all linear and convolution layers, the `kept` ones of
    them, and the `biases`, which no method here prunes, are the same for all seeds. `train` errors are of the images
    and labels that were learnt, counted without learning.
    """

    settings: TrainingSettings
    weights: int
    kept: int
    biases: int
    train: tuple[float, ...]
    test: tuple[float, ...]


def pruned_by(method: str, sparsity: float, **asked: Any) -> dict[str, Any]:
    """The settings that prune by a `method` as `asked`; of the dense network where the sparsity is 0."""
    return {"method": method, "sparsity": sparsity, **asked} if sparsity else {"method": "dense"}


def error_rates(
    settings: TrainingSettings,
    folder: str | None = None,
    *,
    images: int | None = None,
    test_images: int | None = None,
    seeds: Sequence[int] = (0,),
    progress: Progress = silent,
) -> ErrorRates:
    """Train the network of `settings` once a seed, on the CPU, and count what it gets wrong.

    The data are read from `folder`, as load_data has them; with `images` the first so many training images are all
    there are to learn, to score and to standardise by, and with `test_images` so many are all there are to test on. The
    seed draws weights, batches, random labels and the digits to test on. Raises SaoError without seeds, and what
    Training and load_data raise. The cost of the trainings.

    >>> settings = TrainingSettings(arch="lenet300", method="snip", sparsity=0.9, epochs=1)
    >>> rates = error_rates(settings, images=100)
    >>> rates.kept, rates.weights, rates.biases, len(rates.test)
    (5020, 50200, 410, 1)
    """

    def read(seeded: TrainingSettings) -> Read:
        return _first(load_data(seeded, folder, progress=progress), images, test_images), None

    return rates_by_seed(settings, read, seeds, progress)


def rates_by_seed(
    settings: TrainingSettings,
    read: Callable[[TrainingSettings], Read],
    seeds: Sequence[int],
    progress: Progress = silent,
) -> ErrorRates:
    """error_rates of the data, and those that scores are of where they are others, that `read` gives of each seed."""
    if not seeds:
        raise SaoError("no seeds: an error rate is of one network at least")
    settings = settings.resolved()
    runs = [_run(one, read(one), progress) for one in (replace(settings, seed=seed) for seed in seeds)]
    train, test = zip(*(rates for _, rates in runs), strict=True)
    return ErrorRates(replace(settings, seed=seeds[0]), *runs[0][0], train, test)


def _run(
    settings: TrainingSettings, read: Read, progress: Progress
) -> tuple[tuple[int, int, int], tuple[float, float]]:
    """(weights, kept, biases) and the errors (train, test) of one network."""
    data, prune_data = read
    training = Training(settings, data, prune_data=prune_data, device="cpu", progress=progress)
    for _ in training.epochs():
        pass
    learnt = randomly_labelled(data, settings.seed) if settings.random_labels else data
    return _counts(training.model), _errors(training.model, learnt, settings)


def _first(data: Dataset, images: int | None, test_images: int | None) -> Dataset:
    return replace(
        data,
        train_images=data.train_images[:images],
        train_labels=data.train_labels[:images],
        test_images=data.test_images[:test_images],
        test_labels=data.test_labels[:test_images],
    )


def _counts(model: nn.Module) -> tuple[int, int, int]:
    places = kept_places(model, all_layers=True).values()
    biases = sum(one.numel() for one in model.parameters() if one.ndim == 1)
    return sum(one.size for one in places), sum(int(one.sum()) for one in places), biases


def _errors(model: nn.Module, data: Dataset, settings: TrainingSettings) -> tuple[float, float]:
    batches = Batches(data, settings, torch.device("cpu"))
    model.eval()
    with torch.no_grad():
        return _wrong(model, batches.all_train()), _wrong(model, batches.test())


def _wrong(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    wrong, count = 0, 0
    for x, labels in batches:
        wrong, count = wrong + int((model(x).argmax(dim=1) != labels).sum()), count + len(labels)
    return 100 * wrong / count
