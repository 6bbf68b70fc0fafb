"""How much each weight of a module matters before it is trained; the names load on first use."""

from sao_cli.base.lazy import lazy_names

__getattr__, __dir__ = lazy_names(__name__, __file__)
