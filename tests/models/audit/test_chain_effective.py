"""An audit's chain tells what of it is effective."""

import numpy as np
import pytest

from sao_cli import audit_checkpoint, effective_weights, write_checkpoint
from sao_cli.pages.verdicts import _of_chain


def test_a_chain_of_matrices_counts_its_effective_weights(tmp_path):
    rng = np.random.default_rng(1)
    masks = [rng.random(shape) < 0.3 for shape in ((6, 5), (7, 6), (3, 7))]
    write_checkpoint(
        {f"net.{2 * i}.weight": mask.astype(float) for i, mask in enumerate(masks)}, tmp_path / "m.safetensors"
    )
    chain = audit_checkpoint(tmp_path / "m.safetensors").chains[0]
    expected = sum(int(layer.sum()) for layer in effective_weights(masks))
    assert 0 < expected < sum(int(mask.sum()) for mask in masks)
    assert (chain.effective, chain.effective_sparsity) == (expected, 1 - expected / (30 + 42 + 21))
    assert (chain.effective_compression, chain.collapsed_layers) == ((30 + 42 + 21) / expected, 0)


def test_a_chain_with_a_kernel_does_not(tmp_path):
    tensors = {"net.0.weight": np.ones((4, 3, 3, 3)), "net.1.weight": np.ones((2, 4, 3, 3))}
    write_checkpoint(tensors, tmp_path / "m.safetensors")
    chain = audit_checkpoint(tmp_path / "m.safetensors").chains[0]
    assert (chain.reachable, chain.effective, chain.effective_sparsity) == (1.0, None, None)
    assert chain.collapsed_layers == 0


@pytest.mark.parametrize(("first", "collapsed", "why"), [([1.0, 0.0], 0, "though no layer is empty"),
                                                         ([0.0, 0.0], 1, "1 empty layer in it")])  # fmt: skip
def test_a_dead_chain_is_told_with_and_without_an_empty_layer(tmp_path, first, collapsed, why):
    tensors = {"net.0.weight": np.diag(first), "net.2.weight": np.diag([0.0, 1.0])}
    write_checkpoint(tensors, tmp_path / "m.safetensors")
    audit = audit_checkpoint(tmp_path / "m.safetensors", checks=["reachable>0", "effective_sparsity<1", "nnz<2"])
    chain = audit.chains[0]
    assert (chain.reachable, chain.effective, chain.effective_compression) == (0, 0, None)
    assert (chain.lost_inputs, chain.unreached_outputs, chain.collapsed_layers) == (2, 2, collapsed)
    assert [(one.name, one.field, one.value) for one in audit.failures] == [
        ("chain 1", "reachable", 0),
        ("chain 1", "effective_sparsity", 1),
    ]
    assert f"is dead: no input reaches an output, {why}." in _of_chain(chain).text


def test_a_check_of_a_chain_that_names_do_not_tell_fails(tmp_path):
    write_checkpoint({"conv1.weight": np.eye(2), "fc2.weight": np.eye(2)}, tmp_path / "two.safetensors")
    write_checkpoint({"net.0.weight": np.eye(2)}, tmp_path / "one.safetensors")
    for name in ("two", "one"):
        [failure] = audit_checkpoint(tmp_path / f"{name}.safetensors", checks="reachable>0").failures
        assert failure.reason.startswith("can't tell: ")
        assert "--module FILE.py:NAME tells" in failure.reason
