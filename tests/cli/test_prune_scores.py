"""`sao prune` by scores and densities: exactly kappa of all weights, against the known values; controls, refusals."""

import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from sao_cli import prune_checkpoint
from sao_cli.io.checkpoints import write_checkpoint
from sao_cli.measure.reach.effective import effective_weights

from ..nets.scores import known_networks as known
from .conftest import refused

NAMES = ("0.weight", "2.weight", "4.weight")
A = ("a.safetensors", "--data", "a.npz", "--activation", "tanh")
OUT = ("-o", "out.safetensors")
MODULE = ("cnn.safetensors", "--module", "own.py:cnn", "--example", "1x1x6x6", "--data", "cnn.npz")
KNOWN = {  # of sparsity 0.8: kept by layer, and the places of what is kept
    ("snip",): ([6, 3, 3], [10, 12, 13, 15, 22, 28, 39, 48, 49, 53, 60, 61]),
    ("snip", "--labels", "uniform"): ([3, 5, 4], [14, 15, 27, 37, 39, 47, 48, 49, 51, 53, 60, 61]),
    ("grasp", "--temperature", 1): ([1, 4, 7], [15, 37, 42, 44, 47, 51, 53, 55, 57, 59, 60, 61]),
    ("grasp",): ([2, 3, 7], [7, 10, 37, 45, 47, 51, 53, 55, 57, 59, 60, 61]),
    ("synflow", "--rounds", 1): ([0, 5, 7], [41, 42, 44, 45, 47, 51, 53, 55, 56, 57, 60, 61]),
    ("synflow",): ([4, 3, 5], [13, 14, 15, 29, 37, 42, 47, 51, 55, 56, 60, 61]),
    ("itersnip", "--rounds", 20): ([4, 4, 4], [1, 25, 28, 29, 39, 44, 45, 49, 55, 56, 60, 61]),
    ("force", "--rounds", 20): ([3, 2, 7], [0, 5, 28, 35, 44, 51, 52, 53, 55, 57, 59, 60]),
}
EFFECTIVE = {("synflow",): [3, 3, 5], ("itersnip", "--rounds", 20): [4, 4, 4], ("force", "--rounds", 20): [3, 2, 5]}


@pytest.fixture
def run(on_known):
    """on_known of this command, unless another is named."""
    return lambda *arguments, command="prune", **given: on_known(command, *arguments, **given)


def left(path="out.safetensors", names=NAMES):
    tensors = load_file(path)
    return np.flatnonzero(np.concatenate([tensors[name].ravel() for name in names])).tolist()


@pytest.mark.parametrize("method", KNOWN, ids=lambda method: "-".join(map(str, method)))
def test_the_known_values(run, method):
    code, (*layers, summary), told = run(*A, "--method", *method, "--sparsity", 0.8, "--no-facts", *OUT)
    kept, places = KNOWN[method]
    assert code == 0
    assert "all layers, the first and the last too (--all)" in told
    assert [row["kept"] for row in layers] == kept
    assert left() == places
    assert (summary["kappa"], summary["kept"], summary["zero_scores"]) == (12, 12, 0)
    assert summary["compression"] == pytest.approx(62 / 12)
    assert [row["effective"] for row in layers] == EFFECTIVE.get(method, [row["effective"] for row in layers])
    assert [row["method"] for row in layers] == 3 * [method[0]]


def test_a_module_s_kernels_lose_single_taps_or_whole_kernels(run):
    code, (*layers, summary), _ = run(*MODULE, "--method", "snip", "--sparsity", 0.8, *OUT)
    assert code == 0
    assert [row["kept"] for row in layers] == [9, 14, 22]
    assert summary["kappa"] == 45
    assert summary["effective"] is not None
    code, (*layers, summary), _ = run(*MODULE, "--method", "snip", "--sparsity", 0.8, "--unit", "kernel", *OUT)
    assert code == 0
    assert summary["kept"] <= 45
    for name in ("0.weight", "2.weight"):
        whole = (load_file("out.safetensors")[name] != 0).reshape(-1, 9).sum(axis=1)
        assert set(whole) <= {0, 9}
    asked = ("--method", "erk", "--sparsity", 0.5, "--no-facts", *OUT)
    assert run(*MODULE, *asked)[1][-1]["kept"] == 112
    (*layers, summary) = run("cnn.safetensors", "--method", "smart-ratio", *asked[2:])[1]
    assert [row["kept"] for row in layers] == [35, 53, 24]  # 0.3 of the 81 of the matrix, and 12 to 6
    assert summary["kappa"] == 112


def test_scores_of_the_user_s_own_with_ties(run):
    net = {"net.0.weight": np.ones((2, 3)), "net.2.weight": np.ones((2, 2)), "net.2.bias": np.ones(2)}
    write_checkpoint(net, "net.safetensors")
    scores = {"net.0.weight": [[5.0, 4, 3], [3, 3, 2]], "net.2.weight": np.zeros((2, 2))}
    write_checkpoint({name: np.array(one) for name, one in scores.items()}, "mine.safetensors")
    given = ("net.safetensors", "--scores", "mine.safetensors", "--no-facts", *OUT)
    for sparsity, places, ties, zeros in ((0.7, [0, 1, 2], 2, 0), (0.2, [0, 1, 2, 3, 4, 5, 6, 7], 2, 2)):
        code, (*layers, summary), told = run(*given, "--sparsity", sparsity)
        assert code == 0
        assert left(names=("net.0.weight", "net.2.weight")) == places
        assert (summary["ties_at_threshold"], summary["zero_scores"], summary["kappa"]) == (ties, zeros, len(places))
        assert [row["method"] for row in layers] == 2 * ["scores"]
        assert ("2 weights that are kept score 0" in told) is bool(zeros)
    assert (load_file("out.safetensors")["net.2.bias"] == 1).all()
    write_checkpoint({"net.2.weight": np.eye(2)}, "mine.safetensors")
    code, (first, second, summary), _ = run(*given, "--sparsity", 0.5)
    assert first["reason"] == "no score of it is given"
    assert (second["kept"], summary["weights"]) == (2, 4)


def test_scores_of_sensitivity_choose_what_the_method_does(run):
    assert run(*A, "-o", "scores.safetensors", command="sensitivity")[0] == 0
    run("a.safetensors", "--scores", "scores.safetensors", "--sparsity", 0.8, "--no-facts", *OUT)
    assert left() == KNOWN["snip",][1]


@pytest.mark.parametrize("density", ["erk", "er", "igq", "uniform"])
@pytest.mark.parametrize("within", ["random", "magnitude"])
def test_densities_keep_exactly_kappa(run, density, within):
    asked = ("--method", density, "--within", within, "--no-facts", *OUT)
    code, (*layers, summary), _ = run("a.safetensors", *asked, "--sparsity", 0.6)
    assert code == 0
    assert sum(row["kept"] for row in layers) == summary["kappa"] == summary["kept"] == 25
    assert summary["ties_at_threshold"] is summary["zero_scores"] is None
    if within == "magnitude":
        before, after = load_file("a.safetensors"), load_file("out.safetensors")
        for name in NAMES:
            kept = after[name] != 0
            assert np.abs(before[name][kept]).min() >= np.abs(before[name][~kept]).max(initial=0)


def test_controls_keep_counts_places_or_the_lowest(run):
    asked = (*A, "--sparsity", 0.8, "--no-facts", *OUT, "--method")
    kept, places = KNOWN["snip",]
    rows = run(*asked, "snip", "--control", "shuffle")[1]
    assert [row["kept"] for row in rows[:-1]] == kept
    assert left() != places
    rows = run(*asked, "snip", "--control", "fresh")[1]
    assert left() == places
    fresh, dense = load_file("out.safetensors"), load_file("a.safetensors")
    assert all(set(fresh[name].ravel()) <= {0.0, *dense[name].ravel()} for name in NAMES)
    assert any((fresh[name] != dense[name])[fresh[name] != 0].any() for name in NAMES)
    rows = run(*asked, "snip", "--control", "invert")[1]
    lowest = left()
    assert len(lowest) == 12
    assert not set(lowest) & set(places)
    assert run(*asked, "synflow", "--control", "invert")[0] == 0
    assert run(*asked, "erk", "--control", "shuffle")[0] == 0


def test_biases_count_and_are_pruned(run):
    net = {key: one.numpy() for key, one in known.net_a().state_dict().items()}
    biases = {"0.bias": np.full(5, 0.5), "2.bias": np.zeros(4), "4.bias": np.linspace(-1, 1, 3)}
    write_checkpoint(net | biases, "b.safetensors")
    code, (*layers, summary), _ = run(
        "b.safetensors", *A[1:], "--method", "snip", "--biases", "--sparsity", 0.6, "--no-facts", *OUT
    )
    assert code == 0
    assert summary["kappa"] == summary["kept"] == sum(row["kept"] for row in layers) == round(0.4 * 74)
    after = load_file("out.safetensors")
    assert sum(np.count_nonzero(one) for one in after.values()) == summary["kept"]
    assert {row["kind"] for row in layers} == {"matrix", "bias"}
    assert np.isin(after["4.bias"], [0, *biases["4.bias"]]).all()
    assert summary["effective"] is None
    assert "biases" in summary["reason"]


def test_what_dangles_goes_where_effective_is_asked_for(run, tmp_path):
    asked = (*A, "--sparsity", 0.8, "--no-facts", "--effective", *OUT, "--method")
    code, (*layers, summary), told = run(*asked, "synflow")
    assert code == 0
    assert [row["kept"] for row in layers] == [row["effective"] for row in layers] == [3, 3, 5]
    assert set(left()) < set(KNOWN["synflow",][1])
    assert (summary["kappa"], summary["kept"]) == (12, 11)
    assert "achieved" in told
    run(*asked, "force", "--rounds", 20)
    assert len(left()) == 10
    dead = ("--sparsity", 0.9, "--effective", *OUT, "--method", "snip")
    refused(run, tmp_path, *A, *dead, said="no kept weight lies on a path")
    refused(
        run, tmp_path, "cnn.safetensors", "--sparsity", 0.5, "--effective", *OUT, "--method", "erk", said="plain stacks"
    )


@pytest.mark.parametrize("method", ["lmp", "gmp", "lrp", "snip"])
@pytest.mark.parametrize("ends", ["--all", "--skip-ends"])
def test_what_dangles_goes_whatever_chose_the_rest(run, method, ends):
    asked = (*A, "--method", method, ends, "--sparsity", 0.7, "--no-facts", *OUT)
    before = {row["name"]: row.get("effective") for row in run(*asked)[1][:-1]}
    first = {name: one != 0 for name, one in load_file("out.safetensors").items()}
    rows = run(*asked, "--effective")[1]
    assert {row["name"]: row.get("effective") for row in rows[:-1]} == before
    assert all(row["kept"] == row["effective"] for row in rows[:-1] if "kept" in row)
    found = {name: one != 0 for name, one in load_file("out.safetensors").items()}
    wanted = effective_weights([first[name] for name in NAMES])
    for name, one in zip(NAMES, wanted, strict=True):
        is_end = ends == "--skip-ends" and name != NAMES[1]
        np.testing.assert_array_equal(found[name], first[name] if is_end else one)


@pytest.mark.parametrize(("unit", "sparsity"), [("weight", 0.9), ("kernel", 0.5)])
def test_what_dangles_in_a_module_goes_by_its_network(run, unit, sparsity):
    asked = ("--method", "snip", "--sparsity", sparsity, "--unit", unit, "--no-facts", *OUT)
    before = run(*MODULE, *asked)[1]
    code, (*layers, summary), _ = run(*MODULE, *asked, "--effective")
    assert code == 0
    assert [row["kept"] for row in layers] == [row["effective"] for row in layers]
    assert [row["kept"] for row in layers] == [row["effective"] for row in before[:-1]]
    assert summary["kept"] == before[-1]["effective"] < before[-1]["kept"] <= summary["kappa"]


def test_ends_are_kept_where_that_is_asked_for(run):
    code, rows, told = run(*A, "--method", "snip", "--skip-ends", "--sparsity", 0.5, "--no-facts", *OUT)
    assert code == 0
    assert "--all" not in told
    assert [row.get("skipped", False) for row in rows[:-1]] == [True, False, True]
    assert (rows[-1]["weights"], rows[-1]["kept"]) == (20, 10)


def test_a_dead_network_fails_a_check_and_is_written(run):
    code, rows, told = run(*A, "--method", "snip", "--sparsity", 0.9, "--check", "reachable>0", "--no-facts", *OUT)
    assert code == 1
    assert left() == [13, 15, 39, 49, 60, 61]
    assert [row["effective"] for row in rows[:-1]] == [0, 0, 0]
    assert "the network is dead" in told


def test_python_prunes_by_scores_in_one_call(run):
    rows, summary = prune_checkpoint("a.safetensors", "out.safetensors", method="synflow", sparsity=0.8, facts=False)
    assert left() == KNOWN["synflow",][1]
    assert [row.kept for row in rows] == [4, 3, 5]
    scores = {name: np.arange(one.size).reshape(one.shape) for name, one in load_file("a.safetensors").items()}
    _, summary = prune_checkpoint("a.safetensors", "out.safetensors", scores=scores, sparsity=0.3, facts=False)
    assert summary.kept == round(0.7 * 62)


def test_what_can_not_be_pruned_so_is_refused_in_one_line(run, tmp_path):
    net = {key: one.numpy() for key, one in known.net_a().state_dict().items()}
    for name, tensors in {
        "int8": net | {"2.weight": np.ones((4, 5), np.int8)},
        "bool": net | {"2.weight": np.ones((4, 5), bool)},
        "nan": net | {"2.weight": np.full((4, 5), np.nan)},
        "names": net | {"6.weight": np.ones((3, 3))},
        "shapes": net | {"2.weight": np.ones((5, 4))},
        "zeros": {key: np.zeros_like(one) for key, one in net.items()},
        "apart": {"q_proj.weight": np.eye(6), "head.weight": np.ones((3, 6))},
        "zero": {key: 0 * one for key, one in net.items()},
    }.items():
        write_checkpoint(tensors, f"{name}.safetensors")
    np.savez("labels.npz", x=known.batch_a()[0].numpy(), y=np.arange(8) % 3 + 1)
    mine = ("--sparsity", 0.5, *OUT)
    for model in ("int8", "bool", "nan"):
        for given in (
            ("--method", "erk"),
            ("--method", "magnitude"),
            ("--scores", "a.safetensors"),
            ("--method", "snip"),
        ):
            refused(run, tmp_path, f"{model}.safetensors", *A[1:], *given, *mine, said="2.weight")
    for scores, said in {
        "names": "scores of 6.weight|no such weight|0.weight",
        "shapes": "the scores of 2.weight are 5x4, and the weight is 4x5",
        "zeros": "all 62 scores are 0",
        "nan": "2.weight",
        "bool": "2.weight is bool",
    }.items():
        refused(run, tmp_path, A[0], "--scores", f"{scores}.safetensors", *mine, said=said)
    refused(run, tmp_path, A[0], "--scores", "gone.safetensors", *mine, said="gone.safetensors")
    refused(run, tmp_path, A[0], "--scores", "names.safetensors", "--method", "gmp", *mine, said="leave out --method")
    refused(run, tmp_path, A[0], "--method", "erk", "--d", 2, *OUT, said="give --sparsity")
    refused(run, tmp_path, *A, "--method", "snip", "--sparsity", 0.999, *OUT, said="keeps none")
    refused(run, tmp_path, A[0], "--method", "synflow", "--sparsity", 0.999, *OUT, said="keeps none")
    refused(run, tmp_path, A[0], "--method", "erk", "--sparsity", 0.97, *OUT, said="each keeps one at least")
    refused(run, tmp_path, A[0], "--method", "lmp", "--control", "shuffle", *mine, said="--control shuffle")
    refused(run, tmp_path, A[0], "--method", "erk", "--control", "invert", *mine, said="erk has no scores")
    refused(run, tmp_path, "apart.safetensors", "--method", "synflow", *mine, said="no chain|--module FILE.py:NAME")
    refused(run, tmp_path, "zero.safetensors", "--method", "synflow", *mine, said="no path leads")
    refused(run, tmp_path, A[0], "--method", "snip", "--activation", "tanh", *mine, said="--data")
    refused(run, tmp_path, *A[:3], "--method", "snip", *mine, said="--activation")
    data = ("--data", "labels.npz", "--activation", "tanh")
    refused(run, tmp_path, A[0], "--method", "snip", *data, *mine, said="label 3, and the network has 3 outputs")
    refused(run, tmp_path, A[0], "--method", "snop", *mine, said="snip")


def test_methods_without_data_need_no_torch(run):
    code = "import sys; from sao_cli.cli import main; main.main(sys.argv[1:], standalone_mode=False); "
    code += "assert not {'torch', 'matplotlib'} & sys.modules.keys(), 'loaded'"
    for method in ("synflow", "magnitude", "random", "erk"):
        asked = ["prune", "a.safetensors", "--method", method, "--sparsity", "0.5", "--no-facts", *OUT]
        done = subprocess.run([sys.executable, "-c", code, *asked], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_pipe_of_pruning_and_repair(run, pipe):
    done = run(*A, "-o", "mine.safetensors", command="sensitivity")
    done = pipe(
        "sao prune a.safetensors --scores mine.safetensors --sparsity 0.5 -o - | sao repair - --gain 1 -o - | "
        "sao audit - && cat a.safetensors | sao prune --method synflow --sparsity 0.5 -o p.safetensors"
    )
    assert done.code == 0
    assert [row["record"] for row in done.rows] == [*3 * ["layer"], "chain", "summary", *3 * ["layer"], "summary"]
    assert os.path.exists("p.safetensors")
