"""The pooled facts of several Jacobians, against values by hand, and what can't be told."""

import itertools

import pytest
import torch
from torch import nn

from sao_cli.nets.training.jacobian_row import input_output_jacobian


class Scaled(nn.Module):
    """x times the square of its first number over 2, of which the Jacobian at (a, 0, 0) is a^2 diag(3/2, 1/2, 1/2)."""

    def forward(self, x):
        return x[:, :1] ** 2 / 2 * x


def test_all_values_of_all_inputs_are_taken_together():
    x = torch.tensor([[1.0, 0, 0], [2.0, 0, 0]], dtype=torch.float64)
    found = input_output_jacobian(Scaled(), x)
    values = torch.tensor([1.5, 0.5, 0.5, 6, 2, 2], dtype=torch.float64)
    assert found.mean == pytest.approx(values.mean().item(), rel=1e-14)
    assert found.std == pytest.approx(values.std(unbiased=False).item(), rel=1e-14)
    assert (found.condition, found.condition_pooled) == pytest.approx((3, 12), rel=1e-14)


def test_a_known_network():
    """A tanh network of 6, 5, 4 and 3 and eight inputs by formulas; the numbers are of another implementation."""
    widths, first, layers = (6, 5, 4, 3), 0, []
    for n, m in itertools.pairwise(widths):
        layer = nn.Linear(n, m, bias=False, dtype=torch.float64)
        k = torch.arange(first + 1, first + m * n + 1, dtype=torch.float64)
        layer.weight.data = (k.square().sin() / n**0.5).reshape(m, n)
        first, layers = first + m * n, [*layers, layer, nn.Tanh()]
    x = torch.arange(1, 49, dtype=torch.float64).square().cos().reshape(8, 6)
    found = input_output_jacobian(nn.Sequential(*layers[:-1]), x)
    assert found.mean == pytest.approx(0.24900087894232845, rel=1e-10)
    assert found.std == pytest.approx(0.20929147651397684, rel=1e-10)
    assert found.condition_pooled == pytest.approx(97.85649862110523, rel=1e-10)


def test_a_least_value_that_can_not_be_told_from_zero_has_a_reason():
    flat = nn.Linear(3, 2, dtype=torch.float64)
    with torch.no_grad():
        flat.weight.copy_(torch.tensor([[1.0, 2, 3], [2, 4, 6]]))
    found = input_output_jacobian(flat, torch.zeros(2, 3, dtype=torch.float64))
    assert (found.condition, found.condition_pooled, found.log10_sigma_min) == (None, None, None)
    assert "the rank is 1 of 2" in found.reason
    assert found.std == pytest.approx(70**0.5 / 2)
    huge = nn.Linear(2, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        huge.weight.copy_(torch.tensor([[1e160, 0], [0, 3e160]], dtype=torch.float64))
    found = input_output_jacobian(huge, torch.zeros(1, 2, dtype=torch.float64))
    assert found.std == pytest.approx(1e160)  # whose square leaves the range
    assert found.condition_pooled == pytest.approx(3)
