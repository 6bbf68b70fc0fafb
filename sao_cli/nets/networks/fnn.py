"""The paper's fully-connected network, for any depth, widths and method."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from sao_cli.base.errors import FormatError, InfeasibleError, SaoError
from sao_cli.base.memory import MODULE_BYTES, require_layers, require_memory
from sao_cli.base.names import check
from sao_cli.base.threads import one_thread
from sao_cli.catalog import LAYERS
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import PRECISIONS
from sao_cli.masks.degrees import check_widths, resolve_degree
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.nets.initialise.critical import draw_biases_
from sao_cli.nets.initialise.matrices import check_gain, whole_degree
from sao_cli.nets.initialise.sparsify import effective_weight
from sao_cli.nets.layers.activation import activation_module
from sao_cli.nets.networks.plain_layers import linear_layer
from sao_cli.weights.biases import check_sigma_b
from sao_cli.weights.build_weights import METHODS, weight_stack
from sao_cli.weights.orthogonal import dense_weight

PAPER_WIDTHS = (1024, 512, 256, 10)  # SAO, Table 1


class FNN(nn.Module):  # type: ignore[misc]
    """The fully-connected network of SAO's Table 1, initialised by any method.

    Its layers are those between successive `widths`, inputs first, where the next to last width w is repeated:
    depth - 1 layers w x w follow the one that first has w outputs. FNN(50) is the paper's network for N = 50, of 52
    layers: 1024-512, 512-256, 49 times 256-256, 256-10. FNN(1, widths) has just these widths.

    `method`, `degree`, `sparsity`, `values`, `arrangement`, `seed` and `gain` are those of weight_stack; the gain 1.1
    on every layer and the degree 4 (by neither option the nearest feasible to it) are the paper's. With `dense_ends`
    (our reading; the paper tells it of its CNNs) the first and the last layer are dense and orthogonal, and layer l of
    the others is layer l of weight_stack. Without, all layers are that stack's. Biases begin at 0, or with `sigma_b`
    are N(0, sigma_b^2) from streams of their own, so that it changes no weight. `activation`, one of ACTIVATIONS,
    follows every layer but the last.

    A network is often counted by its weight matrices: a network of L of them, of width w, is FNN(L - 1, (n, w, m)).

    `layers="masked"` keeps a sparse layer as an nn.Linear with a torch.nn.utils.prune mask, which computes as much as a
    dense one; "blocks" keeps it as an SAOLinear with the same weights, in O(m d). That needs method "sao".

    `dtype` and `device` are torch's defaults unless told. torch's random state is left alone. The modules are in
    `net`, an nn.Sequential (for blocks an SAOSequential), where each layer is followed by its activation.

    Raises InfeasibleError for a depth below 1, and for widths and degrees that the method can't have; SaoError for
    unknown names and options that do not go together; MemoryLimitError for what would not fit. The cost is
    weight_stack's, and O(m n) a masked layer.

    >>> model = FNN(3, (64, 32, 16, 10), degree=4)
    >>> [tuple(weight.shape) for weight in model.layer_weights()]
    [(32, 64), (16, 32), (16, 16), (16, 16), (10, 16)]
    >>> model(torch.zeros(2, 64)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        depth: int = 50,
        widths: Sequence[int] = PAPER_WIDTHS,
        *,
        method: str = "sao",
        degree: int | None = None,
        sparsity: float | None = None,
        values: str | None = None,
        arrangement: str = "random",
        activation: str | ActivationFunction = "tanh",
        gain: float = 1.1,
        bias: bool = True,
        sigma_b: float = 0.0,
        dense_ends: bool = True,
        layers: str = "masked",
        seed: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.widths = fnn_widths(depth, widths)
        check("layers", layers, LAYERS)
        activation = ActivationFunction.of(activation)
        check_gain(gain)
        check_sigma_b(sigma_b)
        if sigma_b and not bias:
            raise SaoError(f"sigma_b {sigma_b:g} is of biases, and with bias=False there are none; leave one out")
        if dense_ends and len(self.widths) < 4:
            raise InfeasibleError(
                f"widths {self.widths} leave no layer between the two dense ends; choose a greater depth or "
                "dense_ends=False"
            )
        place = {"device": device or torch.get_default_device(), "dtype": dtype or torch.get_default_dtype()}
        _check_dtype(place["dtype"])
        asked = {"method": method, "values": values, "arrangement": arrangement, "gain": gain, "seed": seed}
        asked |= {"d": whole_degree(degree), "sparsity": sparsity}
        make = _masked_layers if layers == "masked" else _block_layers
        made = make(self.widths[1:-1] if dense_ends else self.widths, asked, bias, place)
        if dense_ends:
            (n, hidden), (last, m) = self.widths[:2], self.widths[-2:]
            made = [
                _dense_end(n, hidden, 0, gain, seed, bias, place),
                *made,
                _dense_end(last, m, len(made) + 1, gain, seed, bias, place),
            ]
        if sigma_b:
            draw_biases_(made, sigma_b, seed)
        modules = [module for layer in made for module in (layer, activation_module(activation))]
        self.net = _sequential(layers, modules[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The outputs (..., widths[-1]) for inputs (..., widths[0])."""
        return self.net(x)

    def layer_weights(self) -> list[Matrix]:
        """The weights that the next forward uses, first layer first, in the parameters' dtype. O(m n) a layer.

        >>> FNN(1, (8, 8), degree=2, gain=1.0, dense_ends=False).layer_weights()
        [Matrix(8 x 8, nnz=16, float32)]
        """
        return [_weight(module) for module in list(self.net)[::2]]


def fnn_widths(depth: int, widths: Sequence[int] = PAPER_WIDTHS) -> list[int]:
    """All layer widths of FNN(depth, widths), inputs first: `widths`, the next to last of them `depth` times.

    Raises InfeasibleError for a depth below 1, and for widths that describe no layer, MemoryLimitError for too many.

    >>> fnn_widths(3)
    [1024, 512, 256, 256, 256, 10]
    """
    check_widths(widths)
    if depth < 1:
        raise InfeasibleError(f"depth {depth}: the network has at least the layers between its widths, at depth 1")
    require_layers(depth, "a network", MODULE_BYTES)
    return [*widths[:-1], *[widths[-2]] * (depth - 1), widths[-1]]


def _masked_layers(widths: list[int], asked: dict[str, Any], bias: bool, place: dict[str, Any]) -> list[nn.Module]:
    if torch.device(place["device"]).type == "cpu":
        places = sum(m * n for n, m in itertools.pairwise(widths))
        needed = 3 * places * place["dtype"].itemsize  # weight_orig, weight_mask, and their product
        require_memory(needed, f"{len(widths) - 1} masked layers", 'choose layers="blocks", or smaller sizes')
    return [linear_layer(weight, bias, place) for weight in weight_stack(widths, **asked)]


def _block_layers(widths: list[int], asked: dict[str, Any], bias: bool, place: dict[str, Any]) -> list[nn.Module]:
    from sao_cli.nets.layers.linear import SAOLinear

    check("method", asked["method"], METHODS)
    if asked["method"] != "sao" or asked["values"] not in (None, "orthogonal"):
        raise SaoError(
            f"layers=\"blocks\" are of method 'sao' with orthogonal values, not {asked['method']!r} with "
            f'{asked["values"] or "its own"}; choose layers="masked"'
        )
    made = []
    for layer, (n, m) in enumerate(itertools.pairwise(widths), 1):
        d = resolve_degree(m, n, d=asked["d"], sparsity=asked["sparsity"])
        block = SAOLinear(n, m, d, bias, arrangement=asked["arrangement"], seed=asked["seed"], layer=layer, **place)
        with torch.no_grad():
            block.weight.mul_(asked["gain"])
            if block.bias is not None:
                block.bias.zero_()
        made.append(block)
    return made


def _dense_end(n: int, m: int, layer: int, gain: float, seed: int, bias: bool, place: dict[str, Any]) -> nn.Linear:
    with one_thread(min(m, n)):  # what a QR's panels are wide; a second thread on busy cores: 15 s, not 0.07 s
        weight = dense_weight(m, n, seed=seed, layer=layer)
    assert weight.values is not None
    return linear_layer(Matrix(weight.mask, gain * weight.values), bias, place)


def _sequential(layers: str, modules: list[nn.Module]) -> nn.Sequential:
    if layers == "masked":
        return nn.Sequential(*modules)
    from sao_cli.nets.layers.sequential import SAOSequential

    return SAOSequential(*modules)


def _weight(layer: nn.Module) -> Matrix:
    return Matrix.of(effective_weight(layer)) if isinstance(layer, nn.Linear) else layer.to_matrix()


def _check_dtype(dtype: Any) -> None:
    if str(dtype).removeprefix("torch.") not in PRECISIONS:
        raise FormatError(f"dtype {dtype}; weights are one of {', '.join(PRECISIONS)}")
