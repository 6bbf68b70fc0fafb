"""Masks of what scores keep, put on a module by torch.nn.utils.prune."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sao_cli import catalog
from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.names import check, load
from sao_cli.nets.scores.objectives import paired
from sao_cli.nets.scores.score_tensors import Scores
from sao_cli.nets.scores.scored_module import ScoredModule
from sao_cli.nets.tracing.kept_paths import kept_network
from sao_cli.pruning.selection import KeptWeights, kept_by_masks, select


@dataclass(frozen=True)
class ModulePruning:
    """What prune_ did: `kept` and `parameters` by the name of the weight, and the numbers of the whole.

    `compression` is P / kept. `scores` are those that chose, with their `facts` where they have some.
    """

    parameters: dict[str, int]
    kept: dict[str, int]
    kappa: int
    zero_scores: int
    ties_at_threshold: int
    scores: Mapping[str, Tensor]

    @property
    def sparsity(self) -> float:
        """Share of zeros in all scored weights together."""
        return 1 - sum(self.kept.values()) / sum(self.parameters.values())

    @property
    def compression(self) -> float:
        """P over the weights kept."""
        return sum(self.parameters.values()) / sum(self.kept.values())

    @property
    def collapsed(self) -> list[str]:
        """The weights of which nothing is left."""
        return [name for name, count in self.kept.items() if not count]


def keep(scores: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """Boolean masks of the weights' shapes that keep the round((1 - sparsity) P) largest scores of all together.

    Of equal scores the first by layer, row and column. Scores of whole kernels (snip's with unit="kernel") keep as many
    kernels as fit. Raises as pruning.selection.select does: for NaN, where all scores are 0, where none is kept.

    >>> keep({"a": torch.tensor([[3.0, 1.0], [2.0, 2.0]])}, 0.5)["a"].tolist()
    [[True, False], [True, False]]
    """
    return _masks(scores, _selected(scores, sparsity))


def prune_(
    model: nn.Module,
    method: str | Mapping[str, Tensor],
    sparsity: float,
    *,
    batches: Iterable[Any] | None = None,
    effective: bool = False,
    inputs: Tensor | None = None,
    **options: Any,
) -> ModulePruning:
    """Put the masks of what a score keeps on `model` by torch.nn.utils.prune, and tell what they keep.

    `method` is a name of catalog.SCORES, whose `options` are those of its function, or scores by the name of the weight
    ("0.weight"), of its shape: the door for other methods. Weights that a mask excluded before stay excluded.

    With `effective` kept weights go too that lie on no path of kept ones through the network that the model is on
    `inputs`: by default the first of `batches`, or ones where the first layer is an nn.Linear. Fewer than kappa stay
    then (Vysogorets and Kempe 2021). Where nothing is known of an operation, those go that certainly lie on none.

    Nothing is changed where something is refused: names or shapes that the model has not, weights that are
    parametrised, what keep and the scores raise, no effective weight. O(P), the scores' cost, and that of
    Network.from_module.

    >>> pruned = prune_(nn.Linear(4, 5, bias=False), "magnitude", 0.75)
    >>> pruned.kept, pruned.compression
    ({'weight': 5}, 4.0)
    """
    if effective and batches is not None and not isinstance(batches, tuple):
        batches = list(batches)  # read by the scores, and once more
    scores = _scored(model, method, sparsity, batches, options)
    module = ScoredModule(model, biases=any(name.endswith("bias") for name in scores))
    _require_fitting(module, scores)
    chosen = _selected(_behind_masks(module, scores), sparsity)
    masks = _masks(scores, chosen)
    if effective:
        masks = _on_paths(model, module, masks, _example(module, batches) if inputs is None else inputs)
    for name, mask in masks.items():
        layer, attribute = module.places[name]
        prune.custom_from_mask(layer, attribute, mask.to(device=module.device))
    return ModulePruning(
        {name: mask.numel() for name, mask in masks.items()},
        {name: int(mask.sum()) for name, mask in masks.items()},
        chosen.kappa,
        chosen.zero_scores,
        chosen.ties_at_threshold,
        scores,
    )


def _on_paths(model: nn.Module, module: ScoredModule, masks: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
    """What of the masks lies on a path; biases, which join nothing, stay. Raises SaoError where nothing does."""
    weights = {name: mask for name, mask in masks.items() if mask.ndim > 1}
    earlier = {name: mask & _before(module, name, mask) for name, mask in weights.items()}
    network = kept_network(model, (x,), {name: mask.cpu().numpy() for name, mask in earlier.items()}, "unit")
    known = {weight.name for weight in network.weights} & set(weights)
    found = {name: torch.from_numpy(network.effective(name)).to(masks[name].device) for name in known}
    if not any(bool(one.any()) for one in found.values()):
        raise SaoError("no kept weight lies on a path from an input to an output; prune less")
    return {name: earlier.get(name, mask) & found.get(name, mask) for name, mask in masks.items()}


def _before(module: ScoredModule, name: str, kept: Tensor) -> Tensor:
    """What a mask that is there already keeps of a weight."""
    layer, attribute = module.places[name]
    mask = layer._buffers.get(f"{attribute}_mask")
    return torch.ones_like(kept) if mask is None else mask.to(kept.device).bool()


def _example(module: ScoredModule, batches: Any) -> Tensor:
    """One input: of the first batch, or ones where the first layer tells their number."""
    for x, _ in paired(batches, module) if batches is not None else ():
        return x[:1]
    layer, _ = next(iter(module.places.values()))
    if isinstance(layer, nn.Linear):
        return module.inputs(torch.ones(1, layer.in_features))
    raise SaoError("effective weights are those of a run on inputs; give inputs=, as in torch.ones(1, 3, 32, 32)")


def _scored(
    model: nn.Module, method: str | Mapping[str, Tensor], sparsity: float, batches: Any, options: dict[str, Any]
) -> Mapping[str, Tensor]:
    if not isinstance(method, str):
        return method
    check("method", method, catalog.SCORES)
    row = catalog.SCORES[method]
    by_rounds = {"sparsity": sparsity} if row.rounds else {}
    found: Scores = load(row.home)(model, batches, **by_rounds, **options)
    return found


def _require_fitting(module: ScoredModule, scores: Mapping[str, Tensor]) -> None:
    """Raise SaoError or FormatError for scores of other weights than the module has."""
    for name, one in scores.items():
        if name not in module.weights:
            known = ", ".join(list(module.weights)[:5])
            raise SaoError(f"scores of {name!r}, and the module has no such weight; it has {known}")
        shape = module.weights[name].shape
        if one.shape not in (shape, shape[:2]):
            raise FormatError(f"the scores of {name} are {tuple(one.shape)}, and the weight is {tuple(shape)}")
        if (
            not hasattr(module.places[name][0], f"{name.rpartition('.')[2]}_orig")
            and name.rpartition(".")[2] not in module.places[name][0]._parameters
        ):
            raise SaoError(f"{name} is parametrised, and torch.nn.utils.prune needs a parameter; remove it first")


def _behind_masks(module: ScoredModule, scores: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The scores, the lowest where a mask has excluded a weight before."""
    found = dict(scores)
    least = min((float(one.min()) for one in scores.values()), default=0.0)
    for name, one in scores.items():
        layer, attribute = module.places[name]
        mask = layer._buffers.get(f"{attribute}_mask")
        if mask is not None and mask.shape == one.shape and bool(one.any()):
            found[name] = torch.where(mask.to(one.device).bool(), one, least - 1)
    return Scores(found, scores.facts) if isinstance(scores, Scores) else found


def _selected(scores: Mapping[str, Tensor], sparsity: float) -> KeptWeights:
    """What stays by the scores; of a method in rounds what it has chosen."""
    arrays = {name: one.detach().to(torch.float64).cpu().numpy() for name, one in scores.items()}
    chosen = scores.facts.masks if isinstance(scores, Scores) else None
    if chosen is not None and isinstance(scores, Scores) and scores.facts.sparsity == sparsity:
        return kept_by_masks(arrays, {name: one.cpu().numpy() for name, one in chosen.items()})
    return select(arrays, sparsity, _sizes(scores))


def _sizes(scores: Mapping[str, Tensor]) -> dict[str, int]:
    if not isinstance(scores, Scores):
        return {}
    return {name: int(np.prod(scores.facts.shapes[name])) // one.numel() for name, one in scores.items()}


def _masks(scores: Mapping[str, Tensor], chosen: KeptWeights) -> dict[str, Tensor]:
    masks = {}
    for name, mask in chosen.masks.items():
        found = torch.from_numpy(mask).to(scores[name].device)
        shape = scores.facts.shapes[name] if isinstance(scores, Scores) else tuple(found.shape)
        masks[name] = found.view(*found.shape, *[1] * (len(shape) - found.ndim)).expand(shape).contiguous()
    return masks
