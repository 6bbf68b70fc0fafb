"""The first and the last weight of a checkpoint, which pruning keeps dense."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from sao_cli.base.errors import SaoWarning
from sao_cli.io.checkpoints import Entry
from sao_cli.io.checkpoints.structure import Structure
from sao_cli.io.output import shown


def dense_ends(structure: Structure) -> dict[str, str]:
    """The first and the last weight in the order of names, kept dense as the paper and most recipes do."""
    names = structure.order.names
    return dict.fromkeys(names[-1:], "last") | dict.fromkeys(names[:1], "first")


def kept_dense(structure: Structure, entry: Entry, ends: Mapping[str, str]) -> str | None:
    name = next((name for name in (entry.name, *structure.tied_with(entry)) if name in ends), None)
    if name is None:
        return None
    also = "" if name == entry.name else f" ({shown(name)})"
    return f"the {ends[name]} weight in the order of names{also}, kept dense; --all prunes it too"


def warn_of_ends(structure: Structure, ends: Mapping[str, str]) -> None:
    """Say where the names do not tell which weights are the ends."""
    reason = structure.order.reason
    if ends and reason is not None:
        kept = " and ".join(shown(name) for name in sorted(ends, key=lambda name: ends[name]))
        told = f"the names tell no order of layers ({reason}), so that the first and the last of them are kept dense"
        advice = "--all prunes them, and --all with --exclude keeps others"
        warnings.warn(f"{told}: {kept}; {advice}", SaoWarning, stacklevel=3)
