"""Sparse neural networks: build masks and weights, verify eigenvalue conditions, reachability and isometry.

The public names are told in __init__.pyi and load on first use (PEP 562), so that a command pays only for what it
needs.
"""

from sao_cli.base.lazy import lazy_names

__version__ = "0.1.0"

__getattr__, __dir__ = lazy_names(__name__, __file__)
