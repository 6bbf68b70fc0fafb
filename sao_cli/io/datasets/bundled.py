"""The handwritten digits that scikit-learn ships."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.rng import SPLIT, generator
from sao_cli.catalog import DataSet
from sao_cli.io.datasets.dataset import Dataset

TEST_SHARE = 0.2  # of the digits


def digits(row: DataSet, seed: int) -> Dataset:
    """1,797 images of 8 x 8 (Alpaydin and Kaynak, UCI, 1998), of which `seed` chooses a fifth of each class to test on.

    Raises SaoError without scikit-learn.
    """
    found = np.loadtxt(_digits_file(), np.uint8, delimiter=",")
    images, labels = found[:, :-1].reshape(-1, 1, 8, 8), found[:, -1].astype(np.int64)
    test = stratified(labels, TEST_SHARE, seed)
    return Dataset(row.name, 10, images[~test], labels[~test], images[test], labels[test])


def _digits_file() -> Path:
    """The table of pixels and labels in scikit-learn's folder, whose `datasets` would take 0.7 s to load."""
    spec = importlib.util.find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder, "datasets", "data", "digits.csv.gz")).is_file():
            return path
    raise SaoError("the digits come with scikit-learn, which is not there: pip install 'sao-cli[train]'")


def stratified(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """(count,) which samples are for the test: `share` of each class, and of all rounded up; random by `seed`.

    >>> stratified(np.repeat([0, 1], 10), 0.2, seed=0).reshape(2, 10).sum(axis=1)
    array([2, 2])
    """
    rng = generator(seed, 0, SPLIT)
    classes, counts = np.unique(labels, return_counts=True)
    wanted = share * counts
    taken = np.floor(wanted).astype(int)
    total = int(np.ceil(share * len(labels)))
    taken[np.argsort(taken - wanted, kind="stable")[: total - taken.sum()]] += 1
    test = np.zeros(len(labels), dtype=bool)
    for one, count in zip(classes, taken, strict=True):
        test[rng.permutation(np.flatnonzero(labels == one))[:count]] = True
    return test
