"""An audit's chain tells what of it is effective."""

import numpy as np

from sao_cli import audit_checkpoint, effective_weights, write_checkpoint


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


def test_a_chain_with_a_kernel_does_not(tmp_path):
    tensors = {"net.0.weight": np.ones((4, 3, 3, 3)), "net.1.weight": np.ones((2, 4, 3, 3))}
    write_checkpoint(tensors, tmp_path / "m.safetensors")
    chain = audit_checkpoint(tmp_path / "m.safetensors").chains[0]
    assert (chain.reachable, chain.effective, chain.effective_sparsity) == (1.0, None, None)
