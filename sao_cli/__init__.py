"""Sparse neural networks: build masks and weights, verify eigenvalue conditions, reachability and isometry.

The public names are told in __init__.pyi and load on first use (PEP 562), so that a command pays only for what it
needs.
"""

from typing import Any

from sao_cli.base.lazy import lazy_names
from sao_cli.data.coercion import register_reader

__version__ = "0.1.0"

__getattr__, __dir__ = lazy_names(__name__, __file__)


def _read_path(path: str) -> list[Any]:
    from sao_cli.io.reading import read_weights

    return list(read_weights(path))


register_reader(_read_path)
