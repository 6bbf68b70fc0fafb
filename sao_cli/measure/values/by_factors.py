"""The singular values of a product of two small factors, from the factors alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory
from sao_cli.data.arrays import Values
from sao_cli.data.product import Product
from sao_cli.measure.values.singular_values import SingularValues


def product_singular_values(product: Product) -> SingularValues:
    """All min(m, n) singular values of B A, for B (m, r) and A (r, n), with the zeros beyond r.

    With B = Q R and A^T = Q' R', Q and Q' of orthonormal columns, they are those of R R'^T, at most (r, r). Raises
    FormatError where the product may leave the range of float64, and MemoryLimitError. O((m + n) r^2 + r^3).

    >>> product_singular_values(Product(np.full((3, 1), 2.0), np.full((1, 4), 1.0))).values.round(12).tolist()
    [6.928203230276, 0.0, 0.0]
    """
    left, right = product.left, product.right.T
    (m, n), r = product.shape, left.shape[1]
    largest = math.prod(float(np.abs(factor).max(initial=0)) for factor in (left, right)) * r * math.sqrt(m * n)
    if not math.isfinite(largest):
        raise FormatError("the product of its factors leaves the range of float64; scale one of them")
    require_memory(24.0 * (m + n) * r, f"the QR decompositions of factors of {m} x {r} and {r} x {n}")
    outer, inner = map(_triangle, (left, right))
    values = np.linalg.svd(outer @ inner.T, compute_uv=False)
    return SingularValues(values=np.pad(values, (0, min(m, n) - len(values))), exact=True)


def _triangle(factor: NDArray[Any]) -> Values:
    """The R of its QR decomposition."""
    triangle: Values = np.linalg.qr(factor.astype(np.float64), mode="r")  # type: ignore[assignment]
    return triangle
