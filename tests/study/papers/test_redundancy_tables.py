"""Tables 1 and 2 of rank redundancy, trained: a number a seed, p-values of all of them, and the paper's scale."""

import pytest
from scipy import stats

from sao_cli import paper_entries
from sao_cli.nets import rare_ablation, rare_strengths
from sao_cli.study.papers import redundancy_tables
from sao_cli.study.papers.cells import Asked
from sao_cli.study.papers.redundancy_tables import KINDS, ablation, accuracies, fused, saved_by_the_loss, trained

TINY = {"widths": (8, 8), "epochs": 2, "dropout": 0.0, "data": "digits"}


@pytest.fixture
def tiny(monkeypatch):
    """An epoch of five layers of 8, and one strength of the loss."""
    monkeypatch.setitem(redundancy_tables.EPOCHS, "digits", 1)
    monkeypatch.setattr(redundancy_tables, "SAVED", {20.0: "30.65"})
    monkeypatch.setattr(redundancy_tables, "SMALL", 8)


def test_what_is_trained_is_the_experiment_s():
    told = {"widths": (8, 8), "epochs": 2, "seeds": (5,)}
    runs = {one.name: one for one in rare_ablation(**told)}
    found = accuracies(TINY, None, seed=5)
    assert found == {kind: runs[kind].accuracy()[0] for kind, _, _ in KINDS.values()}
    one = trained(TINY, None, "+DLRA", seed=5)
    assert (one["accuracy"], one["saved"]) == (runs["+DLRA"].accuracy()[0], runs["+DLRA"].compression[0])
    assert [one[f"layer {k}: inputs"] for k in (1, 2, 3)] == [n for _, n in runs["+DLRA"].cores[0]]
    assert [one[f"layer {k}: outputs"] for k in (1, 2, 3)] == [m for m, _ in runs["+DLRA"].cores[0]]
    saved = {one.name: one.compression[0] for one in rare_strengths((0.0, 20.0), **told)}
    both = saved_by_the_loss(TINY, None, seed=5)
    assert (both["with"], both["without"]) == (saved["lambda_1 = 20"], saved["lambda_1 = 0"])
    assert both["more"] == (both["with"] > both["without"])
    assert fused(TINY, None, 20.0, seed=5)["saved"] == both["with"]


def test_a_p_value_is_of_all_seeds_together():
    pooled = {cell.label: cell.pooled for part in ablation(Asked()) for cell in part.cells if cell.pooled}
    results = [
        {"baseline": 90.0, "+FN": 91.0, "+DLRA": 95.0},
        {"baseline": 91.0, "+FN": 90.0, "+DLRA": 97.0},
        {"baseline": 92.0, "+FN": 94.0, "+DLRA": 96.5},
    ]
    for (named, (kind, _, _)), pool in zip(list(KINDS.items())[1:], pooled.values(), strict=True):
        t, two_sided = stats.ttest_ind([one[kind] for one in results], [one["baseline"] for one in results])
        assert t > 0, named
        assert pool(results) == pytest.approx(two_sided / 2)


def test_an_ablation_of_digits_is_told_as_one(tiny):
    entries = {entry.label: entry for entry in paper_entries("rare/ablation", seeds=2)}
    assert {entry.verdict for entry in entries.values()} == {"not reproduced"}
    p_value = entries["with DLRA, lambda 20: p-value against the baseline"]
    assert (p_value.seeds, p_value.low, p_value.high) == (2, p_value.here, p_value.here)
    assert 0 <= p_value.here <= 1
    assert p_value.reason == "other data: digits; other scale: hidden layers of 8, no drop-out, 1 of 2000 epochs"


def test_a_p_value_of_one_seed_is_not_run():
    first, *others = ablation(Asked(seeds=1))
    assert [cell.pooled is not None for cell in first.cells] == [True, True]
    assert "two seeds" in first.missing
    assert [part.missing for part in others] == [None] * 5


def test_the_sizes_of_table_2_are_those_of_five_hidden_layers(tiny):
    found = [entry for entry in paper_entries("rare/table2", seeds=1) if entry.label.startswith("layer")]
    assert [entry.label for entry in found][:4] == [
        "layer 2: inputs",
        "layer 2: outputs",
        "layer 2: features",
        "layer 3: inputs",
    ]
    assert all(0 < entry.here <= 10 for entry in found)


def test_the_paper_s_scale_is_the_paper_s():
    for part in ablation(Asked(full=True, folder="there")):
        assert part.scale is None
        assert part.data == part.own_data == "fashion-mnist"
        assert part.keywords["training"] == {
            "widths": (500,) * 5,
            "epochs": 2000,
            "dropout": 0.2,
            "data": "fashion-mnist",
        }
        assert part.seeds == 20
