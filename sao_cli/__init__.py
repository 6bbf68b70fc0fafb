"""Sparse neural-network masks: build them, verify their eigenvalue conditions, compute who reaches whom.

The public names load on first use (PEP 562), so that a command pays only for what it needs.
"""

__version__ = "0.1.0"
