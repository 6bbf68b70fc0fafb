"""Items of papers: all run, or say what is missing; what is exact is what the paper prints, or refuted."""

import inspect

import pytest

from sao_cli import SaoError, paper_entries, paper_items
from sao_cli.base.names import load
from sao_cli.study.papers.cells import CLAIM, EXACT, LAW, Asked
from sao_cli.study.papers.paper_items import ITEMS, PAPERS, items_of
from sao_cli.study.papers.paper_verdicts import is_within

QUICK = ("sao/table1", "sao/table2", "sao/table3", "sao/table4", "sao/table5")


def parts_of(item, **asked):
    return list(load(ITEMS[item].home)(Asked(**asked)))


@pytest.mark.parametrize("item", ITEMS)
@pytest.mark.parametrize("full", [False, True])
def test_the_cells_of_an_item_are_sound(item, full):
    parts = parts_of(item, full=full)
    labels = [cell.label for part in parts for cell in part.cells]
    assert len(labels) == len(set(labels)) > 0
    for part in parts:
        assert part.missing or part.function
        assert not (part.seeds and any(cell.kind == EXACT for cell in part.cells))
        assert not part.missing or not part.function
        for cell in part.cells:
            assert (cell.unit == "holds") == (cell.kind == CLAIM), cell.label
        if part.function:
            module, _, name = part.function.partition(":")
            takes = inspect.signature(load(f"{module.removeprefix('sao_cli.')}:{name}")).parameters
            assert set(part.keywords) | ({"seed"} if part.seeds else set()) == set(takes), part.function


def test_items_are_listed_with_what_they_need():
    assert [row.item for row in paper_items()] == list(ITEMS)
    assert {item.partition("/")[0] for item in ITEMS} <= set(PAPERS)
    assert items_of(("all",)) == list(ITEMS)


@pytest.mark.parametrize("item", QUICK)
def test_exact_numbers_are_computed(item):
    cells = {cell.label: cell for part in parts_of(item) for cell in part.cells}
    for entry in paper_entries(item):
        assert entry.low == entry.high == entry.here
        assert entry.seeds == 0
        told = is_within(cells[entry.label].paper, [entry.here])
        assert entry.verdict == ("reproduced" if told else "refuted")


def test_the_block_for_relu_is_no_isometry():
    found = {entry.label: entry for entry in paper_entries("sao/table5")}
    assert [entry.verdict for entry in found.values()] == ["reproduced"] * 3 + ["refuted"] * 2
    assert found["Eq. 5, for ReLU: largest singular value"].here == pytest.approx(2)


def test_table_6_has_an_entry_a_cell_whose_verdict_is_the_spread_s():
    found = paper_entries("sao/table6", seeds=2)
    assert len(found) == 16
    cells = {cell.label: cell for part in parts_of("sao/table6") for cell in part.cells}
    for entry in found:
        inside = is_within(cells[entry.label].paper, [entry.low, entry.high])
        assert (entry.verdict == "reproduced") is inside
    assert {entry.verdict for entry in found if entry.label.startswith("linear")} == {"reproduced"}


def test_the_paper_s_eigenvalues_and_its_depth_of_reach_are_refuted_with_evidence():
    standard = [entry for entry in paper_entries("sao/fig7", seeds=1) if entry.unit == "holds"]
    assert [entry.verdict for entry in standard] == ["refuted"] * 4
    assert "counted with multiplicity" in standard[0].label
    assert "32 components" in standard[0].reason
    depth, pruned = paper_entries("sao/fig8", seeds=2)
    assert (depth.verdict, pruned.verdict) == ("refuted", "reproduced")
    assert depth.low >= 6


def test_null_singular_values_are_pruning_s_and_the_activation_s():
    found = {entry.label.partition(":")[0]: entry.verdict for entry in paper_entries("sao/fig9", seeds=1)}
    assert {key for key, verdict in found.items() if verdict == "refuted"} == {"RG, linear", "RG, tanh", "RG, silu"}
    assert {entry.verdict for entry in paper_entries("sao/fig10", seeds=6)} == {"reproduced"}


def test_the_same_seed_gives_the_same_entries():
    assert paper_entries("sao/fig8", seeds=1, seed=5) == paper_entries("sao/fig8", seeds=1, seed=5)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("sao/tabel6",), "did you mean 'sao/table6'"),
        (("sao/table6", {"seeds": 0}), "seeds 0"),
        (("sao/table6", {"data": "mnist"}), "is of no data"),
        (("sao/table6", {"depths": [50]}), "no depths"),
    ],
)
def test_what_an_item_does_not_take_is_refused(asked, said):
    item, *options = asked
    with pytest.raises(SaoError, match=said):
        paper_entries(item, **(options[0] if options else {}))


def test_laws_are_of_seeds():
    kinds = {cell.kind for item in ITEMS for part in parts_of(item) for cell in part.cells if part.seeds}
    assert LAW in kinds
