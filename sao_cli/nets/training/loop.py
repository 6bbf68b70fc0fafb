"""A training run: epochs in a fixed order, each with a row of what it measured."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import require_memory, telling_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.threads import SMALL
from sao_cli.catalog import ARCHITECTURES, TRAIN_METHODS
from sao_cli.io.datasets.dataset import Dataset
from sao_cli.nets.devices import find_device, full_precision
from sao_cli.nets.training.data import Batches
from sao_cli.nets.training.hidden_signals import hidden_signals
from sao_cli.nets.training.jacobian_row import input_output_jacobian
from sao_cli.nets.training.labels import randomly_labelled
from sao_cli.nets.training.left_to_train import left_to_train
from sao_cli.nets.training.methods import build_model, kept_places, prune_, require_zeros
from sao_cli.nets.training.preparation import first_samples, prepare_, require_same_shapes, round_samples
from sao_cli.nets.training.rank_reducer import RankReducer
from sao_cli.nets.training.resume import MASK, TrainingState, restore_, state_tensors
from sao_cli.nets.training.schedule import learning_rate
from sao_cli.nets.training.settings import TrainingSettings
from sao_cli.nets.training.sgd import SGD
from sao_cli.pruning.keep import warn_of_death
from sao_cli.reports.fusions import RankReduction
from sao_cli.reports.networks import EpochRow, HiddenSignals, InputOutputJacobian

_OF_SCORES = ("ties_at_threshold", "zero_scores")  # what is known of masks when they are chosen, and never again


class DivergedError(SaoError):
    """Training whose loss is no longer a finite number."""


class Training:
    """A network, its data, and where the training stands.

    `settings` are resolved first; `prune_data` are the data of that name there, where scores are of others. The network
    is built on the CPU, the same for every device, and moved to `device`, torch's name of one or "auto". With
    `deterministic` torch takes deterministic algorithms alone, which on a GPU are slower; on a CPU every run is
    deterministic for one number of threads.

    The loss is cross-entropy, the optimizer SGD with momentum and weight decay on all parameters, biases too, or Adam.
    With `rare` the loss RaRe and the squared norms of the weights are added to it, rows tell it without them, and after
    each step of the optimizer parallel rows and columns are fused.
    `rows` are those of the epochs done, as dictionaries; `model` is the network, dense until `prepare` prunes it.

    >>> from sao_cli.nets.training.data import load_data
    >>> settings = TrainingSettings(depth=3, width=16, epochs=1)
    >>> training = Training(settings, load_data(settings), device="cpu")
    >>> [row.epoch for row in training.epochs()]
    [0, 1]
    """

    def __init__(
        self,
        settings: TrainingSettings,
        data: Dataset,
        *,
        prune_data: Dataset | None = None,
        device: str = "auto",
        deterministic: bool = False,
        progress: Progress = silent,
    ) -> None:
        self.settings = settings = settings.resolved()
        self.device = find_device(device, settings.dtype)
        self._deterministic, self._progress = deterministic, progress
        data = randomly_labelled(data, settings.seed) if settings.random_labels else data
        self._batches = Batches(data, settings, self.device)
        if settings.prune_data is not None:
            data = require_same_shapes(settings, data, prune_data)
        self._prune_batches = Batches(data, settings, self.device)
        self._sizes = data.channels, data.side, data.classes
        self.model = self._build(settings.seed)
        _require_training_memory(self.model, self.device)
        self.model.to(self.device)
        self._reducer = None if settings.rare is None else RankReducer(self.model, settings)
        self._begin()
        self._before: dict[str, Any] | None = None  # what epoch 0 tells of how the network was prepared
        self.rows: list[dict[str, Any]] = []

    def prepare(self) -> None:
        """Prune the network, and repair it, where the settings have it pruned before training.

        The first epoch does so by itself; called before, it tells sooner what can't be. Nothing where it is done.
        """
        if self._before is not None or self.rows:
            return
        self._before = {}
        if TRAIN_METHODS[self.settings.method].before:
            measured = 0 in self.settings.jacobian_epochs
            with self._arithmetic(), telling_memory(self._no_room):
                jacobian = self._jacobian if measured else None
                steps = self._prune_samples, self._build, jacobian
                self._before = prepare_(self.model, self.settings, *steps, self._progress)
            chosen = {name: self._before.pop(name) for name in _OF_SCORES}
            self._begin(chosen)
            self._what_is_left()  # which warns of a network that is dead

    def _build(self, seed: int) -> nn.Module:
        return build_model(replace(self.settings, seed=seed), *self._sizes)

    def _prune_samples(self) -> list[tuple[Tensor, Tensor]]:
        settings, batches = self.settings, self._prune_batches.all_train()
        if settings.fresh_batches and settings.prune_samples is not None:
            return round_samples(batches, settings.prune_samples, settings.seed)
        return first_samples(batches, settings.prune_samples)

    def epochs(self) -> Iterator[EpochRow]:
        """The rows of the epochs to come, each trained when it is asked for; epoch 0 first.

        At the end all weights that a mask excludes are looked at: RuntimeError where one is not exactly 0.
        Raises DivergedError, with the model of no further use, where a loss is not finite, and MemoryLimitError where
        memory runs out.
        """
        while len(self.rows) <= self.settings.total_epochs:
            with telling_memory(self._no_room):
                self.prepare()
                row = self._row(len(self.rows))
            self.rows.append(row.to_dict())
            yield row
        require_zeros(self.model, self._kept)

    def _no_room(self) -> str:
        elsewhere = "" if self.device.type == "cpu" else ", or the cpu"
        return (
            f"{self.device} has no room to train this network on {self.settings.batch_size} images at once; "
            f"choose a smaller batch size or a smaller network{elsewhere}"
        )

    def state(self) -> TrainingState:
        """What restore needs. Its tensors are the network's own: keep copies before the next epoch."""
        return TrainingState(state_tensors(self.model, self._optimizer), list(self.rows))

    def restore(self, tensors: Mapping[str, NDArray[Any]], rows: list[dict[str, Any]]) -> None:
        """Go on from a state of the same settings: its tensors, as arrays, and its rows.

        On a CPU, with as many threads, what follows is what an uninterrupted run has, to the last bit. Raises
        FormatError for the state of another network, and for more epochs than the settings have.
        """
        if len(rows) > self.settings.total_epochs + 1:
            raise FormatError(f"the checkpoint has {len(rows) - 1} epochs done, of {self.settings.total_epochs}")
        if TRAIN_METHODS[self.settings.method].before and not any(name.endswith(MASK) for name in tensors):
            raise FormatError("the checkpoint is of another network: it has no masks, and this one is pruned before")
        self._optimizer = restore_(self.model, self._new_optimizer, tensors)
        if TRAIN_METHODS[self.settings.method].dense:  # the masks of all others follow from the settings
            self._take_masks({name: rows[-1].get(name) for name in _OF_SCORES})
        self.rows = list(rows)

    def _begin(self, chosen: dict[str, Any] | None = None) -> None:
        """Begin a phase: with the masks that there are now, which scores have `chosen`, and without momentum."""
        self._take_masks(chosen or {})
        self._optimizer = self._new_optimizer()

    def _take_masks(self, chosen: dict[str, Any]) -> None:
        """Look at which weights there are now."""
        self._kept, self._chosen = kept_places(self.model, self.settings.prunes_ends), chosen
        self._left: dict[str, Any] | None = None

    def _what_is_left(self) -> dict[str, Any]:
        """The facts of the masks, found once. A SaoWarning tells of a pruned network that no signal passes."""
        if self._left is None:
            pruned = TRAIN_METHODS[self.settings.method].prunes and prune.is_pruned(self.model)
            left = left_to_train(self.model, self.settings, self._batches.probes(1), self._kept, pruned)
            self._left = dict.fromkeys(_OF_SCORES) | left | self._chosen
            if pruned:
                warn_of_death(left["reachable"], left["collapsed_layers"])
        return self._left

    def _new_optimizer(self) -> Any:
        told: dict[str, Any] = {"lr": self.settings.learning_rate, "weight_decay": self.settings.weight_decay}
        if self.settings.optimizer == "adam":
            return torch.optim.Adam(self.model.parameters(), **told)
        return SGD(self.model.parameters(), momentum=self.settings.momentum, **told)

    def _row(self, epoch: int) -> EpochRow:
        """Train one epoch, or none for epoch 0, and measure."""
        settings = self.settings
        assert settings.epochs is not None
        depth, width = settings.sizes
        finetune = settings.finetunes and epoch > settings.epochs
        with self._arithmetic():
            try:
                measured = self._epoch(epoch, settings.epochs if finetune else 0)
                measured |= {"signals": self._signals(), "rare": self._reduced()}
            except torch.linalg.LinAlgError as error:  # as ECOConv2d's solve meets weights that are no numbers
                raise self._diverged(epoch, "weights leave the range of their dtype") from error
        return EpochRow(
            data=settings.data,
            arch=settings.arch,
            method=settings.method,
            depth=depth,
            width=width,
            widths=settings.hidden or None,
            phase="finetune" if finetune else "train",
            epoch=epoch,
            epochs=settings.total_epochs,
            sparsity=self._sparsity(),
            **self._what_is_left(),
            **self._jacobians(epoch),
            **measured,
        )

    def _epoch(self, epoch: int, before: int) -> dict[str, Any]:
        """What one epoch of a phase measures, which `before` epochs came before. The second phase begins by pruning."""
        start = time.perf_counter()
        if before and epoch == before + 1:
            chose = prune_(self.model, self.settings)
            self._begin({name: getattr(chose, name) for name in _OF_SCORES})
        if epoch:
            train_loss, train_accuracy, rate = self._train(epoch, before)
        else:
            (train_loss, train_accuracy), rate = self._measured(self._batches.all_train()), None
        test_loss, test_accuracy = self._measured(self._batches.test())
        for kind, loss in (("training", train_loss), ("test", test_loss)):
            if not math.isfinite(loss):
                raise self._diverged(epoch, f"the {kind} loss is {loss}")
        return {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            "learning_rate": rate,
            "seconds": time.perf_counter() - start,
        }

    def _diverged(self, epoch: int, sign: str) -> DivergedError:
        rate, gain = self.settings.learning_rate, self.settings.gain
        what = "the slope, or the clip, of the activation" if self.settings.critical else f"the gain ({gain:g})"
        return DivergedError(
            f"epoch {epoch}: {sign}, so training diverged; lower the learning rate ({rate:g}) or {what}"
        )

    def _train(self, epoch: int, before: int) -> tuple[float, float, float]:
        """(mean loss, accuracy, last learning rate) of one epoch of learning; `before` epochs came before its phase."""
        tally, rate, count = _Tally(self.device), 0.0, self._batches.count
        what = (
            f"test accuracy {self.rows[-1]['test_accuracy']:.3f}; epoch {epoch} of {self.settings.total_epochs}, batch"
        )
        self.model.train()
        reducer = self._reducer
        if reducer is not None:
            reducer.begin(epoch, self.device)
        for step, (x, labels) in enumerate(self._batches.train(epoch)):
            self._progress(what, step, count)
            rate = learning_rate(self.settings, epoch - before - 1 + step / count)
            self._optimizer.param_groups[0]["lr"] = rate
            scores = self.model(x)
            loss = cross_entropy(scores, labels)
            self._optimizer.zero_grad()
            loss.backward() if reducer is None else reducer.backward_(loss)
            self._optimizer.step()
            if reducer is not None:
                reducer.step_(self._optimizer, x)
            tally.add(scores, labels, loss)
        return *tally.means(), rate

    def _measured(self, batches: Iterator[tuple[Tensor, Tensor]]) -> tuple[float, float]:
        """Mean loss and accuracy, without learning."""
        tally = _Tally(self.device)
        self.model.eval()
        with torch.no_grad():
            for x, labels in batches:
                scores = self.model(x)
                tally.add(scores, labels, cross_entropy(scores, labels))
        return tally.means()

    def _sparsity(self) -> float:
        size = sum(places.size for places in self._kept.values())
        return 1 - sum(int(places.sum()) for places in self._kept.values()) / size if size else 0.0

    def _jacobians(self, epoch: int) -> dict[str, Any]:
        """The network's own, where it is measured, and before training what its preparation has told."""
        stages = {"jacobian_dense": None, "jacobian_pruned": None, "jacobian_repaired": None, "repairs": None}
        stages |= (self._before or {}) if not epoch else {}
        last = stages["jacobian_repaired"] or stages["jacobian_pruned"]  # the network as it is trained
        here = epoch in self.settings.jacobian_epochs
        return stages | {"jacobian": (last or self._jacobian()) if here else None}

    def _jacobian(self) -> InputOutputJacobian:
        self.model.eval()
        probes = self._batches.probes(self.settings.jacobian_inputs)
        return input_output_jacobian(self.model, probes, progress=self._progress)

    def _signals(self) -> HiddenSignals | None:
        return hidden_signals(self.model.net, self._batches.test()) if self.settings.critical else None

    def _reduced(self) -> RankReduction | None:
        return None if self._reducer is None else self._reducer.row(self.rows)

    @contextlib.contextmanager
    def _arithmetic(self) -> Iterator[None]:
        """float32 products that are float32's, threads that pay, and deterministic algorithms where they are wanted."""
        side = self.settings.sizes[1] if not ARCHITECTURES[self.settings.arch].image else SMALL + 1
        with full_precision(side), _deterministic() if self._deterministic else contextlib.nullcontext():
            yield


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """torch's deterministic algorithms alone; the switch loads torch's compiler, so it is not touched without need."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


class _Tally:
    """Sums over samples, kept on the device, so that a GPU need not be waited for at each batch."""

    def __init__(self, device: torch.device) -> None:
        self._loss = torch.zeros((), device=device, dtype=torch.float64 if device.type != "mps" else torch.float32)
        self._right = torch.zeros((), device=device, dtype=torch.int64)
        self._count = 0

    def add(self, scores: Tensor, labels: Tensor, loss: Tensor) -> None:
        """A batch, its scores (B, classes) and its mean loss."""
        self._loss += loss.detach() * len(labels)
        self._right += (scores.detach().argmax(dim=1) == labels).sum()
        self._count += len(labels)

    def means(self) -> tuple[float, float]:
        """Loss and accuracy of one sample on the average."""
        return float(self._loss) / self._count, float(self._right) / self._count


def _require_training_memory(model: nn.Module, device: torch.device) -> None:
    if device.type == "cpu":
        held = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        require_memory(3 * held, "gradients, momentum and masked copies of the weights", "choose a smaller network")
