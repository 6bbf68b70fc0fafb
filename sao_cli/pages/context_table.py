"""A network as it ran, as a part of a page: its facts, its picture, and a line for each weight in the order run."""

from __future__ import annotations

from collections.abc import Sequence

from sao_cli.pages.network_picture import network_picture
from sao_cli.pages.text import cell, escaped, name_of
from sao_cli.reports.networks import NetworkEdges, NetworkFacts, NetworkLayer
from sao_cli.reports.report import facts_of

APART = ("collapsed", "unknown", "discrete", "norms", "example")  # of the facts, what stands elsewhere
BOUNDS = "Nothing is known of some operations that ran, and these facts are upper bounds: "


def network_section(network: NetworkFacts, layers: Sequence[NetworkLayer], edges: NetworkEdges) -> str:
    """The network's facts, its picture and a line for each of its `layers`, escaped; collapsed weights are marked."""
    facts = [key for key in facts_of(NetworkFacts) if key not in APART]
    told = "".join(
        f"<div><dt>{key.replace('_', ' ')}</dt><dd>{cell(getattr(network, key))}</dd></div>" for key in facts
    )
    run = f"<p>As it ran on an input of {escaped(network.example)}; norms: {network.norms}.</p>"
    bounds = f"<p>{BOUNDS}{escaped(', '.join(network.unknown))}.</p>" if network.unknown else ""
    keys = NetworkLayer.table[1:]  # after the name
    heads = "".join(f'<th scope="col">{key.replace("_", " ")}</th>' for key in ("weight", *keys))
    lines = "".join(_line(layer, keys) for layer in layers)
    return (
        f'<section id="network"><h2>Network</h2>{run}{bounds}<dl class="cards">{told}</dl>'
        f'<div class="wide" tabindex="0" role="region" aria-label="Picture of the network">'
        f"{network_picture(network, layers, edges)}</div>"
        '<div class="wide" tabindex="0" role="region" aria-label="Table of weights in the order run">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n{lines}</tbody></table></div></section>"
    )


def _line(layer: NetworkLayer, keys: Sequence[str]) -> str:
    collapsed = "" if layer.effective else " (collapsed)"
    cells = "".join(f"<td>{cell(getattr(layer, key))}</td>" for key in keys)
    return f"<tr><td>{name_of(layer.name)}{collapsed}</td>{cells}</tr>\n"
