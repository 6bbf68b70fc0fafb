"""The Jacobian of one layer, J = D W, and the law of a dense orthogonal layer's."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.rng import REFERENCE, generator
from sao_cli.data.matrix import Matrix, MatrixLike
from sao_cli.measure.graph.edge import EXACT_SIDE
from sao_cli.measure.layer.activations import ActivationFunction, activation_derivative

Vector = NDArray[np.float64]


def layer_jacobian(weight: MatrixLike, activation: str | ActivationFunction, x: Vector) -> Matrix:
    """J = D W of one layer, D = diag(phi'(W x)) (SAO, Eq. 3 with L = 1).

    `weight` is (m, n), a Matrix or anything that Matrix.of takes, and `x` (n,) float64.
    The mask stays the weight's, so J holds explicit zeros where phi' is 0.
    O(nnz), without a dense matrix. Raises SaoError for an unknown activation, and FormatError for an `x` of
    another size or one that is not finite.

    >>> weight = Matrix.from_dense(np.array([[1.0, 0.0], [0.0, -2.0]]))
    >>> layer_jacobian(weight, "relu", np.array([3.0, 1.0])).to_dense()
    array([[ 1.,  0.],
           [ 0., -0.]])
    """
    function = ActivationFunction.of(activation)
    weight = Matrix.of(weight)
    check_input(x, weight.mask.n)
    if function.name == "linear":
        return weight
    assert weight.values is not None
    rows = weight.mask.entry_rows
    h = np.bincount(rows, weight.values * x[weight.mask.indices], minlength=weight.mask.m)
    slopes = activation_derivative(function, h)
    return Matrix(weight.mask, weight.values * slopes[rows], weight.dtype)


def gaussian_input(n: int, input_std: float, rng: np.random.Generator) -> Vector:
    """(n,) a draw of x ~ N(0, s^2 I), s = `input_std`; SaoError where that is negative or not finite."""
    if not (math.isfinite(input_std) and input_std >= 0):
        raise SaoError(f"input_std {input_std}: a standard deviation is a finite number from 0; the default is 1")
    return input_std * rng.standard_normal(n)


def check_input(x: Vector, n: int) -> None:
    """Raise FormatError unless `x` is a finite vector of n numbers."""
    if x.shape != (n,):
        raise FormatError(f"an input of shape {x.shape} for a layer that reads {n} numbers")
    if not np.isfinite(x).all():
        wrong = int(np.flatnonzero(~np.isfinite(x))[0])
        raise FormatError(f"the input's number {wrong + 1} is {x[wrong]}; every one must be finite")


def dense_jacobian_values(
    m: int,
    n: int,
    activation: str | ActivationFunction = "linear",
    *,
    gain: float = 1.0,
    input_std: float = 1.0,
    x: Vector | None = None,
    seed: int = 0,
    layer: int = 1,
) -> Vector:
    """(min(m, n),) singular values, descending, of J = D W with W = gain times a Haar (m, n) (semi-)orthogonal matrix.

    A draw from their exact law, mostly without the matrix. For m <= n, W W^T = gain^2 I, so the singular values of
    D W are gain |phi'(h_i)|, and h = W x is gain |x| times the first m coordinates of a uniformly random direction:
    O(n). For m > n they are those of D Q with Q a Haar frame, whose first column may be taken along h, since turning
    the inputs changes no singular value: O(m n^2), up to n = 4096. Linear: all are `gain`.

    The input is `x` (n,), of which only the norm matters, or else x ~ N(0, input_std^2 I). All random numbers come
    from a stream that no weight is drawn from. Raises SaoError for an unknown activation and for sizes past n = 4096
    that need a dense matrix, MemoryLimitError where that would not fit.

    >>> dense_jacobian_values(2, 3, gain=1.1)
    array([1.1, 1.1])
    """
    function = ActivationFunction.of(activation)
    if function.name == "linear":
        return np.full(min(m, n), float(gain))
    rng = generator(seed, layer, REFERENCE)
    if x is None:
        x = gaussian_input(n, input_std, rng)
    check_input(x, n)
    length = gain * float(np.linalg.norm(x))
    if m <= n:
        direction = rng.standard_normal(n)
        h = (length / np.linalg.norm(direction)) * direction[:m]
        return np.sort(gain * np.abs(activation_derivative(function, h)))[::-1]
    if n > EXACT_SIDE:
        raise SaoError(
            f"a dense {m} x {n} reference would take too long: with more outputs than inputs it needs a dense SVD, "
            f"which is computed up to n = {EXACT_SIDE}; name a reference file, or none"
        )
    require_memory(48 * m * n, f"a dense reference of {m} x {n}")
    gaussian = rng.standard_normal((m, n))
    h = (length / np.linalg.norm(gaussian[:, 0])) * gaussian[:, 0]
    frame = np.linalg.qr(gaussian)[0]
    values = np.linalg.svd(activation_derivative(function, h)[:, None] * frame, compute_uv=False)
    return gain * values.astype(np.float64, copy=False)
