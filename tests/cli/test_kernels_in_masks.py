"""What reads masks reads those of convolution kernels: which pairs of channels have a kernel."""

import io
import json

import numpy as np
import pytest
from click.testing import CliRunner

from sao_cli.cli import main
from sao_cli.data.kernel import Kernel
from sao_cli.io import Matrix, write_masks, write_weights
from sao_cli.masks.sao import sao_mask


def on(mask, size):
    """A kernel on `mask`, whose taps are 0 in places."""
    values = mask.to_dense(np.float64).reshape(*mask.shape, *(1 for _ in size)) * np.eye(*size)
    return Kernel(values, mask, "float32")


MASKS = [sao_mask(16, 8, 2, seed=1), sao_mask(16, 16, 4, seed=2), sao_mask(4, 16, 4, seed=3)]
STACKS = {
    "one kernel": ([on(MASKS[1], (3, 3))], MASKS[1:2]),
    "kernels": ([on(mask, (2, 3)) for mask in MASKS], MASKS),
    "kernels and a matrix": ([on(MASKS[0], (3, 3)), on(MASKS[1], (1, 1)), Matrix(MASKS[2])], MASKS),
}


def run(*arguments, stdin=None):
    done = CliRunner().invoke(main, [*map(str, arguments), "--json"], input=stdin)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return done.exit_code, [{key: value for key, value in row.items() if key != "source"} for row in rows]


@pytest.mark.parametrize("command", ["verify", "reach"])
@pytest.mark.parametrize("kind", STACKS)
def test_a_report_on_kernels_is_the_one_on_their_masks(tmp_path, command, kind):
    weights, masks = STACKS[kind]
    write_masks(masks, tmp_path / "masks.mtx")
    write_weights(weights, tmp_path / "kernels.safetensors")
    stream = io.BytesIO()
    write_weights(weights, stream)
    code, rows = run(command, tmp_path / "masks.mtx")
    assert code == 0
    assert len(rows) == len(masks) + (command == "reach")
    assert run(command, tmp_path / "kernels.safetensors") == (code, rows)
    assert run(command, stdin=stream.getvalue()) == (code, rows)


def test_a_layer_of_a_checkpoint_by_its_name(tmp_path):
    np.savez(tmp_path / "net.npz", conv=on(MASKS[1], (3, 3)).values, first=np.ones((4, 2, 3)), bias=np.ones(4))
    code, [row] = run("verify", tmp_path / "net.npz", "--tensor", "conv")
    assert code == 0
    assert (row["m"], row["n"], row["d"], row["nnz"]) == (16, 16, 4, 64)
    done = CliRunner().invoke(main, ["verify", str(tmp_path / "net.npz")])
    assert done.exit_code == 2
    assert "net.npz: conv: the file does not tell its groups of channels; --exclude leaves it out" in done.stderr


def test_what_needs_numbers_of_a_matrix_says_so(tmp_path):
    write_weights(on(MASKS[1], (3, 3)), tmp_path / "k.safetensors")
    done = CliRunner().invoke(main, ["weights", str(tmp_path / "k.safetensors")])
    assert done.exit_code == 2
    assert "a convolution kernel of 16x16x3x3, where a matrix is needed" in done.stderr
