"""Dense laws: their variances against the definitions, orthogonality by SVD, and one line for what can't be."""

import numpy as np
import pytest

from sao_cli.base.errors import SaoError
from sao_cli.weights.dense_laws import dense_values

FANS = {(300, 200): (200, 300), (40, 30, 5, 5): (30 * 25, 40 * 25)}


@pytest.mark.parametrize("shape", FANS)
@pytest.mark.parametrize("law", ["vs-l", "vs-g", "vs-h", "normal"])
@pytest.mark.parametrize("seed", [0, 1])
def test_normal_laws_have_their_variance_and_are_not_truncated(shape, law, seed):
    fan_in, fan_out = FANS[shape]
    variance = {"vs-l": 1 / fan_in, "vs-g": 2 / (fan_in + fan_out), "vs-h": 2 / fan_in, "normal": 0.25}[law]
    values = dense_values(shape, law, gamma=0.25 if law == "normal" else None, seed=seed, layer=2)
    z = values / np.sqrt(variance)
    assert z.shape == shape
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / z.size)
    assert np.abs(z).max() > 3  # of 30,000 normal numbers all are below 3 with probability 1e-35
    assert abs((np.abs(z) > 2).mean() - 0.0455) < 4 * np.sqrt(0.0455 / z.size)


@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (12, 7, 3, 3), (12, 7, 4)])
def test_orthogonal_layers_are_so_in_their_centre(shape):
    values = dense_values(shape, "orthogonal", seed=3)
    centre = values[(..., *(k // 2 for k in shape[2:]))]
    np.testing.assert_allclose(np.linalg.svd(centre, compute_uv=False), 1, rtol=1e-13)
    assert np.count_nonzero(values) == centre.size


def test_a_layer_has_its_own_numbers():
    one, same, layer, seed = (
        dense_values((5, 5), "vs-l", seed=s, layer=k) for s, k in ((0, 1), (0, 1), (0, 2), (1, 1))
    )
    assert (one == same).all()
    assert (one != layer).all()
    assert (one != seed).all()


@pytest.mark.parametrize(
    ("shape", "law", "gamma", "said"),
    [
        ((4, 4), "vs", None, "unknown init 'vs'; did you mean 'vs-l'"),
        ((4, 4), "normal", None, "no variance of its own"),
        ((4, 4), "normal", 0.0, "init_gamma 0.0: it is a variance, a positive"),
        ((4, 4), "normal", float("nan"), "a positive finite number"),
        ((4, 4), "vs-g", 0.1, "vs-g has its own"),
        ((4, 5, 3, 3), "orthogonal", None, "5 channels to 4; init orthogonal needs no more channels in than out"),
    ],
)
def test_what_can_not_be_is_one_line(shape, law, gamma, said):
    with pytest.raises(SaoError) as caught:
        dense_values(shape, law, gamma=gamma)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
