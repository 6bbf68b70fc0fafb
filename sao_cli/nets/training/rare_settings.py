"""What training with the loss RaRe is made with, by what its settings tell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sao_cli.base.errors import SaoError
from sao_cli.base.names import one_of
from sao_cli.catalog import ARCHITECTURES
from sao_cli.nets.training.number_rules import require

if TYPE_CHECKING:
    from sao_cli.nets.training.settings import TrainingSettings

# The settings that are of `rare`, and what they are where they are left open: the paper's (Lee et al. 2021, section
# 5.1), but for the steps between two searches, and for dropout, of which it has 0.2 (ours).
RARE: dict[str, Any] = {
    "l2": 0.1,
    "tau_cos": 1e-4,
    "tau_euc": 1e-1,
    "check_every": 10,
    "frobenius": True,
    "dropout": 0.0,
}
HE = "vs-h"  # the law of weights before a rectifier (He et al. 2015), as the experiments of the loss begin


def rare_choices(settings: TrainingSettings) -> dict[str, Any]:
    """What is left open of the settings of such training: those of RARE, and `init` and `gain` of a rectifier.

    Raises SaoError for what does not go together, and for numbers out of range.
    """
    _check_network(settings)
    told = {name: default if (given := getattr(settings, name)) is None else given for name, default in RARE.items()}
    _check_numbers(settings.rare, told)
    rectified = settings.activation == "relu" and settings.init is None and not settings.critical
    return told | ({"init": HE, "gain": 1.0} if rectified else {})


def check_without_rare(settings: TrainingSettings) -> None:
    """Raise SaoError for settings of `rare` where it is not asked for."""
    for name in RARE:
        if (told := getattr(settings, name)) is not None:
            raise SaoError(f"{name} {told}: it is of training that fuses rows and columns; ask for rare too, as 20")


def _check_network(settings: TrainingSettings) -> None:
    assert settings.rare is not None
    if ARCHITECTURES[settings.arch].image:
        chains = one_of(name for name, row in ARCHITECTURES.items() if not row.image)
        raise SaoError(
            f"rare {settings.rare:g}: a {settings.arch} has kernels, and rows of matrices fuse; choose {chains}"
        )
    if settings.method != "dense":
        raise SaoError(
            f"rare {settings.rare:g}: method {settings.method!r} makes masks, and fused rows have none; choose dense"
        )


def _check_numbers(rare: float | None, told: dict[str, Any]) -> None:
    for name, value in {"rare": rare, "l2": told["l2"], "tau_euc": told["tau_euc"]}.items():
        require(math.isfinite(value) and value >= 0, name, value, "from 0, finite")
    require(0 <= told["tau_cos"] <= 1, "tau_cos", told["tau_cos"], "from 0 to 1")
    require(0 <= told["dropout"] < 1, "dropout", told["dropout"], "a rate, from 0 to below 1")
    require(told["check_every"] >= 1, "check_every", told["check_every"], "a whole number of steps, from 1")
