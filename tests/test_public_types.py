"""Type checkers see the public names as they are: what is misspelt or of a wrong type is refused before it runs."""

import subprocess
import sys
from pathlib import Path

import pytest

import sao_cli
from sao_cli import nets
from sao_cli.io import checkpoints

ROOT = Path(__file__).parent.parent
SCRIPT = """
import sao_cli

mask: sao_cli.Mask = sao_cli.sao_mask(8, 8, 2, seed=1)
facts: sao_cli.Expansion = sao_cli.expansion(mask)
bound: float | None = facts.bound
network = sao_cli.nets.FNN(2, (8, 8, 4), method="sao")
summary: sao_cli.AuditSummary = sao_cli.audit_checkpoint("a.safetensors", include="net.*").summary
changes = sao_cli.prune_checkpoint("a.safetensors", "b.safetensors", sparsity=0.9)
share: list[float | None] = [row.kept_norm for row in changes.changed]

sao_cli.sao_mask(8, 8, 2, sede=1)
sao_cli.ramanujan_mask("8", 8, 2)
sao_cli.sao_maks(8, 8, 2)
facts.bownd
sao_cli.nets.FNN(2, metod="sao")
sao_cli.repair_checkpoint("a.safetensors")
changes.summary.repaired
"""
REFUSED = dict(
    enumerate(
        ["call-arg", "arg-type", "attr-defined", "attr-defined", "call-arg", "call-arg", "attr-defined"], start=12
    )
)


def test_a_users_mistakes_are_refused_and_the_rest_is_not(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", str(tmp_path / "script.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert {int(line.split(":")[1]): line.rsplit("[", 1)[1].rstrip("]") for line in errors} == REFUSED


@pytest.mark.parametrize("package", [sao_cli, sao_cli.io, checkpoints, nets], ids=lambda package: package.__name__)
def test_every_name_of_a_stub_loads(package):
    names = dir(package)
    assert names == sorted(package.__all__)
    assert all(getattr(package, name) is not None for name in names)
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nothing'"):
        package.nothing  # noqa: B018
