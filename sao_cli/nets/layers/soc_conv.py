"""`SOCConv2d`: the exponential of a skew-symmetric convolution, which is orthogonal with zero padding too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.rng import VALUES, generator
from sao_cli.nets.layers.orthogonal_conv import OrthogonalConv2d, own_precision

SQUARINGS = 5  # of the Gram matrix in norm_bound: at most 4.5 % above the norm for 256 channels


class SOCConv2d(OrthogonalConv2d):
    """y = sum_{j < T} L^j x / j!, where L is a zero-padded convolution whose operator is skew-symmetric; T is `terms`.

    Skew Orthogonal Convolution (Singla and Feizi, ICML 2021). L has the kernel M[i, j, a] - M[j, i, -a], with a
    counted from the centre of an odd size, times min(1, scale/b), where b is a bound of its norm that skew_kernel
    proves. Zero padding cuts the same rows and columns out of the operator, so L stays skew-symmetric on every image,
    with eigenvalues i w, |w| <= `scale`, and exp(L) is orthogonal. The T terms are a polynomial of L, hence normal,
    and miss each e^{iw} by at most scale^T/T! = `error_bound`. So all singular values of the layer are within
    `error_bound` of 1; the terms are summed by Horner's rule, exactly and in T - 1 convolutions.

    Stride, unequal channels and `degree` as OrthogonalConv2d has it: columns, or rows, of an orthogonal operator. With
    a degree d (SAO-SOC) L joins the d channels of a group only, group by group and each scaled by itself, so that the
    exponential does, too; the outputs of the groups are then permuted. All c channels are computed.

    `weight` (K, d, d, k_1, k_2) is M. It begins Gaussian with variance 1/(d k_1 k_2), from `seed` and `layer`; its b is
    above 1 as a rule, so that L begins at the scale. Gradients flow through the scaling, so that they are those of the
    function that is applied. The bias begins at 0. O((T - 1) d k_1 k_2) a pixel and output, and O(c d^2 k_1 k_2) a
    call for the bound.

    Raises InfeasibleError for a degree that does not divide c, SaoError for an even size, for terms below 1, a scale
    that is not positive, and terms too few to be near an exponential, MemoryLimitError for what would not fit.

    >>> layer = SOCConv2d(4, 8, 3)
    >>> layer
    SOCConv2d(4, 8, kernel_size=(3, 3), stride=1, bias=True, terms=12, scale=1.0)
    >>> x = torch.ones(1, 4, 5, 5)
    >>> bool(abs(layer(x).norm() / x.norm() - 1) < 1e-6), layer.error_bound < 3e-9
    (True, True)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int = 1,
        *,
        terms: int = 12,
        scale: float = 1.0,
        degree: int | None = None,
        bias: bool = True,
        seed: int = 0,
        layer: int = 1,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, degree, seed, layer, dtype)
        _check_exponential(self.kernel_size, terms, scale)
        self.terms, self.scale = terms, float(scale)
        # which no forward pass reads: it tells a reader of the state_dict what the weight is
        self.register_buffer("series", torch.tensor([float(terms), float(scale)], device=device))
        inputs, outputs = self._groups_of_channels()
        self._set_groups(inputs, outputs, device)
        size = inputs.shape[1]
        shape = (self.groups, size, size, *self.kernel_size)
        require_memory(6 * 8 * math.prod(shape), f"{self.groups} kernels of {size} channels", "choose fewer channels")
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    @property
    def error_bound(self) -> float:
        """scale^T/T!: how far from 1 a singular value can be, rounding aside."""
        return exponential_error(self.scale, self.terms)

    def reset_parameters(self) -> None:
        """Fill M with the Gaussian values of the layer's seed, the same every time, and the bias with 0."""
        if self.weight.is_meta:
            return
        drawn = generator(self.seed, self.layer, VALUES).standard_normal(tuple(self.weight.shape))
        with torch.no_grad():
            self.weight.copy_(torch.from_numpy(drawn) / math.sqrt(math.prod(self.weight.shape[2:])))
            if self.bias is not None:
                self.bias.zero_()

    def skew_kernel(self) -> Tensor:
        """(K, d, d, k_1, k_2): the kernels of L, whose operators have norms of at most `scale`, differentiable.

        On any image zero padding makes the operator a compression of the convolution on Z^2, whose norm is the
        largest of its transform, sum_a L_a e^{i<a, t>} = [L_1 ... L_k] (e(t) x I): at most sqrt(k_1 k_2) times that of
        the d x d k_1 k_2 matrix in which all taps stand side by side. (That is one of the four bounds of "Fantastic
        Four", Singla and Feizi, ICLR 2021; the one with the taps one above the other equals it where L is skew.) For
        Gaussian M and 3 x 3 taps it is about twice the norm; a `scale` above 1, with more terms, makes up for that.
        """
        skew = self.weight - self.weight.transpose(1, 2).flip(3, 4)
        with own_precision(skew):
            bound = math.sqrt(math.prod(self.kernel_size)) * norm_bound(skew.flatten(2))
            return skew * (self.scale / bound.clamp(min=self.scale))[:, None, None, None, None]

    def extra_repr(self) -> str:
        """The layer's sizes, as print shows them."""
        return f"{super().extra_repr()}, terms={self.terms}, scale={self.scale}"

    def _convolved(self, x: Tensor) -> Tensor:
        kernel = self.skew_kernel().flatten(0, 1)
        padding = tuple(k // 2 for k in self.kernel_size)
        out = x
        for j in range(self.terms - 1, 0, -1):
            out = x + conv2d(out, kernel / j, padding=padding, groups=self.groups)
        return out


def norm_bound(matrices: Tensor) -> Tensor:
    """(K,) numbers that no singular value of the K matrices (K, m, n) exceeds, by Gram iteration; differentiable.

    sigma_max^(2 p) is the largest eigenvalue of (A A^T)^p, and at most its Frobenius norm; the p-th power comes by
    SQUARINGS squarings, rescaled so that nothing overflows (Delattre et al., ICML 2023). It is above the norm by the
    factor m^(1/(4 p)) at most. O(K (m^2 n + m^3)).

    >>> bool(3 - 1e-6 < norm_bound(torch.diag(torch.tensor([3.0, 2.0, 0.0]))[None]) < 3 * 3 ** (1 / 128))
    True
    """
    tiny = torch.finfo(matrices.dtype).tiny
    # The result is exactly proportional to the matrices, so that their size counts as a constant for the derivative.
    size = matrices.detach().abs().amax(dim=(1, 2)).clamp(min=tiny)
    matrices = matrices / size[:, None, None]
    gram = matrices @ matrices.transpose(-2, -1)  # which TorchScript's ONNX exporter knows, as it does not mT
    logarithm, exponent = torch.zeros_like(size), 0.5
    for step in range(SQUARINGS + 1):
        norm = torch.linalg.vector_norm(gram, dim=(1, 2)).clamp(min=tiny)
        logarithm = logarithm + exponent * norm.log()
        if step < SQUARINGS:
            gram = gram / norm[:, None, None]
            gram, exponent = gram @ gram, exponent / 2
    return size * logarithm.exp()


def exponential_error(scale: float, terms: int) -> float:
    """scale^terms/terms!, the error of that many terms of exp(i w), |w| <= scale (Taylor's remainder).

    >>> exponential_error(1.0, 3)
    0.16666666666666666
    """
    return math.prod(scale / j for j in range(1, terms + 1))


def _check_exponential(size: Sequence[int], terms: int, scale: float) -> None:
    if not all(k % 2 for k in size):
        raise SaoError(f"size {tuple(size)}; a skew-symmetric kernel has a centre, so its sizes are odd")
    if terms < 1:
        raise SaoError(f"{terms} terms; the exponential's series has at least 1")
    if not (math.isfinite(scale) and scale > 0):
        raise SaoError(f"scale {scale} is no positive finite number; it is the largest norm that L may have")
    if (error := exponential_error(scale, terms)) > 1:
        raise SaoError(
            f"{terms} terms at scale {scale} miss the exponential by up to {error:.3g}; choose more terms or a "
            "smaller scale"
        )
