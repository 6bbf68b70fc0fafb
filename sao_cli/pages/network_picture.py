"""A network as it ran, drawn as SVG: a line a layer in the order run, shortcuts beside them, what lies on a path."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sao_cli.io.output import shown
from sao_cli.pages.text import cell, counted, escaped, shortened
from sao_cli.reports.networks import NetworkEdges, NetworkFacts, NetworkLayer

DRAWN = 80  # lines; of more layers equal ones are one line, and then those in the middle are
LANES = 12  # shortcuts side by side; more lie on each other
HIGH, TOP, OUT, LANE = 22, 34, 8, 8  # of a line; above the first; from a layer to where its value leaves; of a lane
NAME, SHAPE, BAR, NOTE, END = 14, 240, 345, 485, 850  # where columns begin, from the layers' marks on; where they end
BLUE = "#0072b2"
NORMAL, INEFFECTIVE, DEAD = "on a path", "ineffective", "dead"
_LINE = '<path class="{kind}" fill="{fill}" stroke="currentColor" stroke-width="{wide}" d="{d}"/>'
MARKS = {  # shapes, so that no colour is needed to tell them; a page's style has the say of what their attributes do
    NORMAL: '<circle cx="{x}" cy="{y}" r="4"/>',
    INEFFECTIVE: _LINE.format(kind="open", fill="#fff", wide=1.5, d="M{x} {y}m0-6l6 6l-6 6l-6-6z"),
    DEAD: _LINE.format(kind="wire", fill="none", wide=2.5, d="M{x} {y}m-5-5l10 10m-10 0l10-10"),
}
RING = '<circle class="open" cx="{x}" cy="{y}" r="3.5" fill="#fff" stroke="currentColor"/>'
LEGEND = (
    (NORMAL, "has weights on a path from an input to an output"),
    (INEFFECTIVE, "ineffective: none of its weights lies on a path"),
    (DEAD, "dead: no weight is left, or no input of the network reaches it"),
)
JOINED = "here a shortcut joins what the layer gives, by a sum, a product or the like"
BARS = ("weights on a path", "weights left, on no path", "unreached: no input leads there", "lost: no output reads it")


@dataclass(frozen=True)
class _Line:
    """A layer, or several in a row: its `places`, what stands in its columns, and the bar's numbers of weights."""

    places: range
    name: str
    shape: str
    note: str
    state: str = NORMAL
    parameters: int = 0
    nnz: int = 0
    effective: int = 0


def network_picture(network: NetworkFacts, layers: Sequence[NetworkLayer], edges: NetworkEdges) -> str:
    """The SVG of a network's `layers`, which `edges` join: it needs no style, script or id of the page it is on.

    Names are escaped. O(layers + edges); some 1 kB a line, of which there are at most 80 and two more.
    """
    lines = _lines(network, layers, edges)
    row = {place: number for number, line in enumerate(lines) for place in line.places}
    reads = {(row[u], row[v]) for u, v in edges.reads}
    joins = {(row[u], row[v]) for u, v in edges.joins if row[u] != row[v]}
    lanes = _lanes(reads, joins)
    spine = 24 + LANE * min(LANES, max(lanes.values(), default=-1) + 1)
    scale = _scale(lines)
    height = TOP + HIGH * len(lines) + 14 + 20 * (len(LEGEND) + 1)
    told = f"{counted(len(layers), 'layer')} in the order run, and what joins them"
    return (
        f'<svg class="network" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {spine + END} {height}" role="img" '
        f'aria-label="{told}" fill="currentColor" font-size="12" font-family="system-ui, sans-serif">'
        f"<title>{told}</title>{_heads(spine, scale)}{_wires(reads, joins, lanes, spine)}"
        f"{''.join(_drawn(line, number, spine, scale) for number, line in enumerate(lines))}"
        f"{_legend(spine, TOP + HIGH * len(lines) + 14)}</svg>"
    )


def _lines(network: NetworkFacts, layers: Sequence[NetworkLayer], edges: NetworkEdges) -> list[_Line]:
    loops = {u for u, v in edges.reads if u == v}
    return [
        _end(0, "inputs", escaped(network.example), network.inputs, network.lost_inputs, "lost"),
        *(_line(layers, places, loops) for places in _groups(layers, edges)),
        _end(len(layers) + 1, "outputs", "", network.outputs, network.unreached_outputs, "unreached"),
    ]


def _end(place: int, name: str, shape: str, units: int, cut_off: int, what: str) -> _Line:
    note = f"{cut_off:,} of {counted(units, 'unit')} {what}" if cut_off else ""
    return _Line(range(place, place + 1), name, shape, note, DEAD if cut_off == units else NORMAL)


def _groups(layers: Sequence[NetworkLayer], edges: NetworkEdges) -> list[range]:
    """The places of each line: one, but where there are too many some of equal layers, and all those in the middle."""
    groups = [range(place, place + 1) for place in range(1, len(layers) + 1)]
    if len(groups) <= DRAWN:
        return groups
    met = {place for u, v in edges.reads if v != u + 1 for place in (u, v)} | {
        one for two in edges.joins for one in two
    }
    kinds = [(layer.shape, _state(layer), place in met and place) for place, layer in enumerate(layers, 1)]
    groups, most = [], -(-len(layers) // (DRAWN // 2))
    for place, kind in enumerate(kinds, 1):
        if groups and len(groups[-1]) < most and kinds[groups[-1].start - 1] == kind:
            groups[-1] = range(groups[-1].start, place + 1)
        else:
            groups.append(range(place, place + 1))
    if len(groups) > DRAWN:
        half = DRAWN // 2
        groups = [*groups[:half], range(groups[half].start, groups[-half].start), *groups[-half:]]
    return groups


def _line(layers: Sequence[NetworkLayer], places: range, loops: set[int]) -> _Line:
    some = [layers[place - 1] for place in places]
    first, last, alone = some[0], some[-1], len(some) == 1
    states = {_state(layer) for layer in some}
    sums = [sum(getattr(layer, key) for layer in some) for key in ("parameters", "nnz", "effective")]
    name = _short(first.name, 34) if alone else f"{_short(first.name, 15)} … {_short(last.name, 15)}"
    shape = cell(first.shape) if alone else counted(len(some), "layer")
    note = _note(some, sums) + ("; reads itself" if loops.intersection(places) else "")
    return _Line(places, name, shape, note, states.pop() if len(states) == 1 else NORMAL, *sums)


def _short(name: str, width: int) -> str:
    return escaped(shortened(shown(name), width))


def _state(layer: NetworkLayer) -> str:
    if not layer.nnz or layer.unreached_outputs == layer.outputs:
        return DEAD
    return NORMAL if layer.effective else INEFFECTIVE


def _note(some: Sequence[NetworkLayer], sums: Sequence[int]) -> str:
    """How many of the weights that are left lie on a path, and how many of the units written are cut off."""
    states = [_state(layer) for layer in some]
    marked = ", ".join(
        state if len(some) == 1 else f"{states.count(state):,} {state}"
        for state in (DEAD, INEFFECTIVE)
        if state in states
    )
    units = ", ".join(
        f"{count:,} {what}"
        for key, what in (("unreached_outputs", "unreached"), ("lost_outputs", "lost"))
        if (count := sum(getattr(layer, key) for layer in some))
    )
    return f"{marked + ': ' if marked else ''}{sums[2]:,} of {sums[1]:,}{'; ' + units if units else ''}"


def _scale(lines: Sequence[_Line]) -> float:
    """The share of weights that a whole bar stands for: 1, or where few are left the next of 0.5, 0.2, 0.1, ..."""
    most = max((line.nnz / line.parameters for line in lines if line.parameters), default=1.0)
    tens = 10.0 ** math.floor(math.log10(most)) if most else 1.0
    return min(1.0, next(step * tens for step in (1, 2, 5, 10) if step * tens >= most * (1 - 1e-9)))


def _lanes(reads: set[tuple[int, int]], joins: set[tuple[int, int]]) -> dict[int, int]:
    """The lane of what leaves each line for others than the next, counted from the layers on: short ways are inside."""
    ends: dict[int, list[int]] = defaultdict(list)
    for u, v in [*(two for two in reads if two[1] not in (two[0], two[0] + 1)), *joins]:
        ends[u].append(v)
    spans = {u: (min(u, *to), max(u, *to)) for u, to in ends.items()}
    taken: list[list[tuple[int, int]]] = []
    lanes = {}
    for u, (low, high) in sorted(spans.items(), key=lambda one: (one[1][1] - one[1][0], one[0])):
        free = (k for k, lane in enumerate(taken) if all(high < start or stop < low for start, stop in lane))
        lanes[u] = next(free, len(taken))
        if lanes[u] == len(taken):
            taken.append([])
        taken[lanes[u]].append((low, high))
    return {u: min(lane, LANES - 1) for u, lane in lanes.items()}


def _at(number: int) -> int:
    """How far down the layer of a line is."""
    return TOP + HIGH * number + HIGH // 2


def _wires(reads: set[tuple[int, int]], joins: set[tuple[int, int]], lanes: dict[int, int], spine: int) -> str:
    """What joins the lines: straight on to the next, and by a lane to others; rings where values are joined."""
    straight = "".join(f"M{spine} {_at(u)}V{_at(v)}" for u, v in sorted(reads) if v == u + 1)
    stubs = "".join(f"M{spine} {_at(u)}v{OUT}" for u in sorted({*lanes, *(v for _, v in joins)}))
    ways, heads = [], []
    for u, lane in sorted(lanes.items()):
        to_layers = sorted(v for start, v in reads if start == u and v not in (u, u + 1))
        ways.append(_way(u, [*map(_at, to_layers), *(_at(v) + OUT for start, v in joins if start == u)], lane, spine))
        heads += [f"M{spine - 6} {_at(v)}l-7-4v8z" for v in to_layers]
    rings = "".join(RING.format(x=spine, y=_at(v) + OUT) for v in sorted({v for _, v in joins}))
    return f'{_stroke("wire", straight + stubs + "".join(ways), 1.2)}<path d="{"".join(heads)}"/>{rings}'


def _stroke(kind: str, d: str, wide: float = 1) -> str:
    return _LINE.format(kind=kind, fill="none", wide=wide, d=d)


def _way(u: int, ends: Sequence[int], lane: int, spine: int) -> str:
    """From where a layer's value leaves, along its lane, to the farthest end on each side, with taps on the way."""
    x, start = spine - 20 - LANE * lane, _at(u) + OUT
    parts, far = [], {min([start, *ends]), max([start, *ends])} - {start}
    for end in sorted(far):
        turn = 5 if end > start else -5
        parts.append(f"M{spine} {start}H{x + 5}q-5 0-5 {turn}V{end - turn}q0 {turn} 5 {turn}H{spine - 6}")
    return "".join(parts) + "".join(f"M{x} {end}H{spine - 6}" for end in sorted(set(ends) - far))


def _heads(spine: int, scale: float) -> str:
    wide = NOTE - BAR - 15
    words = ((NAME, "layer"), (SHAPE, "shape"), (NOTE, "on a path, of those left; its outputs"), (BAR, "0"))
    told = "".join(_text(spine + x, 18, text) for x, text in words)
    told += _text(spine + BAR + wide, 18, f"{100 * scale:g} % of weights", ' class="quiet" text-anchor="end"')
    return told + _stroke("axis", f"M{spine + BAR} 30v-5h{wide}v5")


def _drawn(line: _Line, number: int, spine: int, scale: float) -> str:
    y = _at(number)
    bold = ' class="quiet"' if line.state == NORMAL else ' font-weight="600"'
    words = ((NAME, line.name, ""), (SHAPE, line.shape, ' class="quiet"'), (NOTE, line.note, bold))
    told = "".join(_text(spine + x, y + 4, text, more) for x, text, more in words if text)
    return f"{MARKS[line.state].format(x=spine, y=y)}{told}{_bar(line, spine + BAR, y, scale)}\n"


def _bar(line: _Line, x: int, y: int, scale: float) -> str:
    """The share of weights on a path, filled, and of those that are left in vain, hatched, in a frame for all."""
    if not line.parameters:
        return ""
    wide = NOTE - BAR - 15
    on, left = (wide * count / line.parameters / scale for count in (line.effective, line.nnz))
    frame = _stroke("grid", _box(x, min(wide, wide / scale), y), 0.3)
    filled = f'<path class="bar" fill="{BLUE}" d="{_box(x, on, y)}"/>' if on else ""
    strokes = "".join(f"M{x + on + k:.1f} {y + 6}l4-12" for k in range(0, max(int(left - on) - 3, 0), 4))
    return frame + filled + (_stroke("axis", _box(x + on, left - on, y) + strokes, 0.8) if left > on else "")


def _box(x: float, wide: float, y: int) -> str:
    return f"M{x:.1f} {y - 6}h{wide:.1f}v12h-{wide:.1f}z"


def _legend(spine: int, y: int) -> str:
    marks = "".join(MARKS[state].format(x=spine, y=y + 20 * k) for k, (state, _) in enumerate(LEGEND))
    ring = RING.format(x=spine, y=y + 20 * len(LEGEND))
    bars = "".join(
        _bar(_Line(range(0), "", "", "", NORMAL, 1, 1, on), spine + NOTE - 45, y + 20 * k, 4.0)
        for k, on in enumerate((1, 0))
    )
    words = [(NAME, [*(text for _, text in LEGEND), JOINED]), (NOTE, BARS)]
    told = "".join(_text(spine + x, y + 20 * k + 4, text) for x, texts in words for k, text in enumerate(texts))
    return f"{marks}{ring}{bars}{told}"


def _text(x: int, y: int, text: str, more: str = ' class="quiet"') -> str:
    return f'<text{more} x="{x}" y="{y}">{text}</text>'
