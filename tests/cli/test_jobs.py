"""--jobs and --cluster of verify, spectrum and prune: the bytes of one process, and what is refused."""

import numpy as np
import pytest

from sao_cli.io.checkpoints import write_checkpoint

CLUSTER = ("--cluster", "tcp://127.0.0.1:9")
ASKED = {
    "verify": ("verify", "m.safetensors", "--json"),
    "verify of a pipe": ("verify", "-", "--json"),
    "repeats": ("spectrum", "--d", 4, "--m", 16, "--n", 16, "--method", "lmp", "--repeats", 3, "--json"),
    "repeats of a file": ("spectrum", "m.safetensors", "--repeats", 3, "--activation", "tanh", "--json"),
    "facts": ("prune", "m.safetensors", "-o", "o.safetensors", "--sparsity", 0.5, "--json"),
}
OF_A_CLUSTER = [name for name in ASKED if "pipe" not in name]


@pytest.fixture
def sao(sao_in_process, tmp_path):
    """Where m.safetensors is a stack of four, and what it is piped."""
    rng = np.random.default_rng(0)
    layers = {f"net.{2 * k}.weight": rng.normal(size=(12, 12)) * (rng.random((12, 12)) < 0.4) for k in range(4)}
    write_checkpoint(layers, tmp_path / "m.safetensors")
    whole = (tmp_path / "m.safetensors").read_bytes()
    return lambda *arguments: sao_in_process(*arguments, stdin=whole if "-" in arguments else b"")


@pytest.mark.parametrize("asked", ASKED)
def test_two_processes_print_the_bytes_of_one(sao, asked):
    alone, several = sao(*ASKED[asked]), sao(*ASKED[asked], "--jobs", 2)
    assert several == alone
    assert alone.code in (0, 1)


def test_a_cluster_prints_the_bytes_of_one_process(sao, dask):
    for asked in OF_A_CLUSTER:
        assert sao(*ASKED[asked], "--cluster", dask.address) == sao(*ASKED[asked])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("verify", "-", *CLUSTER), "standard input is read here, and a cluster's workers read files; save it"),
        (("spectrum", "-", "--repeats", 2, *CLUSTER), "standard input is read here"),
        (("prune", "-", "-o", "o.safetensors", "--sparsity", 0.5, "--jobs", 2), "is read or written once"),
        (("verify", "m.safetensors", "--jobs", 2, *CLUSTER), "give one of them"),
        (("verify", "m.safetensors", "--jobs", 0), "--jobs"),
        (("verify", "--module", "m.py:net", "--example", "1x2", "--jobs", 2), "--jobs measures elsewhere, and a --mod"),
        (("spectrum", "--module", "m.py:net", "--example", "1x2", *CLUSTER), "--cluster measures elsewhere, and a"),
    ],
)
def test_what_can_t_be_measured_elsewhere_is_refused(sao, asked, said):
    done = sao(*asked)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
