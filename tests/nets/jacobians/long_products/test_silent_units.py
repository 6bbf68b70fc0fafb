"""Ranks of ReLU networks' Jacobians, whose units fall silent, against exact products of whole numbers."""

import math

import mpmath
import numpy as np
import pytest

from sao_cli.nets.jacobians.long_products.graded import GradedProduct
from sao_cli.nets.jacobians.points import drawn_inputs
from sao_cli.weights.build_weights import weight_stack

DEPTHS = (10, 20)
FAR = 1e-60  # the least value is past 1e-40, and 300 digits leave 1e-150 of those that are 0
WHOLE = 100  # bits


def whole(weight):
    scaled = np.ldexp(weight, WHOLE)
    assert (scaled == np.rint(scaled)).all()
    return np.vectorize(int, otypes=[object])(scaled)


def exact_log10(product, depth):
    """(r,), descending, of the values that are not 0: of the Gram matrix of the rows that aren't."""
    rows = product[(product != 0).any(axis=1)]
    with mpmath.workdps(300):
        gram = mpmath.matrix((rows @ rows.T).tolist()) / mpmath.mpf(4) ** (WHOLE * depth)
        values = [mpmath.sqrt(abs(value)) for value in mpmath.eigsy(gram, eigvals_only=True)]
        return np.array(sorted((float(mpmath.log(value, 10)) for value in values if value > FAR), reverse=True))


def silent_factors(method, width, seed, chosen):
    """D W of each layer of a ReLU network at one of three inputs."""
    x, factors = drawn_inputs(3, [width], 1.0, seed)[chosen], []
    for weight in weight_stack([width] * (max(DEPTHS) + 1), method=method, seed=seed):
        h = weight.to_dense() @ x
        factors.append((h > 0)[:, None] * weight.to_dense())
        x = np.maximum(h, 0)
    return factors


@pytest.mark.filterwarnings("ignore::sao_cli.base.errors.SaoWarning")  # of lost digits, which `error` counts
@pytest.mark.parametrize(
    ("method", "width", "seed", "chosen"),
    [  # of the first three one value that is 0 was told to be about 1e-20 and right to a few percent
        ("ramanujan", 16, 0, 1),
        ("rg-n", 24, 7, 1),
        ("ramanujan", 24, 5, 1),
        ("sao", 24, 7, 2),
        ("sao", 32, 4, 1),
        ("lmp", 24, 1, 2),
    ],
)
def test_a_value_that_is_zero_is_not_told_as_a_small_one(method, width, seed, chosen):
    product, exact = GradedProduct(width, dtype=np.float64), whole(np.eye(width))
    for depth, factor in enumerate(silent_factors(method, width, seed, chosen), 1):
        product.multiply(factor)
        exact = whole(factor) @ exact
        if depth in DEPTHS:
            found, expected = product.log_singular_values(base=10), exact_log10(exact, depth + 1)
            resolved = found.values[np.isfinite(found.values)]
            assert len(resolved) <= len(expected)
            wrong = np.abs(resolved - expected[: len(resolved)]).max() * math.log(10)
            assert wrong < 6 * found.error
