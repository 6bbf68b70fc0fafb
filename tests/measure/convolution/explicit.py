"""The matrix of a convolution from its impulse responses, by torch's padding and convolutions."""

import numpy as np


def explicit_operator(weights, image, padding="circular", stride=1, dilation=1, groups=1):
    """(m, n) the linear map of images (c_in, *image), flattened; stride and dilation are of all axes."""
    from torch import eye, float64, from_numpy
    from torch.nn import functional

    axes = weights.ndim - 2
    sizes = weights.shape[2:]
    inputs = weights.shape[1] * groups
    edges = [_edges(side, dilation * (size - 1), padding, stride) for side, size in zip(image, sizes, strict=True)]
    count = inputs * int(np.prod(image))
    impulses = eye(count, dtype=float64).reshape(count, inputs, *image)
    flat = [edge for pair in reversed(edges) for edge in pair]
    if padding == "circular":  # by places, since torch's own pad goes around an image at most once
        padded = _wrapped(impulses, edges)
    else:
        mode = padding if padding == "reflect" else "constant"
        padded = functional.pad(impulses, flat, mode=mode) if any(flat) else impulses
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[axes - 1]
    responses = convolve(padded, from_numpy(weights.copy()), stride=stride, dilation=dilation, groups=groups)
    return responses.reshape(count, -1).numpy().T


def _wrapped(images, edges):
    """Images (count, channels, *sides) with the places mod their sides on the edges; torch's where torch has them."""
    from torch import arange, equal
    from torch.nn import functional

    padded, sides = images, images.shape[2:]
    for axis, (side, (before, after)) in enumerate(zip(sides, edges, strict=True)):
        padded = padded.index_select(axis + 2, arange(-before, side + after) % side)
    flat = [edge for pair in reversed(edges) for edge in pair]
    if any(flat) and all(max(pair) <= side for side, pair in zip(sides, edges, strict=True)):
        assert equal(padded, functional.pad(images, flat, mode="circular"))
    return padded


def _edges(side, reach, padding, stride):
    if isinstance(padding, int):
        return padding, padding
    if padding == "valid":
        return 0, 0
    if padding == "same":
        missing = max((-(-side // stride) - 1) * stride + reach + 1 - side, 0)
        return missing // 2, missing - missing // 2
    return reach // 2, reach - reach // 2


def explicit_values(*arguments, **options):
    """The singular values of that matrix, descending."""
    return np.linalg.svd(explicit_operator(*arguments, **options), compute_uv=False)
