"""Every setting of a training run, and what the paper has where it is left open."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from sao_cli.base.errors import FormatError, SaoError, unknown_name
from sao_cli.base.names import check, one_of
from sao_cli.catalog import (
    ACTIVATIONS,
    ARCHITECTURES,
    COMPUTED,
    CONTROLS,
    DATA,
    FORMS,
    INITS,
    LABELS,
    LAYERS,
    OPTIMIZERS,
    PRUNING,
    SCHEDULES,
    TRAIN_METHODS,
    UNITS,
    WITHIN,
)
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.nets.training.critical_settings import CRITICAL, critical_choices
from sao_cli.nets.training.number_rules import require
from sao_cli.nets.training.paper_rates import (
    ADAM_RATE,
    LARGEST_CRITICAL_RATE,
    LEAST_DIGITS_RATE,
    paper_rate,
    paper_schedule,
)
from sao_cli.nets.training.pruned_settings import check_pruning
from sao_cli.nets.training.rare_settings import check_without_rare, rare_choices
from sao_cli.weights.dense_laws import check_gamma

_NAMES: dict[str, Collection[str]] = {
    "data": DATA,
    "arch": ARCHITECTURES,
    "method": TRAIN_METHODS,
    "dtype": COMPUTED,
    "layers": LAYERS,
    "prune_data": DATA,
    "prune_labels": LABELS,
    "unit": UNITS,
    "within": WITHIN,
    "control": CONTROLS,
    "init": INITS,
    "schedule": SCHEDULES,
    "optimizer": OPTIMIZERS,
    "activation": ACTIVATIONS,
}


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What to train and how. None stands for the paper's choice, or for ours where it has none; resolved() fills it in.

    Names are those of catalog.py.

    - `data`, one of DATA; `arch`, one of ARCHITECTURES; `method`, one of TRAIN_METHODS: sao unless told. The suffix -s
      prunes the dense orthogonal network before training, -t after it, and then finetunes for as long (SAO, Fig. 1).
    - `depth` N and `width`: 50 and 256 for the FNN, 32 and 32 for the CNN, 5 and 32 (channels of the first block) for
      LipConvNet. `widths` are those of an FNN's hidden layers instead; inputs and classes are the data's. LeNets have
      their own. `d` or `sparsity` fixes the density; by neither it is the feasible degree nearest to 4.
    - `activation`: tanh, but relu for a CNN on cifar100 and cinic10, as in the paper, and for LeNet-5, as Caffe;
      LipConvNet has MaxMin alone.
      `init`, one of INITS: the law of the dense network's weights instead of the Haar orthogonal one, for methods that
      begin with a dense network; `init_gamma` is the variance of "normal". `gain`: 1.1 for the FNN without `init`, else
      1; with 1000 layers 1.03 reaches 86 % on the digits in one epoch, 1.1 none above
      chance in eight. `layers`, one of LAYERS: "blocks" holds the weights of an SAO layer alone and is the default for
      `sao`; "masked" is what all methods can be.
    - A network of matrices begins at the edge of chaos (arXiv 2402.16184) where one of these is told, at `q_star` (1):
      an activation that takes them has `tau`, or the `activation_sparsity` whose threshold it is, and of crelu and cst
      `clip`, or the `slope` V'(q_star) that fixes it; `sigma_w` and `sigma_b` follow, or are told both. `gain` is
      sigma_w then, `method` dense with Gaussian weights unless told; weights of others, and those of init orthogonal,
      are scaled to sigma_w, each layer by its own fan-in. Inputs are centred, with one scale, by which q_1 = q_star.
    - `epochs`: 20 for digits (ours), 100 for the FNN and the LeNets, 200 for the others (for the CNN our reading: the
      paper names the 150th epoch). `batch_size`: 64 for digits, else 128 (ours; the paper has none).
    - `learning_rate`: of Tables 2 and 3, where a depth between two has the deeper one's, for digits 1e-3 at least
      (ours: they are 460 steps, and the paper's MNIST 47,000 of 128 images); 0.01 for LipConvNet and the LeNets; at the
      edge of chaos 1e-3 at most (ours).
      `momentum` 0.9; `weight_decay` 1e-4, for LipConvNet 5e-4. `schedule` "steps" multiplies the rate by `decay` after
      each of the epochs `milestones`: 50 and 150, none for the FNN and the LeNets. "cosine" and `warmup` epochs are the
      default of CNNs where the paper has them: 10 epochs from depth 512 with tanh and 768 with relu, one for
      cifar100 and cinic10.
    - `optimizer`: sgd, or adam, whose rate is 1e-3 and whose weight decay 0 unless told; adam with `rare`.
    - `rare`, from 0: lambda_1 of the loss RaRe (Lee et al., Appl. Sci. 2021), which turns rows and columns of matrices
      to one line; every `check_every` (10, ours) steps the nearest pair of a matrix is fused where 1 - |cos| is below
      `tau_cos` (1e-4) and its distance below `tau_euc` (0.1); see nets.rare_step_. 0 fuses, without the loss. `l2`
      (0.1) is lambda_2; with `frobenius` (True) norms of matrices are decoupled; `dropout` (0) is of every layer's
      inputs. `method` is dense unless told, and weights before relu are of init vs-h with gain 1.
    - `all_layers` prunes the first and the last layer too, where a method prunes; scores and densities always do, and
      without a `sparsity` keep as many weights as masks of d = 4 between two dense layers. Of their own are
      `prune_samples`, the first so many training images (all) of `prune_data` (the data itself), `prune_labels` (true),
      `rounds`, `temperature`, `unit`, `within` and `control`: see nets.prune_.
      With `fresh_batches` each round of itersnip and force reads `prune_samples` others, and with `fresh_weights` one
      draw of the weights is scored, and another trained under its masks. `isometry` then repairs what is pruned before
      training, on its mask, to `gain` times an approximate isometry, by projections, or by so many
      `isometry_steps` of the gradient descent of Lee et al. (2020).
    - `random_labels`: each training image has a uniformly random label, by the seed; test labels stay true.
    - `augment`: random crops, flips and AutoAugment, where the paper has them: convolutions on cifar and cinic data.
    - `jacobian_at`: epochs at which the input-output Jacobian is measured, whole numbers and "last", at
      `jacobian_inputs` images of the test set (ours).

    >>> TrainingSettings(depth=200).resolved().learning_rate
    0.001
    """

    data: str = "digits"
    arch: str = "fnn"
    method: str = ""
    depth: int | None = None
    width: int | None = None
    widths: tuple[int, ...] | None = None
    d: int | None = None
    sparsity: float | None = None
    activation: str | None = None
    activation_sparsity: float | None = None
    tau: float | None = None
    slope: float | None = None
    clip: float | None = None
    q_star: float | None = None
    sigma_w: float | None = None
    sigma_b: float | None = None
    gain: float | None = None
    init: str | None = None
    init_gamma: float | None = None
    layers: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    optimizer: str | None = None
    momentum: float = 0.9
    weight_decay: float | None = None
    schedule: str | None = None
    milestones: tuple[int, ...] | None = None
    decay: float = 0.1
    warmup: int | None = None
    augment: bool | None = None
    random_labels: bool = False
    rare: float | None = None
    l2: float | None = None
    tau_cos: float | None = None
    tau_euc: float | None = None
    check_every: int | None = None
    frobenius: bool | None = None
    dropout: float | None = None
    all_layers: bool = False
    prune_data: str | None = None
    prune_samples: int | None = None
    prune_labels: str | None = None
    fresh_batches: bool = False
    fresh_weights: bool = False
    rounds: int | None = None
    temperature: float | None = None
    unit: str | None = None
    within: str | None = None
    control: str | None = None
    isometry: bool = False
    isometry_steps: int | None = None
    jacobian_at: tuple[int | str, ...] = (0, "last")
    jacobian_inputs: int = 8
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method == "":
            object.__setattr__(self, "method", "dense" if self.critical or self.rare is not None else "sao")

    def resolved(self) -> TrainingSettings:
        """The same settings with every None filled in, but `d`, `sparsity`, `init`, the sizes of listed widths, or
        these, and LipConvNet's activation.

        Raises SaoError for unknown names, for numbers out of range, and for options that do not go together.
        """
        self._check_names()
        self._check_sizes()
        network, data = ARCHITECTURES[self.arch], DATA[self.data]
        listed = bool(self.hidden)
        depth = len(self.hidden) or (network.depth if self.depth is None else self.depth)
        activation = self.activation
        if activation is None and not network.fixed:
            rectified = self.arch == "lenet5" or (self.arch == "cnn" and not FORMS[data.form].pooled)
            activation = "relu" if rectified else "tanh"
        critical = critical_choices(replace(self, activation=activation)) if self.critical else {}
        rare = {} if self.rare is None else rare_choices(replace(self, activation=activation))
        constant = listed or self.arch == "fnn"
        warmup, schedule = paper_schedule(self.arch, data, depth, activation)
        digits = data.bundled
        optimizer = self.optimizer or ("sgd" if self.rare is None else "adam")
        adam = optimizer == "adam"
        rate = ADAM_RATE if adam else paper_rate(self.arch, depth)
        rate = min(rate, LARGEST_CRITICAL_RATE if critical else math.inf)
        chosen: dict[str, Any] = {
            **({} if listed else {"depth": depth, "width": network.width}),
            "activation": activation,
            "gain": 1.1 if self.arch == "fnn" and self.init is None else 1.0,
            "layers": "blocks" if self.method == "sao" and network.blocks else "masked",
            "epochs": 20 if digits else 100 if constant else 200,
            "batch_size": 64 if digits else 128,
            "learning_rate": max(rate, LEAST_DIGITS_RATE if digits else 0.0),
            "optimizer": optimizer,
            "weight_decay": 0.0 if adam else 5e-4 if network.fixed else 1e-4,
            "schedule": schedule,
            "milestones": () if constant else (50, 150),
            "warmup": warmup,
            **rare,
            **critical,
            "augment": bool(network.image) and data.augmented,
        }
        filled = replace(self, **{name: told for name, told in chosen.items() if getattr(self, name) is None})
        filled._check_numbers()
        filled._check_together()
        return filled

    @property
    def critical(self) -> bool:
        """Whether the network begins at the edge of chaos, or with the sigma_w and sigma_b that are told."""
        takes = self.activation in ACTIVATIONS and bool(ACTIVATIONS[self.activation].takes)
        return takes or any(getattr(self, name) is not None for name in CRITICAL)

    @property
    def function(self) -> ActivationFunction | None:
        """The activation of resolved settings; None of a LipConvNet, which has its own."""
        return None if self.activation is None else ActivationFunction(self.activation, self.tau, self.clip)

    @property
    def hidden(self) -> tuple[int, ...]:
        """The widths of the hidden layers where they are listed, by `widths` or by the architecture; else ()."""
        return self.widths or ARCHITECTURES[self.arch].widths

    @property
    def sizes(self) -> tuple[int, int]:
        """Depth and width of resolved settings; of listed widths how many they are, and the largest."""
        if self.hidden:
            return len(self.hidden), max(self.hidden)
        assert self.depth is not None
        assert self.width is not None
        return self.depth, self.width

    @property
    def prunes_ends(self) -> bool:
        """Whether the first and the last layer are pruned too."""
        return self.all_layers or TRAIN_METHODS[self.method].scored

    @property
    def finetunes(self) -> bool:
        """Whether the network is trained, pruned and trained again."""
        return TRAIN_METHODS[self.method].after

    @property
    def total_epochs(self) -> int:
        """The epochs of all phases together."""
        assert self.epochs is not None
        return self.epochs * (2 if self.finetunes else 1)

    @property
    def jacobian_epochs(self) -> set[int]:
        """The epochs at which the Jacobian is measured, as numbers."""
        return {self.total_epochs if at == "last" else int(at) for at in self.jacobian_at}

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON has them; from_dict reads them back."""
        return {name: list(told) if isinstance(told, tuple) else told for name, told in asdict(self).items()}

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> TrainingSettings:
        """The settings that to_dict gave. Raises FormatError for names that are no settings.

        >>> TrainingSettings.from_dict(TrainingSettings(d=2).to_dict()) == TrainingSettings(d=2)
        True
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(told.keys() - known):
            raise FormatError(unknown_name("unknown setting", unknown[0], sorted(known)))
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
        }
        return cls(**values)

    def _check_names(self) -> None:
        for name, known in _NAMES.items():
            told, default = getattr(self, name), getattr(TrainingSettings, name)
            if told is not None or default is not None:  # None stands for a choice where it is the default
                hint = "; pruning is -s, before training, or -t, after it" if str(told) in PRUNING else ""
                check(name, told, known, hint)
        if self.arch not in TRAIN_METHODS[self.method].trains:
            own = [row.name for row in TRAIN_METHODS.values() if self.arch in row.trains]
            raise SaoError(f"method {self.method!r} is none of a {self.arch}'s, {', '.join(own)}")

    def _check_sizes(self) -> None:
        """What sizes the network, each in one way."""
        sized = [name for name in ("depth", "width") if getattr(self, name) is not None]
        own = ARCHITECTURES[self.arch].widths
        if own and (sized or self.widths is not None):
            listed = ",".join(map(str, own))
            raise SaoError(f"a {self.arch} has hidden layers of {listed}; leave {[*sized, 'widths'][0]} out")
        if self.widths is None:
            return
        listed = ",".join(map(str, self.widths))
        if self.arch != "fnn":
            raise SaoError(f"widths {listed} are of the hidden layers of an fnn; a {self.arch} has depth and width")
        if sized:
            raise SaoError(f"widths {listed} take the place of depth and width; leave {' and '.join(sized)} out")
        require(bool(self.widths) and min(self.widths) >= 1, "widths", listed, "a list of whole numbers from 1")
        if len(self.widths) == 1 and not (self.method == "dense" or self.prunes_ends):
            raise SaoError(
                f"widths {listed}: method {self.method!r} leaves the first and the last layer dense, and there is no "
                "other; list two widths at least, or choose all layers of a method that prunes"
            )

    def _check_numbers(self) -> None:
        sizes = () if self.hidden else (("depth", 1), ("width", 1))
        for name, least in (*sizes, ("epochs", 0), ("batch_size", 1), ("warmup", 0)):
            require(getattr(self, name) >= least, name, getattr(self, name), f"a whole number from {least}")
        require(self.jacobian_inputs >= 1, "jacobian_inputs", self.jacobian_inputs, "a whole number from 1")
        require(self.seed >= 0, "seed", self.seed, "a whole number from 0")
        for name in ("gain", "learning_rate"):
            number = getattr(self, name)
            require(math.isfinite(number) and number > 0, name, number, "a positive finite number")
        decay = self.weight_decay
        require(decay is not None and math.isfinite(decay) and decay >= 0, "weight_decay", decay, "from 0, finite")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "from 0 to below 1")
        if self.optimizer == "adam" and self.momentum != TrainingSettings.momentum:
            raise SaoError(f"momentum {self.momentum:g} is of sgd, and the optimizer is adam; leave it out")
        require(0 < self.decay <= 1, "decay", self.decay, "above 0, and at most 1")
        assert self.milestones is not None
        require(all(one >= 1 for one in self.milestones), "milestones", self.milestones, "epochs from 1")
        for at in self.jacobian_at:
            there = at == "last" or (isinstance(at, int) and 0 <= at <= self.total_epochs)
            require(there, "jacobian_at", at, f'an epoch from 0 to {self.total_epochs}, or "last"')

    def _check_together(self) -> None:
        if self.d is not None and self.sparsity is not None:
            raise SaoError("d and sparsity each fix the density; give one of them")
        if self.method == "dense" and (self.d is not None or self.sparsity is not None):
            raise SaoError("a dense network has no degree and no sparsity; leave them out, or choose another method")
        fixed = ARCHITECTURES[self.arch].fixed
        if self.layers == "blocks" and (self.method != "sao" or not ARCHITECTURES[self.arch].blocks):
            of = one_of(name for name, row in ARCHITECTURES.items() if row.blocks)
            raise SaoError(f'layers "blocks" are of method sao in an {of}; choose "masked"')
        if fixed and self.activation is not None:
            raise SaoError(f"LipConvNet's activation is MaxMin, not {self.activation!r}; leave it out")
        if fixed and self.gain != 1:
            raise SaoError(f"gain {self.gain}: LipConvNet's layers are orthogonal, and have gain 1")
        self._check_init()
        if self.rare is None:
            check_without_rare(self)
        check_pruning(self)
        if self.augment and not DATA[self.data].augmented:
            known = ", ".join(name for name, row in DATA.items() if row.augmented)
            raise SaoError(f"augmentation is for {known}, not for {self.data!r}")

    def _check_init(self) -> None:
        if self.init is None:
            if self.init_gamma is not None:
                taking = one_of(name for name, row in INITS.items() if row.takes_gamma)
                raise SaoError(f"init_gamma {self.init_gamma:g} is the variance of init {taking}; choose that too")
            return
        if ARCHITECTURES[self.arch].fixed or not TRAIN_METHODS[self.method].dense:
            dense = [name for name, row in TRAIN_METHODS.items() if row.dense]
            raise SaoError(
                f"init {self.init}: the {self.arch} of method {self.method!r} has values of its own; init is for "
                f"networks that begin dense, by {one_of(dense)}"
            )
        check_gamma(self.init, self.init_gamma)
        if self.init_gamma is not None and self.gain != 1:
            raise SaoError(f"gain {self.gain}: init_gamma {self.init_gamma:g} is the variance already; leave gain out")
