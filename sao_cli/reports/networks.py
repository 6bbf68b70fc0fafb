"""Reports on whole networks: Jacobians by depth, and training by epoch."""

from typing import Generic, NamedTuple, Never

import numpy as np
from numpy.typing import NDArray

from sao_cli.data.arrays import Values
from sao_cli.reports.changes import WhatStays
from sao_cli.reports.fusions import RankReduction
from sao_cli.reports.masks import Reached
from sao_cli.reports.report import Gap, Report, fact
from sao_cli.reports.weights import RepairFacts


class JacobianFacts(Report, Generic[Gap], theory=11):
    """The min(m, n) singular values of each of `inputs` Jacobians (m, n), all together."""

    m: int = fact("outputs, rows of a Jacobian")
    n: int = fact("inputs, columns of a Jacobian")
    inputs: int = fact("inputs at which Jacobians are taken")
    mean: float | Gap = fact("mean of the singular values; null where it leaves the range of float64", default=None)
    variance: float | Gap = fact("variance of the singular values; null as the mean is", default=None)
    rank: int | None = fact("singular values that can be told from zero; of several inputs, the least", default=None)
    participation: float = fact("share of the singular values within [0.5, 2]")
    reason: str | None = fact("why something is null, or how it was estimated")


class LogSigma(Report, theory=11):
    """The largest and the least singular value, as logarithms, which never leave a float's range."""

    log10_sigma_max: float | None = fact("of the largest singular value; null where all are zero", unit="log10")
    log10_sigma_min: float | None = fact(
        "of the least singular value; null where one can't be told from zero", unit="log10"
    )


class NetworkSetting(Report, theory=11):
    """Which network is measured, and how it was made."""

    depth: int = fact("layers that the Jacobian leads through; with --by-layer, the layer")
    method: str = fact('method that made the weights; empty, or "given", where that is not known')
    activation: str = fact("activation of every layer")
    gain: float = fact("factor on every weight; sigma_w of mean-field theory")
    sigma_b: float = fact("standard deviation of the biases that were drawn; 0 where none were", default=0.0)


class Computed(Report, theory=11):
    """Where and in what a Jacobian was computed."""

    device: str = fact("where it was computed")
    dtype: str = fact("what it was computed in")


class DepthJacobian(
    Computed,
    LogSigma,
    JacobianFacts[None],
    NetworkSetting,
    record="depth",
    table="depth method activation mean variance log10_sigma_max log10_sigma_min log10_mean rank participation "
    "predicted_log10_mean_square",
    spare="predicted_log10_mean_square rank participation variance log10_mean mean",
    theory=11,
):
    """The singular values of a network's input-output Jacobian at one depth: a line of `sao jacobian`.

    See nets.jacobians.chain for the definitions.
    """

    log10_mean: float | None = fact("mean of the logarithms of the values that are resolved", unit="log10")
    log10_std: float | None = fact("their standard deviation", unit="log10")
    resolved: float = fact("share of the values that are known to within half of themselves")
    predicted_log10_mean_square: float | None = fact(
        "what mean-field theory says of the mean of the squared values", unit="log10"
    )
    predicted_relative_variance: float | None = fact(
        "what mean-field theory says of the variance of the squared values", unit="over the square of their mean"
    )
    log10_values: NDArray[np.float64] = fact(
        "(inputs, min(m, n)) float64, descending, -inf where not resolved", repr=False
    )


class PooledFacts(Report, theory=11):
    """The singular values of all inputs together, as Lee et al. (ICLR 2020) tell them; `condition` is of an input."""

    std: float = fact("standard deviation of the singular values of all inputs together", unit="of the population")
    condition: float | None = fact("the largest s_1/s_k of an input; null where a Jacobian has not full rank")
    condition_pooled: float | None = fact(
        "the largest singular value of all inputs over the least; null where that can't be told from zero"
    )


class InputOutputJacobian(LogSigma, PooledFacts, JacobianFacts[Never]):
    """The singular values of d outputs / d inputs of a network at test images, biases and all layers counted."""


class RepairedLayer(RepairFacts, theory=13):
    """What a repair did to a pruned layer before training; a convolution's kernels are the rows of one matrix."""

    name: str = fact("name of the module in the network")


class HiddenLayer(Report, theory=17):
    """What goes through one hidden layer at many inputs; q of an input is the mean of h^2 over the layer's units."""

    layer: int = fact("its number, from 1")
    q_mean: float | None = fact("mean of q over the inputs; null where one leaves the range of float64")
    q_low: float | None = fact("5 % of the inputs have a lower q")
    q_median: float | None = fact("half of the inputs have a lower q")
    q_high: float | None = fact("95 % of the inputs have a lower q")
    activation_sparsity: float = fact("share of the units' outputs that are exactly 0")


class HiddenSignals(Report, theory=17):
    """What goes through the hidden layers of a network that began at the edge of chaos."""

    samples: int = fact("test images that are counted")
    activation_sparsity: float = fact("share of all hidden units' outputs that are exactly 0")
    by_layer: tuple[HiddenLayer, ...] = fact("the hidden layers, first layer first")


class EpochRow(
    WhatStays[None],
    record="epoch",
    table="epoch phase train_loss train_accuracy test_loss test_accuracy learning_rate sparsity effective_sparsity "
    "reachable seconds jacobian.mean jacobian.variance jacobian.log10_sigma_max jacobian.log10_sigma_min "
    "signals.activation_sparsity rare.fusions rare.zero rare.error_median rare.parameters",
    spare="reachable effective_sparsity sparsity phase learning_rate jacobian.variance jacobian.mean train_loss "
    "seconds",
    theory=14,
):
    """One epoch of training: a line of `sao train`. Epoch 0 is the network before any.

    Losses and accuracies of training are means over the epoch's samples, each before its batch was learnt from; those
    of epoch 0 are of all training images. What is told of the pruned ones is told of the matrices and kernels that the
    method may make sparse, by their masks: a weight that is kept counts, whatever its value is.
    """

    data: str = fact("what it is trained on")
    arch: str = fact("fnn, cnn, lipconvnet, lenet300 or lenet5")
    method: str = fact("method that makes the network sparse")
    depth: int = fact("N of the paper's networks; hidden layers, where `widths` lists them")
    width: int = fact("neurons, or channels, of a layer; the largest of `widths`")
    widths: tuple[int, ...] | None = fact("those of the hidden layers, where --widths or the architecture lists them")
    phase: str = fact('"train", or "finetune" after pruning, whose epochs count on')
    epoch: int = fact("epochs that were trained")
    epochs: int = fact("epochs of all phases")
    train_loss: float = fact("cross-entropy of the training images")
    train_accuracy: float = fact("share of the training images that are classified rightly")
    test_loss: float = fact("cross-entropy of the test images after the epoch")
    test_accuracy: float = fact("share of the test images that are classified rightly after the epoch")
    learning_rate: float | None = fact("that of the last step; null in epoch 0")
    sparsity: float = fact("share of zeros in the matrices and kernels that the method may make sparse")
    seconds: float = fact("training and testing, without the Jacobian", unit="seconds of wall clock")
    jacobian: InputOutputJacobian | None = fact("the network's Jacobian, in the epochs of --jacobian-at")
    jacobian_dense: InputOutputJacobian | None = fact(
        "in epoch 0, before pruning, of methods that prune before training"
    )
    jacobian_pruned: InputOutputJacobian | None = fact("in epoch 0, after pruning, of such methods")
    jacobian_repaired: InputOutputJacobian | None = fact("in epoch 0, after the repair of --isometry")
    repairs: tuple[RepairedLayer, ...] | None = fact("in epoch 0, what --isometry did, a layer each")
    signals: HiddenSignals | None = fact(
        "the hidden layers at the test images, of networks that begin at the edge of chaos", default=None
    )
    rare: RankReduction | None = fact("what fusing has made of the network, with --rare", default=None)


class ModuleJacobian(
    Computed,
    PooledFacts,
    JacobianFacts[Never],
    record="module",
    table="module m n inputs mean variance sigma_max sigma_min rank condition participation",
    spare="participation inputs variance condition rank mean",
    theory=11,
):
    """The singular values of a module's Jacobian at one input or several: a line of `sao jacobian --module`.

    `nets.jacobian_spectrum` gives it. Where they are not `exact` they are quantiles of an estimated distribution.
    """

    module: str = fact("the module's class")
    sigma_max: float = fact("largest singular value; a lower bound where `exact` is false")
    sigma_max_error: float | None = fact("about how far that may be off, where `exact` is false")
    sigma_min: float | None = fact("least singular value")
    exact: bool = fact("the values are computed, and no quantiles of an estimated distribution")
    error: float | None = fact("where they are not `exact`: how far the distribution function may be off")
    error_kind: str | None = fact('"bound", never exceeded, or "estimate"')
    products: int = fact("products with J and J^T, an input")
    singular_values: Values = fact("(inputs, min(m, n)) float64, descending", repr=False)


class SparsifiedLayer(Report, record="layer", theory=8):
    """What sparsify did with one layer, or why it left it as it was: a row of what `nets.sparsify` gives."""

    name: str = fact("name of the module in the model, and of the matrix where it has several")
    kind: str | None = fact(
        '"Linear", "Conv1d", "Conv2d" or "Conv3d"; "MultiheadAttention", "LSTM", "GRU", "RNN" or "Conv1D" of a matrix '
        "in one; null for other modules",
        default=None,
    )
    m: int | None = fact("outputs; of a convolution its channels")
    n: int | None = fact("inputs; of a convolution its channels")
    kernel: tuple[int, ...] | None = fact("taps of a convolution along each axis", default=None)
    method: str | None = fact("method that made the mask", default=None)
    d: int | None = fact("row degree: weights, or kernels, of each row; null where rows vary", default=None)
    c: int | None = fact("column degree: weights, or kernels, of each column; null where columns vary", default=None)
    sparsity: float | None = fact("share of zeros of the mask", default=None)
    requested_sparsity: float | None = fact("share of zeros that was asked for; null for a degree", default=None)
    skipped: bool = fact("the layer is left as it was", default=False)
    reason: str | None = fact("why", default=None)


class CompactedLayer(Report, record="layer", theory=8):
    """What compact_ did with one pruned layer: the layer that took its place, or why none did."""

    name: str = fact("name of the module in the model")
    kind: str | None = fact("its class")
    m: int | None = fact("outputs; of a convolution its channels")
    n: int | None = fact("inputs; of a convolution its channels")
    sparsity: float | None = fact("share of its weights that are 0")
    replaced_by: str | None = fact('"SAOLinear" or "CSRLinear"; null where it stays', default=None)
    seconds: float | None = fact("a forward pass of the dense layer", unit="seconds, median", default=None)
    new_seconds: float | None = fact("one of the fastest sparse layer", unit="seconds, median", default=None)
    reason: str | None = fact("why it stays", default=None)


class NetworkLayer(
    Report,
    record="layer",
    table="name shape nnz effective effective_sparsity unreached_inputs unreached_outputs lost_inputs lost_outputs",
    theory=15,
):
    """A weight of a network as it ran, in its context: a row of `Network.layers`; any of its uses counts."""

    name: str = fact("name of the parameter, or of the weight that is computed from one")
    shape: tuple[int, ...] = fact("its shape")
    inputs: int = fact("units that it reads")
    outputs: int = fact("units that it writes")
    parameters: int = fact("its numbers")
    nnz: int = fact("weights that are not zero")
    effective: int = fact("weights that lie on a path from an input to an output of the network")
    effective_sparsity: float | None = fact("share of weights that lie on none", unit="1 - effective/parameters")
    unreached_inputs: int = fact("units that it reads, which depend on no input of the network")
    unreached_outputs: int = fact("units that it writes, which depend on no input of the network")
    lost_inputs: int = fact("units of which it makes nothing that an output of the network reads")
    lost_outputs: int = fact("units that it writes, and no output of the network reads")


class NetworkFacts(Report, record="network", theory=15):
    """A whole network as it ran on an example: `Network.summary.facts`."""

    inputs: int = fact("units of the network's inputs")
    outputs: int = fact("units of the network's outputs")
    lost_inputs: int = fact("inputs that no output depends on")
    unreached_outputs: int = fact("outputs that depend on no input")
    reachable: float = fact("share of the input-output pairs that some path joins")
    effective_sparsity: float | None = fact("share of all weights that lie on no path", unit="1 - effective/parameters")
    collapsed: tuple[str, ...] = fact("weights of which nothing lies on a path")
    unknown: tuple[str, ...] = fact("operations of which nothing is known; the facts are upper bounds where there are")
    discrete: tuple[str, ...] = fact("operations that chose by what depends on the input, and went as at the example")
    norms: str = fact('"unit": a norm passes each unit to itself; "strict": it lets a group read all of itself')
    example: str = fact("the shapes of the inputs that it ran on, as --example takes them")


class NetworkEdges(NamedTuple):
    """What joins the layers of a network as it ran: pairs of places, as `Network.edges` has them.

    Place 0 is the network's inputs, k the k-th of `Network.layers`, the one past them the outputs. A value is told by
    the last layer that ran on the way to it. `reads` are the pairs (u, v) where v reads a value of u's; where v is not
    the next of u, that leads past layers or back. `joins` are those where one operation, as a sum, a product or a
    concatenation, reads values of u's and of v's, which ran later, so that the answer is v's: a shortcut.
    """

    reads: tuple[tuple[int, int], ...]
    joins: tuple[tuple[int, int], ...]


class NetworkDepth(
    Reached[None],
    record="depth",
    table="layer name inputs outputs reachable unreached_outputs lost_inputs full",
    spare="inputs outputs layer unreached_outputs",
    theory=15,
):
    """Who reaches whom up to one weight of a network as it ran, in the order run: a row of `Network.reach`.

    Odd paths and ranks are told of plain stacks alone.
    """

    name: str = fact("name of the weight")
    pairs: NDArray[np.bool_] = fact("(inputs, outputs) which input units reach which that it writes", repr=False)
