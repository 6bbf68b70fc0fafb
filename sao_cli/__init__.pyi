"""Sparse neural networks: build masks and weights, verify eigenvalue conditions, reachability and isometry."""

__version__: str

# What flows between the functions
from sao_cli.data.mask import Mask as Mask
from sao_cli.data.matrix import Matrix as Matrix
from sao_cli.data.kernel import Kernel as Kernel

# Masks: where the ones are
from sao_cli.masks.sao import sao_mask as sao_mask
from sao_cli.masks.ramanujan import ramanujan_mask as ramanujan_mask
from sao_cli.masks.biregular import biregular_mask as biregular_mask
from sao_cli.masks.xnet import xnet_mask as xnet_mask
from sao_cli.masks.lrp import lrp_mask as lrp_mask
from sao_cli.masks.radix import radix_stack as radix_stack
from sao_cli.masks.two_stage import two_stage_mask as two_stage_mask
from sao_cli.masks.build_masks import mask_stack as mask_stack
from sao_cli.masks.degrees import feasible_degrees as feasible_degrees
from sao_cli.weights.plan import plan as plan

# Weights: values on a mask
from sao_cli.weights.orthogonal import sao_weight as sao_weight
from sao_cli.weights.orthogonal import dense_weight as dense_weight
from sao_cli.weights.two_stage_weight import two_stage_weight as two_stage_weight
from sao_cli.weights.givens import eoi_weight as eoi_weight
from sao_cli.weights.pruned import lmp_weight as lmp_weight
from sao_cli.weights.pruned import lrp_weight as lrp_weight
from sao_cli.weights.pruned import gmp_stack as gmp_stack
from sao_cli.weights.build_weights import put_values as put_values
from sao_cli.weights.build_weights import weight_stack as weight_stack
from sao_cli.weights.isometry import isometry as isometry
from sao_cli.pruning.scores.nearest_sao import projected_mask as projected_mask
from sao_cli.weights.repair_weight import repair as repair

# What stays of scored weights
from sao_cli.pruning.selection import select as select
from sao_cli.pruning.selection import KeptWeights as KeptWeights
from sao_cli.pruning.scores.chain_flow import chain_synflow as chain_synflow
from sao_cli.pruning.scores.chain_flow import ChainFlow as ChainFlow
from sao_cli.pruning.densities import density_masks as density_masks

# Kernels of convolutions
from sao_cli.weights.kernels.build_kernels import build_kernel as build_kernel
from sao_cli.weights.kernels.delta import delta_kernel as delta_kernel
from sao_cli.weights.kernels.eco import eco_kernel as eco_kernel
from sao_cli.weights.kernels.soc import soc_kernel as soc_kernel
from sao_cli.weights.kernels.soc import soc_error_bound as soc_error_bound

# Eigenvalue conditions and reachability of masks
from sao_cli.measure.graph.expansion import expansion as expansion
from sao_cli.measure.graph.expansion import is_ramanujan as is_ramanujan
from sao_cli.measure.graph.expansion import mask_singular_values as mask_singular_values
from sao_cli.measure.reach.effective import effective_weights as effective_weights
from sao_cli.measure.reach.reachability import reachability as reachability

# Singular values, and tests of them
from sao_cli.measure.values.singular_values import singular_values as singular_values
from sao_cli.measure.values.density import spectral_density as spectral_density
from sao_cli.measure.layer.spectrum import spectrum as spectrum
from sao_cli.measure.convolution.kernel_spectrum import kernel_spectrum as kernel_spectrum
from sao_cli.measure.convolution.operator_values import convolution_values as convolution_values
from sao_cli.measure.layer.jacobian import layer_jacobian as layer_jacobian
from sao_cli.measure.layer.activations import ActivationFunction as ActivationFunction
from sao_cli.measure.layer.activations import activation_value as activation_value
from sao_cli.measure.layer.activations import activation_derivative as activation_derivative
from sao_cli.measure.criticality.criticality import criticality as criticality
from sao_cli.measure.criticality.variance_map import edge_of_chaos as edge_of_chaos
from sao_cli.measure.criticality.variance_map import sparse_activation as sparse_activation
from sao_cli.measure.criticality.variance_map import VarianceMap as VarianceMap
from sao_cli.measure.criticality.fixed_points import fixed_variances as fixed_variances
from sao_cli.measure.criticality.fixed_points import FixedVariance as FixedVariance
from sao_cli.measure.criticality.correlation import correlation_gaps as correlation_gaps
from sao_cli.measure.criticality.phase_plane import edge_curve as edge_curve
from sao_cli.measure.criticality.phase_plane import fixed_point_counts as fixed_point_counts
from sao_cli.measure.criticality.variance_chains import variance_chains as variance_chains
from sao_cli.measure.layer.spectrum import compare_spectra as compare_spectra
from sao_cli.measure.layer.spectrum import Comparison as Comparison
from sao_cli.measure.values.ks import ks_test as ks_test
from sao_cli.measure.values.ks import ks_test_law as ks_test_law

# Redundancy: parallel rows and columns, and units that the layers after them do without
from sao_cli.measure.redundancy.fusing import fuse as fuse
from sao_cli.measure.redundancy.fusing import fuse_pair as fuse_pair
from sao_cli.measure.redundancy.fusing import Fused as Fused
from sao_cli.measure.redundancy.fusing_errors import fusing_errors as fusing_errors
from sao_cli.measure.redundancy.fusing_errors import FusingErrors as FusingErrors
from sao_cli.measure.redundancy.features import feature_counts as feature_counts
from sao_cli.measure.redundancy.features import reduce_features as reduce_features
from sao_cli.measure.redundancy.features import FeatureCounts as FeatureCounts
from sao_cli.measure.redundancy.features import FeatureLayer as FeatureLayer
from sao_cli.measure.redundancy.features import StatedBetween as StatedBetween
from sao_cli.measure.redundancy.features import ReducedFeatures as ReducedFeatures
from sao_cli.measure.redundancy.ranks import ranks as ranks
from sao_cli.measure.redundancy.ranks import Ranks as Ranks
from sao_cli.measure.redundancy.ranks import independent_columns as independent_columns
from sao_cli.measure.redundancy.pairs import nearest_pairs as nearest_pairs
from sao_cli.measure.redundancy.pairs import Pair as Pair
from sao_cli.measure.redundancy.pairs import zero_vectors as zero_vectors

# Reading and writing
from sao_cli.io import read_masks as read_masks
from sao_cli.io import read_matrices as read_matrices
from sao_cli.io import read_weights as read_weights
from sao_cli.io import write_masks as write_masks
from sao_cli.io import write_matrices as write_matrices
from sao_cli.io import write_weights as write_weights
from sao_cli.io import write_kernel as write_kernel

# Labelled samples
from sao_cli.io.datasets.samples import load_samples as load_samples
from sao_cli.io.datasets.samples import Samples as Samples

# The papers' tables and figures
from sao_cli.study.papers.paper_entries import paper_entries as paper_entries
from sao_cli.study.papers.paper_entries import paper_items as paper_items

# Whole checkpoints
from sao_cli.io.checkpoints import Checkpoint as Checkpoint
from sao_cli.io.checkpoints import open_checkpoint as open_checkpoint
from sao_cli.io.checkpoints import write_checkpoint as write_checkpoint
from sao_cli.models.audit.stream import audit_checkpoint as audit_checkpoint
from sao_cli.models.audit.stream import Audit as Audit
from sao_cli.models.stack import read_stack as read_stack
from sao_cli.models.stack import WeightStack as WeightStack
from sao_cli.models.stored_scores import score_stored as score_stored
from sao_cli.models.stored_scores import StoredScores as StoredScores
from sao_cli.models.prune import prune_checkpoint as prune_checkpoint
from sao_cli.models.prune_checks import prune_checks as prune_checks
from sao_cli.models.prune_checks import prune_failures as prune_failures
from sao_cli.models.prune_checks import epoch_checks as epoch_checks
from sao_cli.models.prune_checks import epoch_failures as epoch_failures
from sao_cli.models.repair import repair_checkpoint as repair_checkpoint
from sao_cli.models.reduce import reduce_checkpoint as reduce_checkpoint
from sao_cli.models.rank import rank_checkpoint as rank_checkpoint
from sao_cli.models.rank import RankReport as RankReport
from sao_cli.models.rank_row import rank_weight as rank_weight
from sao_cli.models.rank_row import Redundancy as Redundancy
from sao_cli.models.audit.row import audit_weight as audit_weight
from sao_cli.models.audit.chains import audit_chain as audit_chain

# Networks as they ran, of torch's modules
from sao_cli.nets.tracing.network import Network as Network
from sao_cli.nets.tracing.network import NetworkSummary as NetworkSummary
from sao_cli.nets.tracing.audited import audit_model as audit_model
from sao_cli.nets.tracing.audited import ModuleAudit as ModuleAudit
from sao_cli.nets.tracing.used_weights import weights_as_used as weights_as_used
from sao_cli.nets.tracing.used_weights import UsedWeight as UsedWeight
from sao_cli.nets.tracing.measured_weights import module_spectra as module_spectra
from sao_cli.nets.tracing.measured_weights import module_expansions as module_expansions
from sao_cli.nets.tracing.measured_weights import MeasuredWeights as MeasuredWeights
from sao_cli.nets.tracing.pruned_network import PrunedNetwork as PrunedNetwork
from sao_cli.nets.tracing.loading import load_network as load_network
from sao_cli.nets.tracing.loading import load_module as load_module
from sao_cli.nets.tracing.loading import load_checkpoint_ as load_checkpoint_

# Many runs, here or on a cluster
from sao_cli.study.sweeping import sweep as sweep
from sao_cli.study.executors import executor as executor
from sao_cli.base.in_order import run_in_order as run_in_order

# Runs and checkpoints side by side
from sao_cli.study.comparing import compare as compare
from sao_cli.study.comparing import SideBySide as SideBySide
from sao_cli.models.side_by_side import compare_checkpoints as compare_checkpoints
from sao_cli.reports.comparisons import ComparedLayer as ComparedLayer
from sao_cli.reports.comparisons import ComparedCheckpoint as ComparedCheckpoint
from sao_cli.reports.comparisons import ComparedFacts as ComparedFacts
from sao_cli.reports.comparisons import ComparedField as ComparedField
from sao_cli.reports.comparisons import LearningCurve as LearningCurve

# What names mean, and what an installation lacks
from sao_cli.reports.explanations import explain as explain
from sao_cli.reports.explanations import topics as topics
from sao_cli.reports.explanations import Explanation as Explanation
from sao_cli.reports.explanations import TopicNames as TopicNames
from sao_cli.study.installation import doctor as doctor
from sao_cli.reports.installations import Finding as Finding

# Reports: what the functions above give back
from sao_cli.reports.report import Report as Report
from sao_cli.reports.frames import Reports as Reports
from sao_cli.reports.frames import Rows as Rows
from sao_cli.reports.masks import Plan as Plan
from sao_cli.reports.masks import ConvPlan as ConvPlan
from sao_cli.reports.masks import Expansion as Expansion
from sao_cli.reports.masks import Depth as Depth
from sao_cli.reports.networks import NetworkLayer as NetworkLayer
from sao_cli.reports.networks import NetworkFacts as NetworkFacts
from sao_cli.reports.networks import NetworkDepth as NetworkDepth
from sao_cli.reports.masks import ListedUnits as ListedUnits
from sao_cli.reports.masks import ReachSummary as ReachSummary
from sao_cli.reports.spectra import LayerSpectrum as LayerSpectrum
from sao_cli.reports.spectra import KernelSpectrum as KernelSpectrum
from sao_cli.reports.spectra import KSTest as KSTest
from sao_cli.reports.spectra import Repeats as Repeats
from sao_cli.reports.spectra import Within as Within
from sao_cli.reports.criticalities import Criticality as Criticality
from sao_cli.reports.criticalities import FixedPoint as FixedPoint
from sao_cli.reports.criticalities import PredictedJacobian as PredictedJacobian
from sao_cli.reports.criticalities import CriticalityThresholds as CriticalityThresholds
from sao_cli.reports.paper_rows import PaperEntry as PaperEntry
from sao_cli.reports.paper_rows import PaperItem as PaperItem
from sao_cli.reports.networks import DepthJacobian as DepthJacobian
from sao_cli.reports.audits import WeightFacts as WeightFacts
from sao_cli.reports.audits import AuditRow as AuditRow
from sao_cli.reports.audits import AuditChain as AuditChain
from sao_cli.reports.audits import AuditSummary as AuditSummary
from sao_cli.reports.audits import AuditComparison as AuditComparison
from sao_cli.reports.audits import ComparisonSummary as ComparisonSummary
from sao_cli.reports.audits import CheckFailure as CheckFailure
from sao_cli.reports.weights import Built as Built
from sao_cli.reports.weights import Isometry as Isometry
from sao_cli.reports.weights import Distance as Distance
from sao_cli.reports.weights import RepairFacts as RepairFacts
from sao_cli.reports.weights import Repair as Repair
from sao_cli.reports.changes import Changes as Changes
from sao_cli.reports.changes import StoredWeight as StoredWeight
from sao_cli.reports.changes import SkippedWeight as SkippedWeight
from sao_cli.reports.changes import PrunedWeight as PrunedWeight
from sao_cli.reports.changes import PruneSummary as PruneSummary
from sao_cli.reports.changes import RepairedWeight as RepairedWeight
from sao_cli.reports.reductions import ReducedWeight as ReducedWeight
from sao_cli.reports.reductions import ReduceSummary as ReduceSummary
from sao_cli.reports.changes import RepairSummary as RepairSummary
from sao_cli.reports.sensitivities import PooledJacobian as PooledJacobian
from sao_cli.reports.sensitivities import SensitivityLayer as SensitivityLayer
from sao_cli.reports.sensitivities import SensitivitySummary as SensitivitySummary
from sao_cli.reports.redundancies import RankRow as RankRow
from sao_cli.reports.redundancies import RankSummary as RankSummary
from sao_cli.reports.redundancies import AxisRedundancy as AxisRedundancy
from sao_cli.reports.redundancies import NearPair as NearPair
from sao_cli.reports.redundancies import SpareFeatures as SpareFeatures
from sao_cli.reports.sweeps import RunFailure as RunFailure
from sao_cli.reports.sweeps import SweepSummary as SweepSummary

# Errors and warnings
from sao_cli.base.errors import SaoError as SaoError
from sao_cli.base.errors import SaoWarning as SaoWarning

# For torch
from sao_cli import nets as nets
