"""What every test folder shares: one BLAS thread, and hypothesis without deadlines on slow machines."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: small matrices only lose time to more threads

# isort: split
from hypothesis import settings

settings.register_profile("sao", deadline=None, derandomize=True, database=None)
settings.load_profile("sao")
