"""Streams and files of matrices and kernels: read by content, written by suffix, whole or not at all."""

from sao_cli.base.lazy import lazy_names

__getattr__, __dir__ = lazy_names(__name__, __file__)
