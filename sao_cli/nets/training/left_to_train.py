"""What the masks of a network leave of it, as the rows of its training tell it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sao_cli.masks.degrees import kappa
from sao_cli.models.audit.connections import Pattern
from sao_cli.models.left import StackLink, WhatIsLeft, left_of_stack
from sao_cli.models.prune_whole import NOTHING
from sao_cli.nets.networks.fnn import FNN
from sao_cli.nets.tracing.kept_paths import kept_network
from sao_cli.nets.training.methods import Kept, kept_places
from sao_cli.nets.training.settings import TrainingSettings

NOT_TOLD = "paths are told of networks that are pruned, and of fully connected ones"


def left_to_train(model: nn.Module, settings: TrainingSettings, x: Tensor, kept: Kept, pruned: bool) -> dict[str, Any]:
    """The facts of reports.changes.WhatStays, but for those of scores, of the layers that are `kept` where it is True.

    Of an FNN by one boolean pass forth and one back through its masks. Of a CNN and a LeNet-5 that are `pruned` by a
    run on one of the inputs `x` (B, ...), in which all weights that masks keep count as not zero.
    """
    size = sum(places.size for places in kept.values())
    ones = {name: int(places.sum()) for name, places in kept.items()}
    left = _left(model, x[:1], pruned) if kept else WhatIsLeft(reason=NOT_TOLD)
    counts = [left.effective[name] for name in kept if name in left.effective]
    effective = sum(counts) if kept and len(counts) == len(kept) else None
    total = sum(ones.values())
    return {
        "kappa": kappa(size, settings.sparsity) if pruned and settings.sparsity is not None else None,
        "kept": total if kept else None,
        "compression": size / total if total else None,
        "effective": effective,
        "effective_sparsity": None if effective is None else 1 - effective / size,
        "effective_compression": size / effective if effective else None,
        "collapsed_layers": sum(not count for count in ones.values()) if kept else None,
        "reachable": left.reachable,
        "lost_inputs": left.lost_inputs,
        "unreached_outputs": left.unreached_outputs,
        "unknown": left.unknown,
        "assumed": None,
        "reason": left.reason or (NOTHING if effective == 0 else None),
    }


def _left(model: nn.Module, x: Tensor, pruned: bool) -> WhatIsLeft:
    if isinstance(model, FNN):
        places = kept_places(model, all_layers=True)
        links = [StackLink("matrix", len(one), one.shape[1], Pattern.of_dense(one)) for one in places.values()]
        return left_of_stack(list(places), links)
    return _as_it_runs(model, x) if pruned else WhatIsLeft(reason=NOT_TOLD)


def _as_it_runs(model: nn.Module, x: Tensor) -> WhatIsLeft:
    """The facts by a run in which what masks keep counts as not zero."""
    places = {f"{name}.weight": one for name, one in kept_places(model, all_layers=True).items()}
    network = kept_network(model, (x,), places, "unit")
    facts = network.summary.facts
    return WhatIsLeft(
        effective={row.name.removesuffix(".weight"): row.effective for row in network.layers if row.name in places},
        reachable=facts.reachable,
        lost_inputs=facts.lost_inputs,
        unreached_outputs=facts.unreached_outputs,
        unknown=facts.unknown,
    )
