"""Pictures: each function returns a matplotlib Figure, and `save_figure` writes it whole or not at all."""

from sao_cli.plots.audit_figures import audit_figure
from sao_cli.plots.criticality_figures import (
    correlation_figure,
    phase_figure,
    slope_figure,
    variance_depth_figure,
    variance_map_figure,
)
from sao_cli.plots.depth_histograms import depth_histogram_figure
from sao_cli.plots.depths import depth_figure
from sao_cli.plots.figure import MAX_PANELS, save_figure
from sao_cli.plots.mask_figures import eigenvalue_figure, reachability_figure
from sao_cli.plots.pruned_figures import (
    MaskImage,
    class_image_figure,
    image_sides,
    input_image_figure,
    layer_sparsity_figure,
    mask_image_figure,
)
from sao_cli.plots.rare_figures import compression_figure, dimension_figure
from sao_cli.plots.redundancy_figures import cosine_figure, fusing_figure, singular_value_figure
from sao_cli.plots.score_figures import score_histogram_figure, score_share_figure
from sao_cli.plots.spectrum_figures import Curve, ecdf_figure, spectrum_figure
from sao_cli.plots.training_figures import epoch_jacobian_figure, learning_figure

__all__ = [
    "MAX_PANELS",
    "Curve",
    "MaskImage",
    "audit_figure",
    "class_image_figure",
    "compression_figure",
    "correlation_figure",
    "cosine_figure",
    "depth_figure",
    "depth_histogram_figure",
    "dimension_figure",
    "ecdf_figure",
    "eigenvalue_figure",
    "epoch_jacobian_figure",
    "fusing_figure",
    "image_sides",
    "input_image_figure",
    "layer_sparsity_figure",
    "learning_figure",
    "mask_image_figure",
    "phase_figure",
    "reachability_figure",
    "save_figure",
    "score_histogram_figure",
    "score_share_figure",
    "singular_value_figure",
    "slope_figure",
    "spectrum_figure",
    "variance_depth_figure",
    "variance_map_figure",
]
