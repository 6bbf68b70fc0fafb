"""`sao audit`: rows, options, exit codes, and checkpoints that are damaged or hostile."""

import json
import subprocess
import sys
import weakref

import click.testing
import matplotlib.image
import numpy as np
import pytest

import sao_cli
from sao_cli.cli import main
from sao_cli.io.checkpoints import Checkpoint, write_checkpoint
from sao_cli.io.checkpoints.order import WAY_OUT
from sao_cli.plots.audit_figures import audit_figure
from sao_cli.reports.audits import AuditRow

RNG = np.random.default_rng(0)
SAO = [weight.to_dense() for weight in sao_cli.weight_stack([16, 16, 16], d=4)]
HEAD = RNG.normal(size=(12, 16))
HEAD[3], HEAD[:, 5] = 0, 0
KERNEL = RNG.normal(size=(4, 2, 3, 3)).astype(np.float32)
BAD = np.array([[1.0, np.nan], [0.0, 2.0]])
MODEL = {
    "embed.weight": RNG.normal(size=(9, 4)),
    "body.0.weight": SAO[0],
    "body.0.bias": np.zeros(16),
    "body.1.weight": SAO[1].astype(np.float32),
    "head.weight": HEAD,
    "conv.weight": KERNEL,
    "bad.weight": BAD,
}
HOSTILE = {
    name: RNG.normal(size=(3, 3))
    for name in ("\x1b[31mred\n", "<b>&amp;</b>", r"a\[/b] [link]", r"[/red]", "\u202eright", "x" * 500, "")
}


def run(*arguments):
    done = click.testing.CliRunner().invoke(main, ["audit", *map(str, arguments)])
    assert done.exit_code != 70, done.stderr
    return done


def rows_of(done):
    return [json.loads(line, parse_constant=_refuse) for line in done.stdout.splitlines()]


def _refuse(constant):
    raise ValueError(f"{constant} is not strict JSON")


def named(rows):
    return {row["name"]: row for row in rows if "name" in row}


def error_of(*arguments):
    """The one line of bad input."""
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("audit") / "model.safetensors"
    write_checkpoint(MODEL, path)
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    path = tmp_path_factory.mktemp("audit") / "hostile.safetensors"
    write_checkpoint(HOSTILE, path)
    return path


def test_rows_come_in_the_order_of_names_then_chains_then_a_summary(model):
    done = run(model)
    rows = rows_of(done)
    found = named(rows)
    assert (done.exit_code, done.stderr) == (0, "")
    assert list(found) == sorted(MODEL)
    assert all((row["command"], row["seed"]) == ("audit", 0) for row in rows)
    assert {name: row["reason"] for name, row in found.items() if row["skipped"]} == {
        "embed.weight": "embedding",
        "body.0.bias": "bias",
        "bad.weight": "nan at place (1, 2); every value must be a finite number",
    }
    for name in ("body.0.weight", "body.1.weight", "head.weight"):
        values = np.linalg.svd(MODEL[name], compute_uv=False)
        assert found[name]["sigma_max"] == pytest.approx(values[0])
        assert found[name]["sigma_min"] == pytest.approx(values[-1], abs=1e-6)
        assert found[name]["sparsity"] == pytest.approx((MODEL[name] == 0).mean())
    assert (found["body.0.weight"]["components"], found["head.weight"]["dead_inputs"]) == (4, 1)
    chain, unknown = [row for row in rows if "chain" in row]
    assert (chain["layers"], chain["reachable"]) == (2, 0.75)
    assert (chain["order"], chain["assumed"]) == ("numbered names", "a plain stack")
    assert chain["layer_names"] == ["body.0.weight", "body.1.weight"]
    assert unknown["layer_names"] == ["bad.weight", "conv.weight", "head.weight"]
    assert {unknown[key] for key in ("order", "assumed", "inputs", "reachable", "lost_inputs")} == {None}
    assert unknown["reason"].endswith(WAY_OUT)
    assert rows[-1]["summary"] is True
    assert (rows[-1]["rows"], rows[-1]["skipped_tensors"], rows[-1]["unread"]) == (4, 3, ["bad.weight"])


def test_tensors_are_read_one_at_a_time_and_forgotten(model, monkeypatch):
    alive, read = [], Checkpoint.read

    def watched(checkpoint, entry):
        assert not any(reference() is not None for reference in alive)
        array = read(checkpoint, entry)
        alive.append(weakref.ref(array))
        return array

    monkeypatch.setattr(Checkpoint, "read", watched)
    assert run(model).exit_code == 0
    assert len(alive) == 4


def test_a_row_is_there_before_the_next_tensor_is_read(model):
    calls = []
    rows = iter(sao_cli.audit_checkpoint(model, progress=lambda *told: calls.append(told)))
    assert next(rows).name == "bad.weight"
    assert calls == []
    assert len(list(rows)) == len(MODEL) - 1
    bars = [told for told in calls if told[0].startswith("[")]
    assert [number for _, number, _ in bars] == list(range(1, len(MODEL) + 1))
    assert bars[0][0].startswith("[................] 32 B of ")
    assert bars[-1] == (f"[{'#' * 16}] 4.93 kB of 4.93 kB: tensor", 7, 7)  # what is skipped takes no time


def test_jobs_change_nothing(model):
    assert run(model, "--jobs", 3).stdout == run(model).stdout


def test_what_a_cluster_can_t_read_is_refused_before_it_is_asked(model):
    cluster = ("--cluster", "tcp://127.0.0.1:9")
    assert "standard input is read here, and a cluster's workers read files; save it" in error_of("-", *cluster)
    assert "standard input is read here" in error_of(model, "--compare", "-", *cluster)
    assert "a --module runs here; leave out one" in error_of(
        model, "--module", "m.py:net", "--example", "1x2", *cluster
    )
    assert "give one of them" in error_of(model, "--jobs", 2, *cluster)


@pytest.mark.parametrize(
    ("checks", "code", "said"),
    [
        (["sigma_max<=20"], 0, []),
        (["sigma_max<=30"], 1, ["bad.weight: sigma_max is not known", "(can't tell: nan at place (1, 2); every value"]),
        (["dead_inputs==0"], 1, ["head.weight: dead_inputs is 1, against 'dead_inputs==0'"]),
        (["sigma_max<20", "ks.pvalue >= 0"], 1, ["conv.weight: ks.pvalue is not known", "--image N"]),
        (["skipped==false"], 1, ["bad.weight: skipped is True"]),
    ],
)
def test_checks_decide_the_exit_code(model, checks, code, said):
    options = [part for check in checks for part in ("--check", check)]
    excluded = ("conv*", "bad*") if code == 0 else ()
    done = run(model, *(part for name in excluded for part in ("--exclude", name)), *options)
    assert done.exit_code == code, done.stderr
    for text in said:
        assert text in done.stderr
    assert len(named(rows_of(done))) == len(MODEL) - len(excluded)


def test_the_first_ten_failures_are_named(tmp_path):
    write_checkpoint({f"layer.{k}": np.eye(2) for k in range(13)}, tmp_path / "a.safetensors")
    done = run(tmp_path / "a.safetensors", "--check", "sigma_min>1.5")
    assert done.stderr.count("layer.") == 10
    assert "... and 3 more failures" in done.stderr
    assert run(tmp_path / "a.safetensors", "--check", "sigma_min>1.5", "-q").stderr == ""


def test_bad_input_is_one_line(model, tmp_path):
    assert "did you mean 'sigma_min'" in error_of("nowhere.safetensors", "--check", "sigma_mim>0")  # before any work
    assert "nowhere.safetensors" in error_of("nowhere.safetensors")
    assert "nowhere" in error_of(model, "--html", "nowhere/a.html")
    assert "--jobs" in run(model, "--jobs", 0).stderr
    (tmp_path / "cut.safetensors").write_bytes(model.read_bytes()[:40])
    assert "cut off" in error_of(tmp_path / "cut.safetensors")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--device", "cuda:64"], "'cuda:64' is not there"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--device", "cuda", "--fast"], "--fast estimates on the processor"),
    ],
)
def test_a_device_that_is_not_there_and_one_that_estimates_are_refused(model, options, said):
    assert said in run(model, *options).stderr
    if "tpu" not in options:
        assert error_of(model, *options)


def test_what_is_whole_of_a_file_that_is_cut_off_is_audited(model, tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(model.read_bytes()[:-100])
    rows = named(rows_of(run(tmp_path / "cut.safetensors")))
    assert rows["conv.weight"]["skipped"]
    assert "cut off" in rows["conv.weight"]["reason"]
    assert rows["body.0.weight"]["sigma_max"] == pytest.approx(1)


def test_patterns_choose(model):
    assert list(named(rows_of(run(model, "--include", "body.*", "--exclude", "*.bias")))) == [
        "body.0.weight",
        "body.1.weight",
    ]
    assert "nearest are body.1.weight, body.0.weight" in error_of(model, "--include", "boddy.*.weight")
    assert "leave none of 7 tensors" in error_of(model, "--include", "head*", "--exclude", "*")


def test_where_all_is_skipped_the_rows_say_why_and_it_is_no_success(model):
    done = run(model, "--include", "*bias", "--include", "*bed.weight")
    assert done.exit_code == 2
    assert [row["reason"] for row in named(rows_of(done)).values()] == ["bias", "embedding"]
    assert "was audited: all of its 2 tensors are skipped" in done.stderr
    table = run(model, "--include", "*bias", "--include", "*bed.weight", "--table").stdout
    assert "embedding" in table
    assert "body.0.bias" in table


def test_threshold_and_size(model):
    rows = named(rows_of(run(model, "--threshold", 0.3, "--max-size", 200, "--include", "*[dy]*.weight")))
    small = (np.abs(HEAD) <= 0.3).mean()
    assert rows["head.weight"]["sparsity"] == pytest.approx(small)
    assert rows["head.weight"]["near_zero"] == pytest.approx(small - (HEAD == 0).mean())
    assert "too large: 256 numbers" in rows["body.0.weight"]["reason"]


def test_kernels_are_maps_of_images(model):
    options = ["--include", "conv*", "--image", "6x5", "--padding", 1, "--stride", 2]
    (row,) = named(rows_of(run(model, *options))).values()
    values = sao_cli.convolution_values(KERNEL, (6, 5), padding=1, stride=2).values
    assert row["sigma_max"] == pytest.approx(values.max())
    assert row["image"] == [6, 5]


def test_comparison(model, tmp_path):
    before = {name: 2 * array if name == "body.1.weight" else array for name, array in MODEL.items()}
    del before["head.weight"]
    write_checkpoint(before, tmp_path / "before.safetensors")
    done = run(model, "--compare", tmp_path / "before.safetensors", "--check", "dead_inputs==0")
    rows = rows_of(done)
    found = named(rows)
    assert done.exit_code == 1  # the checks are of MODEL
    assert {name: row["status"] for name, row in found.items()} == {
        "body.0.weight": "same",
        "body.1.weight": "changed",
        "conv.weight": "same",
        "head.weight": "only after",
    }
    change = found["body.1.weight"]["changes"]["sigma_max"]
    assert (change["before"], change["after"]) == pytest.approx((2, 1))
    assert rows[-1]["statuses"] == {"same": 2, "changed": 1, "only after": 1}
    table = run(model, "--compare", tmp_path / "before.safetensors", "--table").stdout
    assert "2 -> 1" in table
    assert "only after" in table


def test_the_table(model):
    table = run(model, "--table", "--check", "dead_inputs==0").stdout
    for text in ("body.0.weight", "16x16", "sigma_", "stable_", "pvalue", "█", "embedding", "reachable: 0.75", "no"):
        assert text in table
    single = run(model, "--table", "--include", "head.weight").stdout
    assert "effective_rank" in single


def test_many_skipped_tensors_are_counted_by_reason(tmp_path):
    tensors = {f"{k}.{kind}": np.ones(3) for k in range(40) for kind in ("bias", "vector")}
    write_checkpoint(tensors | {"a": np.eye(2), "b": np.eye(2)}, tmp_path / "a.safetensors")
    table = run(tmp_path / "a.safetensors", "--table").stdout
    assert "skipped: 40, reason: bias" in table
    assert table.count("\n") < 15


def test_hostile_names_never_reach_a_terminal_raw(hostile):
    for options in (["--table"], ["--table", "--include", "*a?[[]*"], ["--table", "--compare", hostile], ["--json"]):
        done = run(hostile, *options, "--check", "sigma_min>1e9")
        shown = done.stdout + done.stderr
        assert done.exit_code == 1
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert set(named(rows_of(run(hostile)))) == set(HOSTILE)
    table = run(hostile, "--table").stdout
    assert "\\x1b[31mred\\n" in table
    assert "xxx...xxx" in table
    assert "[/red]" in table


def test_units_that_are_cut_off_are_named(tmp_path):
    first, last = np.zeros((3, 14)), np.ones((2, 3))
    first[0, 13], last[1] = 1, 0
    write_checkpoint({"net.0.weight": first, "net.2.weight": last}, path := tmp_path / "cut.safetensors")
    done = run(path)
    first_ten = "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert done.stderr.splitlines() == [
        f"sao audit: inputs that reach no output (13, counted from 0): {first_ten}, ...; --list adds all numbers",
        "sao audit: outputs that no input reaches (1, counted from 0): 1",
    ]
    assert "lost_input_units" not in rows_of(done)[-2]
    chain = rows_of(run(path, "--list"))[-2]
    assert (chain["lost_input_units"], chain["unreached_output_units"]) == ([*range(13)], [1])
    assert "unreached_output_units: 1" in " ".join(run(path, "--list", "--table").stdout.split())
    assert run(path, "-q").stderr == ""


def test_heavy_tail(model, monkeypatch):
    pytest.importorskip("powerlaw")
    rows = named(rows_of(run(model, "--heavy-tail", "--jobs", 2, "--include", "head*")))
    assert rows["head.weight"]["alpha"] > 1
    assert rows["head.weight"]["outliers"] == 0
    monkeypatch.setitem(sys.modules, "powerlaw", None)
    assert "pip install" in error_of(model, "--heavy-tail")


def test_the_picture(model, tmp_path):
    assert run(model, "-q", "--plot", tmp_path / "a.png").exit_code == 0
    assert matplotlib.image.imread(tmp_path / "a.png").std() > 0.01


def test_the_picture_shows_what_compare_and_heavy_tail_add(model, tmp_path, monkeypatch):
    pytest.importorskip("powerlaw")
    drawn = []
    monkeypatch.setattr("sao_cli.plots.save_figure", lambda figure, path, **_: drawn.append(figure))
    earlier = tmp_path / "earlier.safetensors"
    write_checkpoint({"head.weight": 2 * HEAD, "body.gone": HEAD}, earlier)
    asked = ("--include", "head*", "--include", "body*", "--plot", "a.png")
    rows = named(rows_of(run(model, *asked, "--heavy-tail")))
    assert run(model, *asked, "--heavy-tail", "--compare", earlier).exit_code == 0
    (upper, tail, lower), (both, _, then) = (figure.axes for figure in drawn)
    assert [text.get_text() for text in lower.get_xticklabels()] == ["body.0.weight", "body.1.weight", "head.weight"]
    [edges] = [line for line in upper.lines if line.get_label() == "Marchenko–Pastur edge"]
    assert edges.get_ydata()[-1] == pytest.approx(rows["head.weight"]["mp_edge"])
    assert tail.get_ylabel() == "power law α"
    assert tail.lines[0].get_ydata()[-1] == pytest.approx(rows["head.weight"]["alpha"])
    [before] = [line for line in both.lines if line.get_label() == "before"]
    [now] = [line for line in both.lines if line.get_label() == "median"]
    np.testing.assert_allclose(before.get_ydata(), now.get_ydata()[-1:] + np.log10(2))
    assert before.get_xdata() < now.get_xdata()[-1]
    assert any(part.get_label() == "sparsity before" for part in then.collections)


def audited(values, **facts):
    values = np.array(values)
    return AuditRow(name="a", kind="matrix", shape=(3, 3), dtype="float32", singular_values=values, exact=True, **facts)


def test_what_the_picture_holds():
    rows = [audited([4.0, 2.0, 1.0], sparsity=0.5), audited([1.0, 0.5, 1e-9], sparsity=0.0, error=1e-7)]
    rows.append(AuditRow(name="k", kind="kernel", shape=(1, 1, 1), dtype="float32", sparsity=0.9))
    upper, lower = audit_figure([*rows, AuditRow(name="b", kind=None, shape=(1,), dtype="", skipped=True)]).axes
    drawn = {line.get_label(): line.get_xydata() for line in upper.lines}
    assert drawn["median"][:, 0].tolist() == [1, 2]  # the kernel is a gap
    assert [drawn[label][0, 1] for label in ("least", "median", "largest")] == pytest.approx([1, 2, 4])
    assert drawn["least"][1, 1] == 0  # 1e-9 is rounding
    assert lower.patches[0].get_data().values.tolist() == [0.5, 0.0, 0.9]
    with pytest.raises(sao_cli.SaoError, match="every tensor was skipped"):
        audit_figure([])


def test_estimated_values_are_drawn_hollow():
    (upper, _) = audit_figure(
        [AuditRow(name="a", kind="matrix", shape=(2, 2), dtype="", singular_values=np.ones(2), exact=False)]
    ).axes
    assert {line.get_markerfacecolor() for line in upper.lines if "estimated" in str(line.get_label())} == {"white"}


def test_an_audit_loads_no_more_than_it_needs(model):
    told = (
        "import sys\nfrom sao_cli.cli import main\n"
        f"try: main(['audit', {str(model)!r}, '-o', '/dev/null'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "sao_cli.models.audit.row" in loaded
    assert not loaded & {"torch", "matplotlib", "networkx", "rich", "scipy.stats", "safetensors", "sao_cli.pages.audit"}
