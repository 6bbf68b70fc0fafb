"""What every test folder shares: hypothesis without deadlines on slow machines, and one tolerance helper."""

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("sao", deadline=None, derandomize=True, database=None)
settings.load_profile("sao")


@pytest.fixture
def tolerance():
    """tolerance(size, factor, dtype): factor * eps(dtype) * size, the one rule by which floats are compared."""
    return lambda size, factor=10, dtype=np.float64: factor * np.finfo(dtype).eps * size
