"""Sparse layers, initialisers and networks for torch. The public names load on first use, and torch with them."""

# Layers
from sao_cli.nets.linear import SAOLinear as SAOLinear
from sao_cli.nets.sequential import SAOSequential as SAOSequential
from sao_cli.nets.two_stage import TwoStageLinear as TwoStageLinear
from sao_cli.nets.convolution.sao import SAOConv2d as SAOConv2d
from sao_cli.nets.convolution.sparse import SparseConv2d as SparseConv2d
from sao_cli.nets.convolution.eco import ECOConv2d as ECOConv2d
from sao_cli.nets.convolution.soc import SOCConv2d as SOCConv2d
from sao_cli.nets.convolution.max_min import MaxMin as MaxMin
from sao_cli.nets.activations import activation_module as activation_module

# Initialisers, in the manner of torch.nn.init
from sao_cli.nets.init import sao_orthogonal_ as sao_orthogonal_
from sao_cli.nets.init import two_stage_orthogonal_ as two_stage_orthogonal_
from sao_cli.nets.init import eoi_orthogonal_ as eoi_orthogonal_
from sao_cli.nets.init import initialize_ as initialize_
from sao_cli.nets.convolution.init import delta_orthogonal_ as delta_orthogonal_
from sao_cli.nets.convolution.init import sao_delta_orthogonal_ as sao_delta_orthogonal_
from sao_cli.nets.convolution.init import eco_orthogonal_ as eco_orthogonal_
from sao_cli.nets.convolution.init import soc_orthogonal_ as soc_orthogonal_
from sao_cli.nets.convolution.init import kernel_ as kernel_
from sao_cli.nets.sparse_model import sparsify as sparsify
from sao_cli.nets.sparse_model import effective_weight as effective_weight

# Networks
from sao_cli.nets.network import FNN as FNN
from sao_cli.nets.cnn import CNN as CNN
from sao_cli.nets.lipconvnet import LipConvNet as LipConvNet

# Jacobians
from sao_cli.nets.jacobian import network_jacobian as network_jacobian
from sao_cli.nets.module_jacobian import jacobian_spectrum as jacobian_spectrum
from sao_cli.nets.image_jacobian import architecture_jacobian as architecture_jacobian
from sao_cli.nets.long_products.graded import GradedProduct as GradedProduct

# Training
from sao_cli.nets.training.loop import Training as Training
from sao_cli.nets.training.settings import TrainingSettings as TrainingSettings

# Reports: what the functions above give back
from sao_cli.nets.module_jacobian import ModuleJacobian as ModuleJacobian
from sao_cli.nets.sparse_model import SparsifiedLayer as SparsifiedLayer
from sao_cli.nets.training.loop import EpochRow as EpochRow
from sao_cli.nets.training.loop import InputOutputJacobian as InputOutputJacobian
