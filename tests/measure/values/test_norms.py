"""Norms that one pass over the numbers tells, against numpy's, and where squares leave the range."""

import numpy as np
import pytest

from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.measure.values import norms
from sao_cli.measure.values.norms import frobenius_norm, longest_line, longest_line_of_array, matrix_norm


@pytest.mark.parametrize("scale", [1.0, 1e-250, 1e250, 5e-324])
@pytest.mark.parametrize("shape", [(1, 1), (40, 30), (3, 200), (5, 4, 3, 2)])
def test_they_are_numpys_without_overflow(scale, shape, monkeypatch):
    monkeypatch.setattr(norms, "PIECE", 70)
    numbers = np.random.default_rng(0).integers(-5, 6, shape).astype(float)
    assert frobenius_norm(scale * numbers) == pytest.approx(scale * np.linalg.norm(numbers), rel=1e-14)
    if len(shape) == 2:
        line = scale * max(np.linalg.norm(numbers, axis=axis).max() for axis in (0, 1))
        assert longest_line_of_array(scale * numbers) == pytest.approx(line, rel=1e-14)
        assert longest_line(Matrix.from_dense(scale * numbers)) == pytest.approx(line, rel=1e-14)


def test_of_patterns_and_of_nothing():
    mask = Mask.from_dense([[1, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert (matrix_norm(Matrix(mask)), longest_line(Matrix(mask))) == (2.0, 3**0.5)
    assert frobenius_norm(np.zeros((3, 4))) == longest_line_of_array(np.zeros((3, 4))) == 0.0
    assert longest_line(Matrix.from_dense(np.zeros((2, 2)))) == 0.0
    assert frobenius_norm(np.full((8, 8), 60000.0, dtype=np.float16)) == 8 * 60000
