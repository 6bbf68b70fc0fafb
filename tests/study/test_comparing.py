"""Groups of runs side by side: which runs are one group, which rows count, and what is refused."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from sao_cli import SaoError, compare, write_checkpoint
from sao_cli.study.run_rows import holds_rows, read_runs


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def epochs(accuracies, **told):
    return [{"record": "epoch", "epoch": number, "test_accuracy": one, **told} for number, one in enumerate(accuracies)]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def trained(here, name, seed, accuracies, **settings):
    """A folder as `sao train` keeps it, without its networks."""
    write(here / name / "metrics.jsonl", epochs(accuracies))
    (here / name / "settings.json").write_text(json.dumps({"settings": {"seed": seed, **settings}}))


def fields(found, field="test_accuracy"):
    return [row for row in found.rows if row.field == field]


def test_folders_that_differ_in_seeds_alone_are_one_group(here):
    last = {"sao": [0.8, 0.85, 0.9], "snip": [0.5, 0.7, 0.65]}
    for method, ends in last.items():
        for seed, end in enumerate(ends):
            trained(here, f"runs/{method}-{seed}", seed, [0.1, end], method=method, depth=3)
    for sources in (["runs"], [f"runs/{method}-{seed}" for method in last for seed in range(3)]):
        before, after = fields(compare(*sources))
        assert (before.over, after.over) == ({"method": "sao"}, {"method": "snip"})
        assert (before.count, after.count) == (3, 3)
        assert after.mean == pytest.approx(np.mean(last["snip"]))
        assert after.difference == pytest.approx(np.mean(last["snip"]) - np.mean(last["sao"]))
        assert after.pvalue == pytest.approx(stats.ttest_ind(last["snip"], last["sao"], equal_var=False).pvalue)
        assert after.pvalue_rank == pytest.approx(stats.mannwhitneyu(last["snip"], last["sao"]).pvalue)
        assert after.difference_low < after.difference < after.difference_high
        assert before.pvalue is None
    assert after.source == "runs/snip-0 and 2 more"


def test_runs_that_differ_in_seeds_alone_are_compared_one_by_one(here):
    trained(here, "a", 0, [0.1, 0.8])
    trained(here, "b", 1, [0.1, 0.7])
    before, after = fields(compare("a", "b"))
    assert (before.source, after.source, after.against) == ("a", "b", "a")
    assert (after.count, after.pvalue, after.reason) == (
        *(1, None),
        "n = 1 and 1: a spread takes 2 or more on each side",
    )
    assert after.difference == pytest.approx(-0.1)


def swept(here, values, field="sigma_max"):
    write(here / "swept" / "sweep.json", [{}])
    for number, (over, one) in enumerate(values, 1):
        row = {"record": "layer", "seed": 0, "run": number, "over": over, "layer": 1, field: one}
        write(here / "swept" / f"run-{number:04}.jsonl", [row])


def test_a_sweep_s_folder_holds_its_groups(here):
    swept(here, [({"d": d, "seed": seed}, d + seed / 10) for d in (2, 4) for seed in range(3)])
    before, after = fields(compare("swept"), "sigma_max")
    assert (before.over, after.over, after.difference) == ({"d": 2}, {"d": 4}, pytest.approx(2.0))
    assert (before.source, after.against) == ("swept", "swept")


def test_holm_is_over_all_that_the_report_tests(here):
    rng = np.random.default_rng(0)
    swept(here, [({"d": d, "seed": seed}, float(rng.normal())) for d in (1, 2, 3, 4) for seed in range(4)])
    rows = [row for row in fields(compare("swept"), "sigma_max") if row.pvalue is not None]
    order = sorted(rows, key=lambda row: row.pvalue)
    told = np.maximum.accumulate([min(1.0, (3 - rank) * row.pvalue) for rank, row in enumerate(order)])
    assert [row.pvalue_holm for row in order] == pytest.approx(list(told))


def test_rows_on_layers_stand_side_by_side(here):
    for name, shift in (("a.jsonl", 0), ("b.jsonl", 1)):
        rows = [
            {"record": "layer", "seed": seed, "layer": layer, "method": name, "sigma_max": layer + shift + seed / 9}
            for seed in range(2)
            for layer in (1, 2)
        ]
        write(here / name, rows)
    found = fields(compare("a.jsonl", "b.jsonl"), "sigma_max")
    assert [(row.source, row.of) for row in found] == [
        *(("a.jsonl", {"layer": 1}), ("b.jsonl", {"layer": 1})),
        *(("a.jsonl", {"layer": 2}), ("b.jsonl", {"layer": 2})),
    ]
    assert [row.difference for row in found] == [None, pytest.approx(1.0)] * 2


def test_lines_of_several_trainings_are_told_apart(here):
    rows = [*epochs([0.1, 0.9], seed=0, method="sao"), *epochs([0.1, 0.2], seed=0, method="snip")]
    write(here / "all.jsonl", rows)
    before, after = fields(compare("all.jsonl"))
    assert (before.mean, after.mean, after.over) == (0.9, 0.2, {"method": "snip"})


def test_learning_curves_are_means_and_ends_by_epoch(here):
    write(here / "a.jsonl", [*epochs([0.1, 0.5], seed=0), *epochs([0.2, 0.9], seed=1)])
    write(here / "b.jsonl", epochs([0.3, 0.4, 0.5], seed=0))
    first, second = compare("a.jsonl", "b.jsonl").curves
    assert (first.title, first.runs, first.epochs) == ("a.jsonl", 2, (0, 1))
    assert first.mean == pytest.approx((0.15, 0.7))
    assert (first.least, first.largest) == ((0.1, 0.5), (0.2, 0.9))
    assert (second.epochs, second.largest) == ((0, 1, 2), (0.3, 0.4, 0.5))


def test_fields_are_those_that_are_asked_for(here):
    rows = epochs([0.1, 0.9], seed=0, jacobian={"mean": 0.5})
    write(here / "a.jsonl", rows)
    write(here / "b.jsonl", epochs([0.1], seed=0))
    [before] = compare("a.jsonl", "b.jsonl", fields="jacobian.mean").rows
    assert (before.source, before.mean) == ("a.jsonl", 0.5)
    [own] = compare("b.jsonl", "a.jsonl", fields="jacobian.mean").rows
    assert (own.source, own.difference, own.reason) == ("a.jsonl", None, "the first group has no such value")
    with pytest.raises(SaoError, match="no row has a value of seconds"):
        compare("a.jsonl", "b.jsonl", fields="seconds")
    with pytest.raises(SaoError, match=r"jacobian is .* and only numbers have a mean"):
        compare("a.jsonl", "b.jsonl", fields="jacobian")


def test_failures_are_counted(here):
    write(here / "swept" / "sweep.json", [{}])
    for number, over in enumerate([{"d": 2, "seed": 0}, {"d": 2, "seed": 1}, {"d": 4, "seed": 0}], 1):
        row = {"record": "layer", "run": number, "over": over, "sigma_max": 1.0}
        write(here / "swept" / f"run-{number:04}.jsonl", [row | ({"record": "failure"} if number == 2 else {})])
    assert [(row.count, row.failed) for row in compare("swept").rows] == [(1, 1), (1, 0)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["{"], "line 1 is no JSON"),
        (['{"a": 1}'], "line 1 is no row of a report"),
        (['{"record": 3}'], "line 1 is no row of a report"),
        (['{"record": "layer", "over": 3}'], "line 1 is no row of a report"),
        ([""], "holds no rows"),
        (['{"record": "layer", "sigma_max": 1, "layer": 1}'] * 2, "several rows are on one thing with one seed"),
        (['{"record": "layer", "sigma_max": 1}'], "and there is 1"),
    ],
)
def test_what_is_no_report_is_refused(here, lines, said):
    (here / "a.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(SaoError, match=said):
        compare("a.jsonl")


def test_fields_of_no_known_name_are_to_be_named(here):
    for name in ("a.jsonl", "b.jsonl"):
        write(here / name, [{"record": "layer", "gain": 1.5}])
    with pytest.raises(SaoError, match="none of the fields that are compared by default; name them"):
        compare("a.jsonl", "b.jsonl")
    assert [row.mean for row in compare("a.jsonl", "b.jsonl", fields="gain").rows] == [1.5, 1.5]


def test_checkpoints_and_reports_are_not_compared(here):
    write_checkpoint({"net.0.weight": np.eye(3)}, "m.safetensors")
    swept(here, [({"d": 2}, 1.0)])
    with pytest.raises(SaoError, match="swept holds rows of runs, and others are checkpoints; compare like with like"):
        compare("m.safetensors", "swept")
    with pytest.raises(SaoError, match=r"m\.safetensors is named twice"):
        compare("m.safetensors", "m.safetensors")
    with pytest.raises(SaoError, match="fields sparsity are of runs"):
        compare("m.safetensors", "swept", fields="sparsity", weights=True)
    with pytest.raises(SaoError, match="include and exclude choose layers of checkpoints"):
        compare("swept", include="*")
    with pytest.raises(SaoError, match="there is 1; name another"):
        compare("m.safetensors")


def test_a_training_is_its_network_beside_a_checkpoint_or_where_weights_are_said(here):
    for name, seed in (("a", 0), ("b", 1)):
        trained(here, name, seed, [0.1])
        write_checkpoint({"net.0.weight": np.eye(3) * (seed + 1)}, here / name / "final.safetensors")
    write_checkpoint({"net.0.weight": np.eye(3)}, "m.safetensors")
    assert [row.relative_distance for row in compare("a", "b", weights=True).rows[:2]] == [None, 1.0]
    assert [row.relative_distance for row in compare("m.safetensors", "b").rows[:2]] == [None, 1.0]
    assert fields(compare("a", "b"))


def test_what_holds_rows(here):
    trained(here, "run", 0, [0.1])
    trained(here, "runs/a", 0, [0.1])
    swept(here, [({"d": 2}, math.pi)])
    (here / "empty").mkdir()
    (here / "model.safetensors.index.json").write_text("{}")
    (here / "rows").write_text('{"record": "layer"}')
    write_checkpoint({"net.0.weight": np.eye(3)}, "m.safetensors")
    told = {name: holds_rows(name) for name in ("run", "runs", "swept", "rows", "gone.jsonl")}
    assert set(told.values()) == {True}
    others = ("empty", "model.safetensors.index.json", "m.safetensors", "gone")
    assert {name: holds_rows(name) for name in others} == dict.fromkeys(others, False)
    (here / "swept" / "run-0001.jsonl").unlink()
    with pytest.raises(SaoError, match="no run of rows is kept"):
        read_runs("swept")
    (here / "run" / "settings.json").write_text("[]")
    with pytest.raises(SaoError, match=r"settings\.json can't be read"):
        read_runs("run")
