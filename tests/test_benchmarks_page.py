"""docs/benchmarks.md says what the benchmarks recorded, and a benchmark records what it prints."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from . import benchmarks_page

BENCHMARKS = Path(__file__).parent / "benchmarks"
MEASURED = """
import side_by_side as bench
twice = bench.Median((2.0, 4.0, 3.0)), bench.Median((10.0, 10.0, 10.0))
bench.print_ratio("reach, n = 8, against numpy", *twice, 0.5)
bench.print_ratio("this / that", 3, 2, 1)
bench.print_value("memory", 700.0, "MB", 600)
bench.print_table("A table", ["n", "seconds"], ((n, n / 8) for n in (1, 2)))
bench.print_growth("verify", "n", [(1, 1.0, 8.0), (10, 10.0, 8.0), (100, 1000.0, 8.0)])
"""


@pytest.fixture
def run(tmp_path):
    """Runs a benchmark of these lines, and gives its exit status and what it recorded."""

    unset = ("PYTHONDONTWRITEBYTECODE", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

    def made(lines, *options, **told):
        script = tmp_path / "bench_trial.py"
        script.write_text(f"import sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n{lines}")
        command = [sys.executable, script, *options, f"--record={tmp_path}"]
        environment = {name: value for name, value in os.environ.items() if name not in unset} | told
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        lines_of = {path.name: path.read_text().splitlines() for path in tmp_path.glob("*.jsonl")}
        return done, {name: list(map(json.loads, told)) for name, told in lines_of.items()}

    return made


def test_a_benchmark_records_what_it_prints(run):
    done, files = run(MEASURED)
    assert done.returncode == 0, done.stderr
    of, machine, ratio, other, value, table, growth = files["trial.jsonl"]
    assert of["benchmark"] == "bench_trial"
    assert machine["numpy"]
    assert ratio == {
        **{"record": "ratio", "job": "reach, n = 8", "instead": "numpy", "ours": 3.0, "theirs": 10.0, "unit": "s"},
        **{"ratio": 0.3, "goal": 0.5, "met": True, "quartiles": [0.25, 0.35]},
    }
    assert (other["job"], other["instead"], other["met"], other["quartiles"]) == ("this", "that", False, None)
    assert (value["name"], value["met"]) == ("memory", False)
    assert table["rows"] == [[1, 0.125], [2, 0.25]]
    assert growth["time"] == pytest.approx([1.5, 2.0])
    assert growth["memory"] == pytest.approx([0, 0])
    assert "reach, n = 8, against numpy: 3 s against 10 s = 0.3x (goal <= 0.5x, met)" in done.stdout


def test_options_have_a_file_of_their_own_and_a_failure_leaves_what_was_there(run):
    done, files = run(MEASURED, "--long")
    assert set(files) == {"trial-long.jsonl"}
    failed, after = run(MEASURED + "raise ValueError", "--long")
    assert (done.returncode, failed.returncode) == (0, 1)
    assert after == files


def test_the_page_is_made_of_what_is_recorded():
    assert benchmarks_page.PAGE.read_text() == benchmarks_page.page(), "python tests/benchmarks_page.py makes it anew"


@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("bench_*.py")), ids=lambda path: path.stem)
def test_notes_have_no_measured_figure_of_their_own(script):
    notes = benchmarks_page.constant(ast.parse(script.read_text()), "NOTES")
    assert not re.search(r"\d ?(s|ms|µs|ns|MB|x)\b", notes)


def test_notes_are_filled_from_records():
    rows = [
        {"record": "ratio", "job": "reach", "ours": 0.0125, "theirs": 5.0, "unit": "s", "ratio": 0.0025},
        {"record": "value", "name": "peak", "value": 1234.5, "unit": "MB"},
    ]
    told = [benchmarks_page.measured(rows, *one.split(" of ")) for one in ("ratio of reach", "sao of reach")]
    assert told == ["0.0025x", "12.5 ms"]
    assert benchmarks_page.measured(rows, "value", "peak") == "1,230 MB"
    assert benchmarks_page.measured(rows, "ratio", "verify") == "(not measured)"


def test_all_that_measures_speed_is_run():
    told = subprocess.run(
        [sys.executable, BENCHMARKS / "run_all.py", "--list", "--long"], check=True, capture_output=True, text=True
    )
    listed = {line.split()[0] for line in told.stdout.splitlines()}
    left = {path.name for path in BENCHMARKS.glob("bench_*.py")} - listed
    assert left == {f"bench_{name}.py" for name in ("edge_of_chaos", "experiments", "pruning", "transfer")}


def test_what_is_measured_with_a_slower_environment_stands_beside_the_rest(run, tmp_path):
    run("import side_by_side as bench\nbench.print_ratio('this / that', 1, 2)")
    _, files = run("import side_by_side as bench\nbench.print_ratio('this / that', 1, 1)", OPENBLAS_L2_SIZE="524288")
    assert set(files) == {"trial.jsonl", "trial-OPENBLAS_L2_SIZE.jsonl"}
    rows = [row for one in benchmarks_page.runs(tmp_path) for row in one.of("ratio")]
    assert [(row["job"], row["ratio"]) for row in rows] == [("this", 0.5), ("this, with OPENBLAS_L2_SIZE set", 1.0)]
