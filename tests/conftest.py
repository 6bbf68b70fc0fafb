"""What every test folder shares: one BLAS thread, hypothesis without deadlines, and one tolerance helper."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: small matrices only lose time to more threads

# isort: split
import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("sao", deadline=None, derandomize=True, database=None)
settings.load_profile("sao")


@pytest.fixture
def tolerance():
    """tolerance(size, factor, dtype): factor * eps(dtype) * size, the one rule by which floats are compared."""
    return lambda size, factor=10, dtype=np.float64: factor * np.finfo(dtype).eps * size
