"""The picture of a network on an audit's page: whole in itself, small, and what it draws is what the network is."""

import itertools
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
import torch
from torch import nn

from sao_cli import audit_model
from sao_cli.pages.context_table import network_section
from sao_cli.pages.network_picture import BAR, DRAWN, HIGH, NAME, NOTE, OUT, TOP, network_picture
from sao_cli.reports.networks import NetworkEdges, NetworkFacts, NetworkLayer

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch's own forward mode uses it
SVG = "{http://www.w3.org/2000/svg}"


def layer(name="w", nnz=8, effective=8, lost=0, unreached=0, shape=(4, 4)):
    return NetworkLayer(
        name=name,
        shape=shape,
        inputs=4,
        outputs=4,
        parameters=16,
        nnz=nnz,
        effective=effective,
        effective_sparsity=1 - effective / 16,
        unreached_inputs=0,
        unreached_outputs=unreached,
        lost_inputs=0,
        lost_outputs=lost,
    )


FACTS = NetworkFacts(
    inputs=4,
    outputs=4,
    lost_inputs=1,
    unreached_outputs=0,
    reachable=0.5,
    effective_sparsity=0.5,
    collapsed=(),
    unknown=(),
    discrete=(),
    norms="unit",
    example="1x4",
)


def stack(count):
    return NetworkEdges(tuple((place, place + 1) for place in range(count + 1)), ())


def drawn(layers, edges=None):
    picture = network_picture(FACTS, layers, edges or stack(len(layers)))
    return ElementTree.fromstring(picture), picture


def texts(root):
    return ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]


def line(y):
    """The number of the line at a height, the inputs' being 0, and how far below its middle."""
    number, rest = divmod(y - TOP, HIGH)
    return number, rest - HIGH // 2


def test_marks_say_what_is_dead_and_what_ineffective():
    layers = [layer("a"), layer("b", effective=0, lost=4), layer("c", nnz=0, effective=0), layer("d", unreached=4)]
    root, picture = drawn(layers)
    said = texts(root)
    assert [text for text in said if text in "abcd"] == ["a", "b", "c", "d"]
    assert "8 of 8" in said
    assert "ineffective: 0 of 8; 4 lost" in said
    assert "dead: 0 of 0" in said
    assert "dead: 8 of 8; 4 unreached" in said
    assert "1 of 4 units lost" in said
    assert picture.count("m0-6l6 6l-6 6l-6-6z") == 1 + 1  # of the layer and of the legend
    assert picture.count("m-5-5l10 10m-10 0l10-10") == 2 + 1


def test_bars_are_shares_of_weights():
    root, picture = drawn([layer(nnz=8, effective=2), layer(nnz=4, effective=4), layer(nnz=1, effective=0)])
    assert "50 % of weights" in texts(root)  # a whole bar: the largest share that is left is 8 of 16
    wide = NOTE - BAR - 15
    bars = [
        float(one.get("d").split("h")[1].split("v")[0]) for one in root.iter(f"{SVG}path") if one.get("class") == "bar"
    ]
    assert bars[:2] == pytest.approx([wide * 2 / 8, wide * 4 / 8], abs=0.06)
    assert len(bars) == 2 + 1
    left = re.findall(r'class="axis"[^>]*d="M[\d.]+ \d+h([\d.]+)v12', picture)
    assert [float(one) for one in left[:2]] == pytest.approx([wide * 6 / 8, wide * 1 / 8], abs=0.06)


def ends(root):
    """What the wires join, read from the picture: (from, to) straight on and by lanes, to layers and to rings."""
    wires = next(one for one in root.iter(f"{SVG}path") if one.get("class") == "wire").get("d")
    rings = {line(int(one.get("cy"))) for one in root.iter(f"{SVG}circle") if one.get("r") == "3.5"}
    straight = {(line(int(a))[0], line(int(b))[0]) for a, b in re.findall(r"M\d+ (\d+)V(\d+)", wires)}
    return straight, rings, re.findall(r"M(\d+) (\d+)H(\d+)q[^V]*V(\d+)q0 (-?5) ", wires)


def test_shortcuts_go_from_what_gives_to_what_reads():
    edges = NetworkEdges(((0, 1), (0, 3), (1, 2), (3, 4), (4, 5), (5, 2)), ((1, 4), (2, 3)))
    root, _ = drawn([layer(name) for name in "abcd"], edges)
    straight, rings, ways = ends(root)
    assert straight == {(0, 1), (1, 2), (3, 4), (4, 5)}
    assert {(3, OUT), (4, OUT)} < rings
    found = {(line(int(start)), line(int(stop) + int(turn))) for _, start, _, stop, turn in ways}
    assert found == {((0, OUT), (3, 0)), ((1, OUT), (4, OUT)), ((2, OUT), (3, OUT)), ((5, OUT), (2, 0))}
    heads = next(one.get("d") for one in root.iter(f"{SVG}path") if one.get("class") is None)
    assert {line(int(y)) for y in re.findall(r"M\d+ (\d+)l", heads)} == {(3, 0), (2, 0)}
    spans, lanes = sorted((int(start), int(stop)) for _, start, _, stop, _ in ways), {}
    for _, start, x, stop, _ in ways:
        lanes.setdefault(x, []).append(sorted((int(start), int(stop))))
    assert len(spans) == 4
    assert all(one[1] < two[0] for lane in map(sorted, lanes.values()) for one, two in itertools.pairwise(lane))


def test_a_layer_that_reads_itself_says_so():
    root, _ = drawn([layer("a"), layer("b")], NetworkEdges(((0, 1), (1, 2), (2, 2), (2, 3)), ()))
    assert [text for text in texts(root) if text.endswith("reads itself")] == ["8 of 8; reads itself"]


def test_a_thousand_layers_stay_small_and_all_are_counted():
    layers = [layer(f"net.{k}.weight", nnz=0 if k == 700 else 8, effective=0 if k == 700 else 8) for k in range(1000)]
    root, picture = drawn(layers)
    assert len(picture) < 40_000
    said = texts(root)
    told = [int(text.split()[0].replace(",", "")) for text in said if re.fullmatch(r"[\d,]+ layers", text)]
    alone = [text for text in said if re.fullmatch(r"net\.\d+\.weight", text)]
    assert sum(told) + len(alone) == 1000
    assert "net.700.weight" in alone
    assert "dead: 0 of 0" in said


def test_of_a_long_network_with_shortcuts_the_middle_is_one_line():
    count = 400
    edges = NetworkEdges(stack(count).reads, tuple((k, k + 2) for k in range(2, count - 2, 2)))
    root, picture = drawn([layer(f"block.{k}.conv.weight", shape=(16, 16, 3, 3)) for k in range(count)], edges)
    said = texts(root)
    told = [int(text.split()[0]) for text in said if re.fullmatch(r"\d+ layers", text)]
    alone = [text for text in said if re.fullmatch(r"block\.\d+\.conv\.weight", text)]
    assert sum(told) + len(alone) == count
    assert len(told) + len(alone) == DRAWN + 1
    assert len(picture) < 100_000


def test_the_picture_needs_nothing_and_names_are_text():
    evil = "</svg><script>alert(1)</script>"
    root, picture = drawn([layer(evil), layer("\x1b[31m")])
    assert not re.search(r"url\(|style=|href|<script|\sid=|\son\w+=", picture)
    assert {one.tag.removeprefix(SVG) for one in root.iter()} == {"svg", "title", "text", "path", "circle"}
    assert evil in texts(root)
    assert picture.isprintable() or "\x1b" not in picture


def test_long_names_stay_in_their_column():
    root, _ = drawn([layer(f"encoder.layers.{k}.attention.self.query.weight") for k in range(200)])
    for one in root.iter(f"{SVG}text"):
        if int(one.get("x")) % 1000 == NAME + 24:
            assert len(one.text) <= 78


def test_a_notebook_shows_the_page_s_section():
    module = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    found = audit_model(module, torch.ones(1, 3))
    shown = found._repr_html_()
    assert shown == network_section(found.network, found.recorded.layers, found.recorded.edges)
    assert shown.count("<svg") == 1
    assert "<td>0.weight</td>" in shown
    unknown = replace(found.network, unknown=("matrix_exp",))
    assert "upper bounds: matrix_exp." in network_section(unknown, found.recorded.layers, found.recorded.edges)
