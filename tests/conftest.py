"""What every test folder shares: one BLAS thread, and hypothesis without deadlines on slow machines."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: small matrices only lose time to more threads

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
