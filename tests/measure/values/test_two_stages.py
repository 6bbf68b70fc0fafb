"""Two stages against LAPACK's one, and against matrices built from eigenvalues that are known."""

import numpy as np
import pytest

from sao_cli.measure.values import two_stages
from sao_cli.measure.values.two_stages import add_gram, mirror, symmetric_eigenvalues


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(two_stages, "LARGE", 6)
    monkeypatch.setattr(two_stages, "_WIDTH", 5)
    monkeypatch.setattr(two_stages, "_ROWS", 7)


def rotated(values, seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values),) * 2))
    return (q * values) @ q.T


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6, 9, 10, 11, 12, 30, 61])
@pytest.mark.parametrize("kind", ["random", "graded", "ties", "low rank"])
def test_they_are_the_eigenvalues(size, kind):
    rng = np.random.default_rng(size)
    values = {
        "random": rng.standard_normal(size),
        "graded": 10.0 ** -np.linspace(0, 12, size),
        "ties": rng.integers(0, 3, size).astype(float),
        "low rank": np.where(np.arange(size) < 3, 1.0, 0.0),
    }[kind]
    found = symmetric_eigenvalues(np.tril(rotated(values)))
    np.testing.assert_allclose(found, np.sort(values), rtol=0, atol=1e-14 * size * max(abs(values).max(), 1e-300))


@pytest.mark.parametrize("matrix", [np.zeros((12, 12)), np.eye(12), np.diag(np.arange(12.0))])
def test_nothing_to_reflect(matrix):
    np.testing.assert_allclose(symmetric_eigenvalues(matrix.copy()), np.sort(np.diag(matrix)), rtol=0, atol=1e-13)


def test_a_gram_matrix_adds_up_and_is_mirrored():
    dense = np.random.default_rng(1).standard_normal((40, 23))
    gram = np.zeros((23, 23))
    for start in range(0, 40, 13):
        add_gram(gram, dense[start : start + 13])
    np.testing.assert_allclose(np.tril(gram), np.tril(dense.T @ dense), rtol=0, atol=1e-12)
    mirror(gram)
    np.testing.assert_array_equal(gram, gram.T)
    np.testing.assert_allclose(gram, dense.T @ dense, rtol=0, atol=1e-12)


def test_with_the_width_that_large_ones_have(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(two_stages, "LARGE", 300)
    values = np.repeat([4.0, 2.0, 0.0], 200)
    signs = np.random.default_rng(2).choice([-1.0, 1.0], (len(values), 2))
    matrix = np.diag(values)
    for column in signs.T:  # two reflections make it full
        vector = column / np.sqrt(len(column))
        matrix -= 2 * np.outer(vector, vector @ matrix)
        matrix -= 2 * np.outer(matrix @ vector, vector)
    found = symmetric_eigenvalues(matrix)
    np.testing.assert_allclose(found, np.sort(values), rtol=0, atol=1e-12)
