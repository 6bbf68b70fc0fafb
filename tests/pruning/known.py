"""Known values of pruning at initialisation, of the small networks that they are of, by the letter of their text."""

import numpy as np

SNIP_PLACES = [10, 12, 13, 15, 22, 28, 39, 48, 49, 53, 60, 61]
SYNFLOW_TOTAL, SYNFLOW_FIRST = 8.254363987259964, 0.3454007896334132
SYNFLOW_ONE_ROUND = [41, 42, 44, 45, 47, 51, 53, 55, 56, 57, 60, 61]
SYNFLOW_100_ROUNDS = [13, 14, 15, 29, 37, 42, 47, 51, 55, 56, 60, 61]
SYNFLOW_PATH = [15, 42, 60]


def numbered(*shapes):
    """Weights of those shapes: the k-th of all, from 1, is sin(k^2) / sqrt(fan_in)."""
    weights, first = [], 1
    for shape in shapes:
        size = int(np.prod(shape))
        k = np.arange(first, first + size, dtype=float)
        weights.append((np.sin(k**2) / np.sqrt(size / shape[0])).reshape(shape))
        first += size
    return weights


def places(masks):
    """The flat places of the ones, over all layers in order."""
    return np.flatnonzero(np.concatenate([np.asarray(mask).reshape(-1) for mask in masks])).tolist()


NET_A = [(5, 6), (4, 5), (3, 4)]
