"""The tutorial's commands, with one epoch in place of twenty: what it says of the networks holds from the start."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
TUTORIAL = (DOCS / "tutorial.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the tutorial has been followed."""
    pytest.importorskip("sklearn")
    where = tmp_path_factory.mktemp("tutorial")
    blocks = re.findall(r"```sh\n(.*?)```", TUTORIAL, flags=re.DOTALL)
    assert len(blocks) == 4
    for number, block in enumerate(blocks):
        bin_ = shlex.quote(str(Path(sys.executable).parent))
        # without jq, which a machine may lack
        lines = [re.sub(r"\| jq .*", "> chain", line) for line in block.splitlines() if not line.startswith("jq ")]
        script = f"export PATH={bin_}:$PATH; " + "\n".join(lines).replace("--epochs 20", "--epochs 1")
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(["bash", "-c", script], cwd=where, capture_output=True, text=True, env=environment)
        assert (done.returncode, done.stderr) == (0, ""), block
        (where / f"printed{number}").write_text(done.stdout)
    return where


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("method", "low", "high"), [("sao", -1.5, 0.5), ("rg-n", -5, 2), ("lmp-s", -22, -17)])
def test_the_jacobian_tells_them_apart_from_the_first_epoch(folder, method, low, high):
    first, last = rows(folder / f"{method}.jsonl")
    assert (last["method"], last["epoch"], last["epochs"]) == (method, 1, 1)
    for row in (first, last):
        assert low < row["jacobian"]["log10_sigma_min"] < row["jacobian"]["log10_sigma_max"] < high


@pytest.mark.parametrize(
    ("method", "components", "most_deficient", "least"),
    [("sao", {64}, 0, (0.9, 1.1)), ("rg-n", {64}, 5, (0, 0.1)), ("lmp-s", {1, 2, 3, 4}, 22, (0, 0))],
)
def test_the_audit_says_what_the_tutorial_says(folder, method, components, most_deficient, least):
    found = [row for row in rows(folder / f"{method}.audit") if row.get("kind") == "matrix" and row["sparsity"] > 0.9]
    assert len(found) == 49
    assert {row["components"] for row in found} == components
    assert sum(row["rank"] < 256 for row in found) <= most_deficient
    assert method != "lmp-s" or sum(row["rank"] < 256 for row in found) == most_deficient
    assert least[0] <= min(row["sigma_min"] for row in found) <= least[1]


def test_reachability_and_the_gates(folder):
    [chain] = [row for row in rows(folder / "chain") if "layers" in row]
    assert chain["full_at"] == 7
    assert (folder / "printed3").read_text() == "isometric\nnot isometric\n"


def test_the_pictures_are_there_and_are_drawn_anew(folder):
    for method in ("sao", "rg-n", "lmp-s"):
        assert f"(pictures/{method}.png)" in TUTORIAL
        assert (DOCS / "pictures" / f"{method}.png").stat().st_size > 10_000
        assert (folder / f"{method}.png").stat().st_size > 10_000
        assert "</html>" in (folder / f"{method}.html").read_text()
