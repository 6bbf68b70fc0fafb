"""Fig. 11: the moments of trained networks' Jacobians, beside those that can be told without measuring."""

import numpy as np
import pytest

from sao_cli.study.papers.trained_jacobians import moments_after_training

SMALL = {"depth": 4, "width": 16, "data": "digits", "epochs": 0, "activation": "linear"}


def test_orthogonal_layers_have_their_gain_and_nothing_else():
    found = moments_after_training({**SMALL, "method": "sao", "sparsity": 0.75, "gain": 1.05}, None, seed=0)
    assert found["layer mean"] == pytest.approx(1.05, rel=1e-5)
    assert found["layer variance"] == pytest.approx(0, abs=1e-9)
    assert (found["layer near"], found["layer low"], found["layer large"], found["layer vanished"]) == (1, 1, 0, 0)


def test_normal_weights_are_spread():
    settings = {**SMALL, "method": "rg-n", "sparsity": 0, "width": 256, "gain": 1.1}
    found = moments_after_training(settings, None, seed=0)
    mean = 8 / (3 * np.pi)  # of the quarter-circle law, whose second moment is 1
    assert found["layer mean"] == pytest.approx(1.1 * mean, rel=0.01)
    assert found["layer variance"] == pytest.approx(1.1**2 * (1 - mean**2), rel=0.02)
    assert (found["layer near"], found["layer large"]) == (1, 1)


def test_what_is_pruned_by_magnitude_vanishes_with_depth():
    settings = {**SMALL, "activation": "tanh", "depth": 20, "width": 32, "method": "gmp-s", "sparsity": 0.9}
    found = moments_after_training(settings, None, seed=0)
    assert found["network vanished"] == 1
    assert 0 <= found["network mean"] < 0.01 < 0.1 < found["layer mean"]
