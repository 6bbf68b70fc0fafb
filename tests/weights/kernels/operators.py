"""A convolution as one dense matrix, tap by tap from shifts; no Fourier transform."""

import functools
import itertools

import numpy as np


def operator(values, image, *, dilation=1, circular=True):
    """The (c_out n^D, c_in n^D) matrix of the convolution of an image of side n, padded as torch's "same" does."""
    size = values.shape[2:]
    total = 0
    for taps in itertools.product(*map(range, size)):
        offsets = [dilation * a - dilation * (k - 1) // 2 for a, k in zip(taps, size, strict=True)]
        shifts = (_shift(image, offset, circular) for offset in offsets)
        total = total + np.kron(values[(..., *taps)], functools.reduce(np.kron, shifts))
    return total


def singular_values(matrix):
    return np.linalg.svd(matrix, compute_uv=False)


def _shift(n, offset, circular):
    return np.roll(np.eye(n), offset, axis=1) if circular else np.eye(n, k=offset)
