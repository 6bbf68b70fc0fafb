"""Counts beyond all measure: one line that says so, before the memory is taken, whichever option they are given to."""

import pytest
from click.testing import CliRunner

from sao_cli.cli import main
from sao_cli.cli.shared.render import FEW

HUGE = ("2147483648", "1000000000000000000000")


@pytest.mark.parametrize("count", HUGE)
@pytest.mark.parametrize(
    "line",
    [
        "plan --layers N",
        "plan --cnn --depth N",
        "plan --lipconvnet --depth N0",
        "plan --cnn --width N",
        "plan --m N --n N",
        "plan --widths 256xN",
        "mask --layers N",
        "mask --m N --n N",
        "mask --widths 4,4xN",
        "mask --method gmp --layers N",
        "weights --layers N",
        "weights --method eoi --m N --n N",
        "reach --layers N",
        "kernel --c-out N",
        "kernel --scheme soc --terms N",
        "kernel --scheme eco --stride N",
        "spectrum --method sao --m 4 --n 4 --repeats N",
        "spectrum --layers N",
        "jacobian --width 8 --depth N",
        "jacobian --width 8 --depth 2 --inputs N",
        "jacobian --width N --depth 2",
        "jacobian --arch cnn --depth N",
        "jacobian --arch cnn --depth 2 --width N",
        "jacobian --arch cnn --depth 2 --image N",
        "jacobian --arch cnn --depth 2 --image 8 --inputs N",
        "jacobian --arch lipconvnet --depth N0",
        "jacobian --arch lipconvnet --depth 5 --inputs N",
        "train --depth N",
        "train --width N --depth 3",
        "train --arch cnn --depth N",
        "train --arch lipconvnet --depth N0",
    ],
)
def test_a_count_that_does_not_fit_is_refused_in_one_line(line, count):
    done = CliRunner().invoke(main, line.replace("N", count).split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "is free; choose" in done.stderr or "2**62; choose a smaller size" in done.stderr


def test_a_plan_of_many_layers_is_told_row_by_row_and_a_table_of_them_is_asked_for(monkeypatch):
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 50_000_000)
    asked = ["plan", "--layers", str(2 * FEW), "--m", "4", "--n", "4", "--d", "2"]
    done = CliRunner().invoke(main, [*asked, "--json"])
    assert (done.exit_code, done.stdout.count("\n")) == (0, 2 * FEW)
    done = CliRunner().invoke(main, [*asked, "--table"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"a table of over {FEW} rows needs" in done.stderr
    assert "--json has them one by one" in done.stderr
