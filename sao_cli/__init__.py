"""Sparse neural networks: build masks and weights, verify eigenvalue conditions, reachability and isometry.

The public names load on first use (PEP 562), so that a command pays only for what it needs.
"""

from sao_cli.lazy import lazy_names

__version__ = "0.1.0"

_HOMES = {
    "Mask": "sao_cli.mask",
    "Matrix": "sao_cli.matrix",
    "Kernel": "sao_cli.kernel",
    "sao_mask": "sao_cli.masks.sao",
    "ramanujan_mask": "sao_cli.masks.ramanujan",
    "biregular_mask": "sao_cli.masks.biregular",
    "xnet_mask": "sao_cli.masks.xnet",
    "lrp_mask": "sao_cli.masks.lrp",
    "radix_stack": "sao_cli.masks.radix",
    "two_stage_mask": "sao_cli.masks.two_stage",
    "mask_stack": "sao_cli.masks.stack",
    "feasible_degrees": "sao_cli.masks.degrees",
    "plan": "sao_cli.masks.degrees",
    "sao_weight": "sao_cli.weights.orthogonal",
    "dense_weight": "sao_cli.weights.orthogonal",
    "two_stage_weight": "sao_cli.weights.two_stage",
    "eoi_weight": "sao_cli.weights.givens",
    "lmp_weight": "sao_cli.weights.pruning",
    "lrp_weight": "sao_cli.weights.pruning",
    "gmp_stack": "sao_cli.weights.pruning",
    "isometry": "sao_cli.weights.isometry",
    "projected_mask": "sao_cli.weights.projection",
    "repair": "sao_cli.weights.repair",
    "put_values": "sao_cli.weights.stack",
    "weight_stack": "sao_cli.weights.stack",
    "build_kernel": "sao_cli.weights.kernels.build",
    "delta_kernel": "sao_cli.weights.kernels.delta",
    "eco_kernel": "sao_cli.weights.kernels.eco",
    "soc_kernel": "sao_cli.weights.kernels.soc",
    "soc_error_bound": "sao_cli.weights.kernels.soc",
    "expansion": "sao_cli.measure.expansion",
    "is_ramanujan": "sao_cli.measure.expansion",
    "mask_singular_values": "sao_cli.measure.expansion",
    "reachability": "sao_cli.measure.reachability",
    "singular_values": "sao_cli.measure.singular_values",
    "spectral_density": "sao_cli.measure.density",
    "activation_derivative": "sao_cli.measure.activations",
    "layer_jacobian": "sao_cli.measure.jacobian",
    "spectrum": "sao_cli.measure.spectrum",
    "compare_spectra": "sao_cli.measure.spectrum",
    "Comparison": "sao_cli.measure.spectrum",
    "kernel_spectrum": "sao_cli.measure.convolution.report",
    "convolution_values": "sao_cli.measure.convolution.values",
    "audit_weight": "sao_cli.measure.auditing.audit",
    "audit_chain": "sao_cli.measure.auditing.chains",
    "ks_test": "sao_cli.measure.ks",
    "ks_test_law": "sao_cli.measure.ks",
    "read_masks": "sao_cli.io",
    "write_masks": "sao_cli.io",
    "read_matrices": "sao_cli.io",
    "read_weights": "sao_cli.io",
    "open_checkpoint": "sao_cli.io.checkpoints",
    "write_checkpoint": "sao_cli.io.checkpoints",
    "write_kernel": "sao_cli.io",
    "write_weights": "sao_cli.io",
    "write_matrices": "sao_cli.io",
    "nets": "sao_cli.nets",
    "SaoError": "sao_cli.errors",
    "SaoWarning": "sao_cli.errors",
}

__all__ = ["__version__", *sorted(_HOMES)]


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
