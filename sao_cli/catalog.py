"""Every name of a mask or weight method, once: its line of help, its home and its traits.

Strings only: a construction is imported when its name is asked for, so that to know the names costs nothing.
"""

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from sao_cli.base.errors import SaoError, unknown_name


class Method(NamedTuple):
    """One name that --method takes; `mask` and `weight` are homes, "module:function" under sao_cli, or empty."""

    name: str
    line: str  # what it is, for help
    mask: str = ""  # what builds its mask
    weight: str = ""  # what builds its weights, where they don't go on a mask that is there before
    on: str = ""  # the method whose mask its values go on
    values: str = ""  # these values, unless others are chosen
    takes: tuple[str, ...] = ()  # the options of its construction besides seed and layer
    any_values: bool = False  # other values may be chosen
    keeps: bool = False  # keeps a number of weights, whichever rows they are in
    full: bool = False  # is all ones, whatever degree is asked for
    varied: bool = False  # has columns that do not all have as many ones
    whole_stack: bool = False  # its home builds all layers at once
    drawn: bool = False  # how much a layer keeps depends on the weights that are drawn


def _on_mask(name: str, line: str, mask: str, values: str, *takes: str, **traits: bool) -> Method:
    return Method(name, line, mask, "", name, values, takes, any_values=True, **traits)


_ROWS = (
    _on_mask(
        "sao",
        "K disjoint complete bipartite graphs: exactly orthogonalisable (the default)",
        "masks.sao:sao_mask",
        "orthogonal",
        "arrangement",
    ),
    Method("rg-n", "an SAO mask; its weights are normal", on="sao", values="normal"),
    Method("rg-u", "an SAO mask; its weights are uniform", on="sao", values="uniform"),
    Method("rg-s", "an SAO mask; its weights are a dense orthogonal layer's", on="sao", values="masked orthogonal"),
    _on_mask(
        "ramanujan",
        "random lifts of K_{c,d}, drawn until one is certified: connected",
        "masks.ramanujan:ramanujan_mask",
        "normal",
        "progress",
    ),
    _on_mask(
        "biregular",
        "a uniformly random simple (c, d)-biregular graph",
        "masks.biregular:biregular_mask",
        "normal",
        "progress",
    ),
    _on_mask("xnet", "every output reads d random inputs", "masks.xnet:xnet_mask", "normal", varied=True),
    _on_mask("radix", "RadiX-Net's mixed-radix topology", "masks.radix:radix_stack", "normal", whole_stack=True),
    _on_mask(
        "two-stage",
        "a product of two SAO stages: connected, exactly orthogonalisable",
        "masks.two_stage:two_stage_mask",
        "orthogonal",
        "progress",
    ),
    Method(
        "eoi",
        "where a product of random Givens rotations is not zero",
        weight="weights.givens:eoi_weight",
        takes=("sparsity", "progress"),
        keeps=True,
        drawn=True,
    ),
    Method(
        "dense", "all ones", weight="weights.orthogonal:dense_weight", takes=("values",), any_values=True, full=True
    ),
    Method("lmp", "the largest weights of each dense orthogonal layer", weight="weights.pruned:lmp_weight", keeps=True),
    Method(
        "gmp",
        "the largest weights of all dense orthogonal layers together",
        weight="weights.pruned:gmp_stack",
        keeps=True,
        whole_stack=True,
        drawn=True,
    ),
    Method("lrp", "uniformly random positions", "masks.lrp:lrp_mask", "weights.pruned:lrp_weight", keeps=True),
)
METHODS = {row.name: row for row in _ROWS}  # all that build weights; of masks alone, those that have a `mask`
MASK_METHODS = {name: row for name, row in METHODS.items() if row.mask}


class Pruning(NamedTuple):
    """One way to choose the weights that stay: the largest of a `score`, or the places of a `mask`.

    Both are homes of what takes a weight (m, n, ...) and gives (m, n), the mask also of how many units are to stay.
    Scores that are compared `together` are not negative.
    """

    name: str
    line: str
    score: str = ""
    mask: str = ""
    takes: tuple[str, ...] = ()  # the options of `mask` besides seed and layer
    together: bool = False  # scores of all weights are compared
    by_degree: bool = False  # `mask` takes the row degree of an SAO mask


_MAGNITUDE = "pruning.scores.magnitude:unit_magnitudes"
PRUNING = {
    row.name: row
    for row in (
        Pruning("lmp", "the largest magnitudes of each weight (the default)", _MAGNITUDE),
        Pruning("gmp", "the largest magnitudes of all weights together", _MAGNITUDE, together=True),
        Pruning("lrp", "random places", mask="pruning.scores.random_places:random_places"),
        Pruning(
            "sao",
            "the SAO mask that keeps most of the squared norm, of the nearest feasible degree",
            mask="pruning.scores.nearest_sao:nearest_sao_mask",
            takes=("groups", "progress"),
            by_degree=True,
        ),
    )
}


def check(kind: str, name: str, known: Collection[str]) -> None:
    """Raise SaoError, with the nearest name, where `name` is none of `known`; `kind` says what it should be."""
    if name not in known:
        raise SaoError(unknown_name(f"unknown {kind}", name, known))


def load(home: str) -> Callable[..., Any]:
    """The function of a home, "module:function", imported now."""
    module, _, function = home.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"sao_cli.{module}"), function)
    return found


def lines(rows: Mapping[str, Method | Pruning]) -> str:
    """The names, each with its line of help: a paragraph for --help."""
    width = max(map(len, rows))
    return "\n".join(f"  {name:<{width}}  {row.line}" for name, row in rows.items())
