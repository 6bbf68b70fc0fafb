"""`SAOSequential`: an nn.Sequential that makes one gather between its sparse layers."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from sao_cli.nets.layers.linear import chain, is_open
from sao_cli.nets.layers.two_stage_linear import TwoStageLinear


class SAOSequential(nn.Sequential):  # type: ignore[misc]
    """An nn.Sequential, state_dict and all, that merges the permutations of consecutive SAO layers.

    The output permutation of one SAOLinear or TwoStageLinear and the input permutation of the next are composed into
    one gather, and features stay feature by feature in between; that needs elementwise activations without parameters
    (sao_cli.nets.layers.linear.ELEMENTWISE) between them. Before any other module, or one with hooks, features are put
    in their own order, so that every model gives what nn.Sequential gives, to rounding. The composition is made in
    each forward, in O(n), so that it is right after load_state_dict too. `SAOSequential(*sequential)` shares the
    modules of another.

    >>> import torch
    >>> from sao_cli.nets import SAOLinear
    >>> model = SAOSequential(SAOLinear(8, 8, 4, layer=1), nn.Tanh(), SAOLinear(8, 8, 4, layer=2))
    >>> x = torch.ones(1, 8)
    >>> torch.allclose(model(x), nn.Sequential(*model)(x))
    True
    """

    def forward(self, input: Tensor) -> Tensor:
        """The outputs of the last module. Raises SaoError where a layer's inputs are not of its width."""
        return chain(self._steps(), input)

    def _steps(self) -> Iterator[nn.Module]:
        for module in self:
            if is_open(module, TwoStageLinear.forward):
                yield module.first
                yield module.second
            else:
                yield module
