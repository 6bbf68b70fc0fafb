"""Sparse layers, initialisers and networks for torch. The public names load on first use, and torch with them."""

from sao_cli.lazy import lazy_names

_HOMES = {
    "SAOLinear": "sao_cli.nets.linear",
    "SAOSequential": "sao_cli.nets.sequential",
    "TwoStageLinear": "sao_cli.nets.two_stage",
    "initialize_": "sao_cli.nets.init",
    "sao_orthogonal_": "sao_cli.nets.init",
    "two_stage_orthogonal_": "sao_cli.nets.init",
    "eoi_orthogonal_": "sao_cli.nets.init",
    "SAOConv2d": "sao_cli.nets.convolution.sao",
    "SparseConv2d": "sao_cli.nets.convolution.sparse",
    "ECOConv2d": "sao_cli.nets.convolution.eco",
    "SOCConv2d": "sao_cli.nets.convolution.soc",
    "MaxMin": "sao_cli.nets.convolution.max_min",
    "kernel_": "sao_cli.nets.convolution.init",
    "delta_orthogonal_": "sao_cli.nets.convolution.init",
    "sao_delta_orthogonal_": "sao_cli.nets.convolution.init",
    "eco_orthogonal_": "sao_cli.nets.convolution.init",
    "soc_orthogonal_": "sao_cli.nets.convolution.init",
    "CNN": "sao_cli.nets.cnn",
    "LipConvNet": "sao_cli.nets.lipconvnet",
    "architecture_jacobian": "sao_cli.nets.image_jacobian",
    "sparsify": "sao_cli.nets.sparse_model",
    "effective_weight": "sao_cli.nets.sparse_model",
    "FNN": "sao_cli.nets.network",
    "activation_module": "sao_cli.nets.activations",
    "Training": "sao_cli.nets.training.loop",
    "TrainingSettings": "sao_cli.nets.training.settings",
    "network_jacobian": "sao_cli.nets.jacobian",
    "jacobian_spectrum": "sao_cli.nets.module_jacobian",
    "GradedProduct": "sao_cli.nets.long_products.graded",
}

__all__ = sorted(_HOMES)


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
