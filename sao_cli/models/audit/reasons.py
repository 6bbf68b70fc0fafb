"""Why a fact of a tensor is not there: what is said of it in a row."""

from __future__ import annotations

from sao_cli.base.errors import SaoError

NO_GROUPS = "what its columns read is not known without its groups of channels"
NO_IMAGE = "a convolution's singular values are those of a map of images: --image N"
NO_SHUFFLE = "random_distance is of numbers, and a product of factors is never there as a whole"
NO_WEIGHT = "no weight that ran: it multiplied nothing that depends on the input"
ALL_ONES = "the mask is all ones, and the eigenvalue conditions are of sparse ones"
MANY_ONES = "more than half of the mask is ones, and the eigenvalue conditions are of sparse ones"
# What one tensor may raise while others are measured: what is said to the user, and numerics that can't take it
# (numpy's LinAlgError is a ValueError).
UNMEASURED = (SaoError, ValueError, ArithmeticError, MemoryError)


def said(error: Exception) -> str:
    """What an error of UNMEASURED says, as a row's reason.

    >>> said(ValueError("SVD did not converge"))
    'it could not be measured: SVD did not converge'
    """
    if isinstance(error, SaoError):
        return str(error)
    if isinstance(error, MemoryError):
        return str(error) or "memory ran out"
    return f"it could not be measured: {error}"
