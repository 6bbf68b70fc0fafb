"""The digits' split."""

import numpy as np

from sao_cli.io.datasets.bundled import stratified


def test_a_split_takes_each_sample_once():
    labels = np.array([0] * 13 + [1] * 7 + [2] * 5)
    test = stratified(labels, 0.2, seed=3)
    assert np.bincount(labels[test]).tolist() == [3, 1, 1]  # of 2.6, 1.4 and 1
    assert np.array_equal(test, stratified(labels, 0.2, seed=3))
