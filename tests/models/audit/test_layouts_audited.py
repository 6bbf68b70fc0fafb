"""Transposed and grouped weights: their graph and their spectrum against torch's own layers on unit images."""

import numpy as np
import pytest

from sao_cli.base.errors import FormatError
from sao_cli.models.audit.reasons import NO_GROUPS
from sao_cli.models.audit.row import audit_weight


def operator(layer, image):
    """(outputs, inputs): a torch layer without bias as a matrix."""
    import torch

    channels = layer.in_channels
    count = channels * int(np.prod(image))
    images = torch.eye(count, dtype=torch.float64).reshape(count, channels, *image)
    return layer.double()(images).reshape(count, -1).detach().numpy().T


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("size", "image", "stride", "padding"),
    [
        ((3, 3), (4, 5), 1, 1),
        ((4, 4), (3, 4), 2, 1),
        ((3, 3), (4, 4), 2, 0),
        ((5,), (6,), 3, 2),
        ((2, 2), (3, 3), 2, 0),
    ],
)
def test_a_transposed_kernel_is_torchs_layer(groups, size, image, stride, padding):
    import torch

    torch.manual_seed(0)
    make = {1: torch.nn.ConvTranspose1d, 2: torch.nn.ConvTranspose2d}[len(size)]
    layer = make(4, 6, size, stride=stride, padding=padding, groups=groups, bias=False)
    layer.weight.data[1] = 0  # an input channel is dead
    setting = {"groups": groups, "transposed": True, "image": image, "stride": stride, "padding": padding}
    row = audit_weight(layer.weight.detach().numpy(), name="up", **setting)
    values = np.linalg.svd(operator(layer, image), compute_uv=False)
    np.testing.assert_allclose(row.singular_values, values, atol=1e-6 * values[0])
    assert (row.m, row.n, row.dead_inputs, row.dead_outputs) == (6, 4, 1, 0)
    assert row.shape == tuple(layer.weight.shape)
    assert row.image == image
    assert row.output_image == tuple(layer(torch.zeros(1, 4, *image).double()).shape[2:])


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_a_grouped_kernel_is_torchs_layer(groups):
    import torch

    torch.manual_seed(1)
    layer = torch.nn.Conv2d(8, 16, 3, padding=1, groups=groups, bias=False)
    row = audit_weight(layer.weight.detach().numpy(), name="conv", groups=groups, image=(4, 5), padding=1)
    values = np.linalg.svd(operator(layer, (4, 5)), compute_uv=False)
    assert (row.n, row.groups) == (8, groups)
    assert row.sigma_max == pytest.approx(values[0], rel=1e-6)
    assert row.sigma_min == pytest.approx(values[-1], rel=1e-4)


def test_a_matrix_with_its_inputs_first_is_its_transpose():
    stored = np.random.default_rng(0).normal(size=(4, 7))
    stored[:, 2:5] = 0
    stored[1] = 0
    row, plain = audit_weight(stored, name="w", transposed=True), audit_weight(stored.T, name="w")
    assert (row.shape, row.m, row.n, row.dead_inputs, row.dead_outputs) == ((4, 7), 7, 4, 1, 3)
    assert (row.sigma_max, row.row_degree, row.digest) == (plain.sigma_max, plain.row_degree, plain.digest)
    assert (row.transposed, plain.transposed) == (True, False)


def test_without_groups_what_needs_them_is_not_known():
    kernel = np.random.default_rng(0).normal(size=(8, 2, 3, 3))
    kernel[3] = 0
    row = audit_weight(kernel, name="conv", groups=None, image=8)
    assert (row.m, row.n, row.groups, row.row_degree, row.dead_outputs) == (8, None, None, (0, 2), 1)
    unknown = (
        row.column_degree,
        row.dead_inputs,
        row.connected,
        row.components,
        row.biregular,
        row.sigma_max,
        row.rank,
    )
    assert unknown == (None,) * 7
    assert (row.sparsity, row.kernel_sparsity) == (0.125, 0.125)
    assert NO_GROUPS in row.reason


def test_wrong_groups_of_a_transposed_kernel_are_refused():
    with pytest.raises(FormatError, match="3 groups for 8"):
        audit_weight(np.ones((8, 2, 3, 3)), name="up", transposed=True, groups=3)


def test_a_digest_tells_numbers_apart_and_not_dtypes():
    weight = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    same = [weight, weight.astype(np.float64), np.asfortranarray(weight)]
    assert len({audit_weight(one, name="w").digest for one in same}) == 1
    other = [weight, -weight, weight[::-1], weight.reshape(4, 5), weight[:, ::-1]]
    other += [weight.astype(np.float64) + 1e-12, weight.astype(np.float64) * 1e200]  # which no float32 has
    assert len({audit_weight(one, name="w").digest for one in other}) == 7
    zero = np.where(weight > 0, weight, 0)
    assert audit_weight(zero, name="w").digest == audit_weight(np.where(weight > 0, weight, -0.0), name="w").digest
