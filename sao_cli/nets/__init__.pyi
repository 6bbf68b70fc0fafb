"""Sparse layers, initialisers and networks for torch. The public names load on first use, and torch with them."""

# Layers
from sao_cli.nets.layers.linear import SAOLinear as SAOLinear
from sao_cli.nets.layers.sequential import SAOSequential as SAOSequential
from sao_cli.nets.layers.two_stage_linear import TwoStageLinear as TwoStageLinear
from sao_cli.nets.layers.csr_linear import CSRLinear as CSRLinear
from sao_cli.nets.layers.rare_linear import RareLinear as RareLinear
from sao_cli.nets.layers.sao_conv import SAOConv2d as SAOConv2d
from sao_cli.nets.layers.sparse_conv import SparseConv2d as SparseConv2d
from sao_cli.nets.layers.eco_conv import ECOConv2d as ECOConv2d
from sao_cli.nets.layers.soc_conv import SOCConv2d as SOCConv2d
from sao_cli.nets.layers.max_min import MaxMin as MaxMin
from sao_cli.nets.layers.activation import activation_module as activation_module

# Initialisers, in the manner of torch.nn.init
from sao_cli.nets.initialise.matrices import sao_orthogonal_ as sao_orthogonal_
from sao_cli.nets.initialise.matrices import two_stage_orthogonal_ as two_stage_orthogonal_
from sao_cli.nets.initialise.matrices import eoi_orthogonal_ as eoi_orthogonal_
from sao_cli.nets.initialise.matrices import initialize_ as initialize_
from sao_cli.nets.initialise.kernels import delta_orthogonal_ as delta_orthogonal_
from sao_cli.nets.initialise.kernels import sao_delta_orthogonal_ as sao_delta_orthogonal_
from sao_cli.nets.initialise.kernels import eco_orthogonal_ as eco_orthogonal_
from sao_cli.nets.initialise.kernels import soc_orthogonal_ as soc_orthogonal_
from sao_cli.nets.initialise.kernels import kernel_ as kernel_
from sao_cli.nets.initialise.sparsify import sparsify as sparsify
from sao_cli.nets.initialise.sparsify import effective_weight as effective_weight
from sao_cli.nets.initialise.pruned_state import load_pruned_ as load_pruned_
from sao_cli.nets.initialise.laws import initialise_by_ as initialise_by_
from sao_cli.nets.initialise.critical import critical_ as critical_
from sao_cli.nets.initialise.critical import set_variances_ as set_variances_
from sao_cli.nets.initialise.masked_isometry import repair_masked_ as repair_masked_

# Audits on a device
from sao_cli.nets.device_solver import DeviceSolver as DeviceSolver

# Networks
from sao_cli.nets.networks.fnn import FNN as FNN
from sao_cli.nets.networks.cnn import CNN as CNN
from sao_cli.nets.networks.lipconvnet import LipConvNet as LipConvNet
from sao_cli.nets.networks.lenet5 import LeNet5 as LeNet5

# Pruning at initialisation: scores are in sao_cli.nets.scores
from sao_cli.nets.scores.prune_module import prune_ as prune_
from sao_cli.nets.scores.prune_module import ModulePruning as ModulePruning

# Smaller networks
from sao_cli.nets.reduction.reduce_module import reduce_ as reduce_
from sao_cli.nets.reduction.reduce_module import ModuleReduction as ModuleReduction
from sao_cli.nets.reduction.compact_module import compact_ as compact_
from sao_cli.nets.reduction.running_network import ModuleToReduce as ModuleToReduce
from sao_cli.nets.reduction.reduce_module import ReducedModuleLayer as ReducedModuleLayer

# Jacobians
from sao_cli.nets.jacobians.chain import network_jacobian as network_jacobian
from sao_cli.nets.jacobians.module import jacobian_spectrum as jacobian_spectrum
from sao_cli.nets.jacobians.images import architecture_jacobian as architecture_jacobian
from sao_cli.nets.jacobians.trained import TrainedRun as TrainedRun
from sao_cli.nets.jacobians.long_products.graded import GradedProduct as GradedProduct

# Training
from sao_cli.nets.training.loop import Training as Training
from sao_cli.nets.training.settings import TrainingSettings as TrainingSettings
from sao_cli.nets.training.rare_training import make_rare_ as make_rare_
from sao_cli.nets.training.rare_training import rare_layers as rare_layers
from sao_cli.nets.training.rare_training import rare_loss as rare_loss
from sao_cli.nets.training.rare_training import rare_backward_ as rare_backward_
from sao_cli.nets.training.rare_training import rare_step_ as rare_step_

# Experiments of the papers
from sao_cli.nets.experiments.initial_variance import variance_row as variance_row
from sao_cli.nets.experiments.initial_variance import variance_table as variance_table
from sao_cli.nets.experiments.initial_variance import digits_like_mnist as digits_like_mnist
from sao_cli.nets.experiments.initial_variance import inputs_like_mnist as inputs_like_mnist
from sao_cli.nets.experiments.initial_variance import VarianceRow as VarianceRow
from sao_cli.nets.experiments.error_rates import error_rates as error_rates
from sao_cli.nets.experiments.error_rates import ErrorRates as ErrorRates
from sao_cli.nets.experiments.lenets import lenet_errors as lenet_errors
from sao_cli.nets.experiments.memorisation import memorisation_errors as memorisation_errors
from sao_cli.nets.experiments.sculpting import sculpted_errors as sculpted_errors
from sao_cli.nets.experiments.first_layer import first_layer_counts as first_layer_counts
from sao_cli.nets.experiments.first_layer import InputCounts as InputCounts
from sao_cli.nets.experiments.unsupervised_pruning import unsupervised_errors as unsupervised_errors
from sao_cli.nets.experiments.unsupervised_pruning import WayErrors as WayErrors
from sao_cli.nets.experiments.transfer import transfer_errors as transfer_errors
from sao_cli.nets.experiments.rank_reduction import rare_ablation as rare_ablation
from sao_cli.nets.experiments.rank_reduction import rare_strengths as rare_strengths
from sao_cli.nets.experiments.rank_reduction import rare_runs as rare_runs
from sao_cli.nets.experiments.rank_reduction import core_sizes as core_sizes
from sao_cli.nets.experiments.rank_reduction import p_values as p_values
from sao_cli.nets.experiments.rank_reduction import RareRuns as RareRuns
from sao_cli.nets.experiments.rank_reduction import CoreSizes as CoreSizes

# Reports: what the functions above give back
from sao_cli.reports.networks import ModuleJacobian as ModuleJacobian
from sao_cli.reports.networks import SparsifiedLayer as SparsifiedLayer
from sao_cli.reports.networks import CompactedLayer as CompactedLayer
from sao_cli.reports.networks import EpochRow as EpochRow
from sao_cli.reports.fusions import RankReduction as RankReduction
from sao_cli.reports.fusions import FactoredLayer as FactoredLayer
from sao_cli.reports.fusions import Fusion as Fusion
from sao_cli.reports.networks import HiddenSignals as HiddenSignals
from sao_cli.reports.networks import HiddenLayer as HiddenLayer
from sao_cli.reports.networks import InputOutputJacobian as InputOutputJacobian
from sao_cli.reports.networks import RepairedLayer as RepairedLayer
