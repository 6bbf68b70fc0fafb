"""The learning rates and schedules of the paper's tables, and ours where it has none."""

import math

from sao_cli.catalog import FORMS, DataSet

# 20 epochs of digits are 460 steps, where 100 of MNIST are 47,000 (128 images each): 1e-4 would leave them at chance.
LEAST_DIGITS_RATE = 1e-3

# Clipped networks of 30 layers, 85 % of their outputs 0, learn the digits by it with every seed that was tried; 3e-3 is
# faster where it goes well, and 1e-2 throws them off (ours).
LARGEST_CRITICAL_RATE = 1e-3

ADAM_RATE = 1e-3  # Kingma and Ba, ICLR 2015; of every network (ours)

_RATES: dict[str, dict[float, float]] = {  # depth: learning rate (SAO, Tables 2 and 3)
    "fnn": {60: 1e-2, 200: 1e-3, 400: 1e-3, 600: 1e-4, 800: 1e-4, 1000: 1e-4},
    "cnn": {32: 1e-2, 128: 1e-3, 256: 1e-3, 512: 1e-4, 768: 1e-4},
    "lipconvnet": {math.inf: 1e-2},
    "lenet300": {math.inf: 1e-2},
    "lenet5": {math.inf: 1e-2},  # as Caffe's solver for it
}
_WARMUPS = {"relu": 768, "tanh": 512}  # the depths from which the paper's CNNs have 10 epochs of it


def paper_rate(arch: str, depth: int) -> float:
    """The initial learning rate of SAO's Tables 2 and 3: of the first depth there that is not below `depth`.

    >>> paper_rate("fnn", 50), paper_rate("fnn", 61), paper_rate("cnn", 2000)
    (0.01, 0.001, 0.0001)
    """
    rates = _RATES[arch]
    return next((rate for listed, rate in rates.items() if depth <= listed), min(rates.values()))


def paper_schedule(arch: str, data: DataSet, depth: int, activation: str | None) -> tuple[int, str]:
    """Epochs of warm-up, and the schedule (SAO, section III-D.1)."""
    if arch == "cnn" and not FORMS[data.form].pooled:
        return 1, "cosine"
    if arch == "cnn" and depth >= _WARMUPS.get(activation or "", math.inf):
        return 10, "cosine"
    return 0, "steps"
