"""What every test folder shares: one thread of BLAS and torch, and hypothesis without deadlines on slow machines."""

import os

# Before numpy and torch: small matrices only lose time to more threads, which wait actively for each other where there
# are two workers on two cores. The processes that tests start inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Whoever runs the tests may have settings of their own.
os.environ.update(SAO_CONFIG="", SAO_SEED="", SAO_THREADS="")

# isort: split
import sys

import pytest
from hypothesis import settings

settings.register_profile("sao", deadline=None, derandomize=True, database=None)
settings.load_profile("sao")


@pytest.fixture(autouse=True)
def _torch_begins_anew():
    """The same draws of torch's own generator in every order of the tests, and with any of them left out."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
