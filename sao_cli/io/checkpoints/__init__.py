"""Checkpoints of networks: every tensor listed with what it is, read one at a time; and written as safetensors."""

from sao_cli.base.lazy import lazy_names

__getattr__, __dir__ = lazy_names(__name__, __file__)
