"""Modules without the units that are not needed: what stands between layers as they ran, and smaller parameters."""
