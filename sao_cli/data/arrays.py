"""The types of arrays that travel everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Booleans = NDArray[np.bool_]
