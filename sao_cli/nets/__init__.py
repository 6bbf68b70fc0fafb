"""Sparse layers, initialisers and networks for torch. The public names load on first use, and torch with them."""

from sao_cli.base.lazy import lazy_names

__getattr__, __dir__ = lazy_names(__name__, __file__)
