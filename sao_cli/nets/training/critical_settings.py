"""What a network that begins at the edge of chaos is made with, by what its settings tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sao_cli.base.errors import SaoError
from sao_cli.base.names import one_of
from sao_cli.catalog import ARCHITECTURES, TRAIN_METHODS
from sao_cli.measure.criticality.variance_map import sparse_activation, starting_map
from sao_cli.measure.layer.activations import ActivationFunction

if TYPE_CHECKING:
    from sao_cli.nets.training.settings import TrainingSettings

SCALED_INIT = "orthogonal"  # the law of dense weights that may be chosen instead of the Gaussian one

# The settings of which any begins a network at the edge of chaos.
CRITICAL = ("activation_sparsity", "tau", "slope", "clip", "q_star", "sigma_w", "sigma_b")


def critical_choices(settings: TrainingSettings) -> dict[str, Any]:
    """What is left open of the settings of such a network: tau, clip, q_star, sigma_w, sigma_b, and gain, sigma_w.

    Raises SaoError for what does not go together, for numbers out of range, and where there is no edge of chaos.
    """
    _check_network(settings)
    q_star = 1.0 if settings.q_star is None else settings.q_star
    function = _function(settings, q_star)
    start = starting_map(function, q_star, settings.sigma_w, settings.sigma_b)
    if settings.gain not in (None, start.sigma_w):
        raise SaoError(f"gain {settings.gain:g} is sigma_w, and at the edge of chaos {start.sigma_w:.6g}; leave it out")
    return {
        "tau": function.tau,
        "clip": function.clip,
        "q_star": q_star,
        "sigma_w": start.sigma_w,
        "sigma_b": start.sigma_b,
        "gain": start.sigma_w,
    }


def _check_network(settings: TrainingSettings) -> None:
    if ARCHITECTURES[settings.arch].image:
        chains = one_of(name for name, row in ARCHITECTURES.items() if not row.image)
        raise SaoError(
            f"a {settings.arch} is no chain of matrices, of which the edge of chaos is known; choose {chains}"
        )
    if TRAIN_METHODS[settings.method].before:
        raise SaoError(
            f"method {settings.method!r} prunes what is at the edge of chaos, and what is left is not; choose "
            f"{one_of(name for name, row in TRAIN_METHODS.items() if not row.before)}"
        )
    if settings.init not in (None, SCALED_INIT):
        raise SaoError(
            f"init {settings.init} has a variance of its own, and the edge of chaos has; choose {SCALED_INIT}"
        )


def _function(settings: TrainingSettings, q_star: float) -> ActivationFunction:
    """The activation, with the numbers that it takes; those of resolved settings follow from what was told again."""
    assert settings.activation is not None
    told = {name: getattr(settings, name) for name in ("activation_sparsity", "tau", "slope", "clip")}
    fixing = {fixed: by for by, fixed in (("activation_sparsity", "tau"), ("slope", "clip")) if told[by] is not None}
    function = sparse_activation(settings.activation, q_star=q_star, **told | dict.fromkeys(fixing))
    for fixed, by in fixing.items():
        number, follows = told[fixed], getattr(function, fixed)
        if number not in (None, follows):
            raise SaoError(
                f"{fixed} {number:g} beside {by} {told[by]:g}, which makes it {follows:.6g}; give one of them"
            )
    return function
