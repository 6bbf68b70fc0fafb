"""`sao rank` in real processes and pipes: its keys, its tables, its exit codes."""

import json

import matplotlib.image
import numpy as np
import pytest

from sao_cli.catalog import RANK_PICTURES
from sao_cli.io.checkpoints import write_checkpoint

KEYS = [
    *("name", "m", "n", "rank", "rank_with_bias", "soft_rank", "mlis_soft", "slack", "stable_rank", "columns", "rows"),
    *("fusions", "parameters_saved", "error_frobenius", "error_spectral", "features"),
]


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    first, last = rng.standard_normal((12, 8)).astype("f4"), rng.standard_normal((5, 12)).astype("f4")
    first[1], first[4] = 2 * first[3], 0
    tensors = {"0.weight": first, "0.bias": np.zeros(12, "f4"), "2.weight": last, "2.bias": np.ones(5, "f4")}
    write_checkpoint(tensors, tmp_path / "m.safetensors")
    return "m.safetensors"


def test_its_lines_have_the_keys_in_their_order(model, sao):
    done = sao("rank", model, "--pairs", 3, "--activation", "relu", "--include", "*.weight")
    assert (done.code, done.err) == (0, "")
    *layers, summary = done.rows
    assert [row["name"] for row in layers] == ["0.weight", "2.weight"]
    assert [key for key in layers[0] if key in KEYS] == KEYS
    assert [layers[0][axis].keys() for axis in ("columns", "rows")] == [{"zero", "max_cosine", "pairs"}] * 2
    assert [list(pair) for pair in layers[0]["rows"]["pairs"]] == [["i", "j", "cosine", "distance", "ratio"]] * 3
    assert layers[0]["rows"]["pairs"][0] | {"distance": 0} == {"i": 1, "j": 3, "cosine": 1, "distance": 0, "ratio": 2}
    assert layers[0]["features"] == {"mergeable": 1, "constant": 1, "unread": 0}
    assert (summary["record"], summary["fusions"], summary["zero"]) == ("summary", 1, 1)


def test_it_reads_what_prune_writes(model, pipe):
    done = pipe(
        "sao prune m.safetensors --method gmp --sparsity 0.9 --all -o - | "
        "sao rank - --include '*.weight' --check 'zero<1'"
    )
    assert done.code == 1, done
    assert done.rows[-1]["zero"] > 0
    assert f"summary: zero is {done.rows[-1]['zero']}, against 'zero<1'" in done.err
    assert all(row["source"] == "-" for row in done.rows)


@pytest.mark.parametrize(
    ("check", "code"),
    [("rank>=4", 0), ("soft_rank>100", 1), ("columns.max_cosine<0.999", 0), ("rows.max_cosine<0.999", 1)],
)
def test_checks_decide_the_exit_code(check, code, model, sao_in_process):
    done = sao_in_process("rank", model, "--include", "*.weight", "--check", check)
    assert (done.code, bool(done.err)) == (code, bool(code))


def test_a_table_tells_what_is_skipped_in_a_line(model, sao_in_process):
    done = sao_in_process("rank", model, "--table")
    assert done.code == 0
    assert "0.weight" in done.out
    assert "skipped: 0.bias, reason: bias" in done.out
    assert "measured: 2, skipped_tensors: 2, parameters: 156" in done.out
    single = sao_in_process("rank", model, "--table", "--include", "0.weight", "--pairs", 2)
    assert "i 1, j 3, cosine 1, distance 0, ratio 2" in single.out


def test_the_report_goes_to_a_file_and_npz_is_read(tmp_path, sao_in_process):
    np.savez(tmp_path / "m.npz", w=np.eye(3))
    done = sao_in_process("rank", "m.npz", "-o", "rows.jsonl")
    assert (done.code, done.out) == (0, "")
    row = json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0])
    assert (row["rank"], row["rows"]["max_cosine"]) == (3, 0.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tau", 1, "--tau-relative", 1), "exclude each other"),
        (("--tau", 0), "--tau 0"),
        (("--tau-cos", 2), "--tau-cos 2"),
        (("--floor", "nan"), "--floor nan"),
        (("--pairs", 0), "--pairs"),
        (("--activation", "rellu"), "did you mean 'relu'"),
        (("--check", "soft>1"), "unknown field 'soft'"),
        (("--plot", "p.png", "--picture", "cosine"), "did you mean 'cosines'"),
        (("--plot", "gone/p.png"), "gone"),
        (("--plot", "p.gif"), ".png, .svg, .pdf"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, said, model, sao_in_process):
    done = sao_in_process("rank", model, *arguments)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize("picture", RANK_PICTURES)
def test_pictures_are_as_wide_as_a_column_and_change_no_row(picture, model, sao_in_process, tmp_path):
    done = sao_in_process("rank", model, "--plot", "p.png", "--picture", picture, "-q")
    assert (done.code, done.err) == (0, "")
    assert done.out == sao_in_process("rank", model, "-q").out
    assert matplotlib.image.imread(tmp_path / "p.png").shape[1] == 1050


def test_a_picture_that_can_not_be_written_loses_nothing(model, sao_in_process, tmp_path):
    before = (tmp_path / model).read_bytes()
    for plot in ("gone/p.png", model, "p.gif"):
        assert sao_in_process("rank", model, "--plot", plot, "-o", "r.jsonl").code == 2
    assert [path.name for path in tmp_path.iterdir()] == [model]
    assert (tmp_path / model).read_bytes() == before


def test_no_file_and_nothing_in_it(sao, sao_in_process, tmp_path):
    assert sao("rank", "no.safetensors").code == 2
    assert sao("rank").code == 2
    write_checkpoint({"bias": np.ones(3)}, tmp_path / "b.safetensors")
    done = sao_in_process("rank", "b.safetensors")
    assert (done.code, "nothing in b.safetensors was measured" in done.err) == (2, True)
