"""Reports on whole networks: Jacobians by depth, and training by epoch."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sao_cli.data.arrays import Values
from sao_cli.reports.report import Report


@dataclass(frozen=True, kw_only=True)
class DepthJacobian(Report):
    """The singular values of a network's input-output Jacobian at one depth; see nets.jacobians.chain for definitions.

    Over the min(m, n) singular values of each of `inputs` Jacobians, all together. `mean` and `variance` are None where
    they leave the range of float64, and `reason` says why; the logarithms (base 10) never do. `resolved` is the
    fraction of the values that are known to within half of themselves; `log10_mean` and `log10_std` are of these, and
    `log10_sigma_min` is None where there are others. `rank` is how many values can be told from zero, the mean over
    inputs, of which some may be known to be no more. `participation` is the fraction within
    [0.5, 2]. `predicted_log10_mean_square` and `predicted_relative_variance` are mean-field theory's for the squared
    values. `log10_values` (inputs, min(m, n)), descending, -inf where not resolved, are no part of the report.
    """

    depth: int
    method: str
    activation: str
    gain: float
    m: int
    n: int
    inputs: int
    mean: float | None
    variance: float | None
    log10_sigma_max: float | None
    log10_sigma_min: float | None
    log10_mean: float | None
    log10_std: float | None
    rank: float | None
    resolved: float
    participation: float
    predicted_log10_mean_square: float | None
    predicted_relative_variance: float | None
    device: str
    dtype: str
    reason: str | None
    log10_values: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class InputOutputJacobian(Report):
    """The singular values of d outputs / d inputs of a network at some test images; see jacobian_spectrum.

    Over the min(m, n) values of each of `inputs` Jacobians (m, n), biases and all layers counted, all together.
    `log10_sigma_min` is None, and `reason` says why, where the least can't be told from zero.
    """

    inputs: int
    m: int
    n: int
    mean: float
    variance: float
    log10_sigma_max: float | None
    log10_sigma_min: float | None
    rank: float | None
    participation: float
    condition: float | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class EpochRow(Report):
    """One epoch of training. Epoch 0 is the network before any.

    `phase` is "train", or "finetune" after pruning, whose epochs count on. `train_loss` (cross-entropy) and
    `train_accuracy` are means over the epoch's samples, each before its batch was learnt from; those of epoch 0 are of
    all training images. `test_loss` and `test_accuracy` are after the epoch. Accuracies are fractions. `learning_rate`
    is the last step's, None in epoch 0. `sparsity` is of all weight matrices and kernels that the method may make
    sparse. `seconds` of wall clock are for training and testing, without the Jacobian.
    """

    data: str
    arch: str
    method: str
    depth: int
    width: int
    phase: str
    epoch: int
    epochs: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    learning_rate: float | None
    sparsity: float
    seconds: float
    jacobian: InputOutputJacobian | None


@dataclass(frozen=True, kw_only=True)
class ModuleJacobian(Report):
    """The singular values of a module's Jacobian at one input or several; see jacobian_spectrum for definitions.

    Where `exact` is False they are quantiles of an estimated distribution, whose CDF is off by about `error`, found
    with `products` products with J and J^T an input; `sigma_max` is then a lower bound, off by about
    `sigma_max_error`, `error_kind` tells that both are an "estimate", and what can't be told is None. `reason` says
    why. `singular_values` (inputs, min(m, n)), descending, are no part of the report.
    """

    module: str
    m: int
    n: int
    inputs: int
    sigma_max: float
    sigma_max_error: float | None
    sigma_min: float | None
    mean: float
    variance: float
    rank: float | None
    participation: float
    condition: float | None
    exact: bool
    error: float | None
    error_kind: str | None
    products: int
    device: str
    dtype: str
    reason: str | None
    singular_values: Values = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class SparsifiedLayer(Report):
    """What sparsify did with one layer, or why it left it as it was.

    `name` is the module's in the model. `kind` is "Linear", "Conv1d", "Conv2d" or "Conv3d", m and n are its outputs and
    inputs, of a convolution its channels, and `kernel` the taps of one along each axis; all are None for other
    modules. `c` and `d` count the weights, or kernels, of a column and a row, and are None where they are not all
    equal; `sparsity` is that of the mask, and `requested_sparsity` None where a degree was given. A `skipped` layer
    tells its `reason`, and nothing of a mask.
    """

    name: str
    kind: str | None = None
    m: int | None
    n: int | None
    kernel: tuple[int, ...] | None = None
    method: str | None = None
    d: int | None = None
    c: int | None = None
    sparsity: float | None = None
    requested_sparsity: float | None = None
    skipped: bool = False
    reason: str | None = None
