"""What tests of executors share."""

from .clusters import dask, fragile

__all__ = ["dask", "fragile"]
