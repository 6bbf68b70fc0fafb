"""The descent to an isometry against torch's own gradients, and where it ends."""

import numpy as np
import pytest
import torch

from sao_cli.base.errors import SaoError
from sao_cli.data.mask import Mask
from sao_cli.weights.isometry_descent import descend_to_isometry
from sao_cli.weights.repair_weight import repair


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_its_steps_are_gradients_of_the_norm(shape):
    rng = np.random.default_rng(0)
    mask = Mask.from_dense(rng.random(shape) < 0.5)
    start = rng.standard_normal(mask.nnz) / 2
    places = (torch.from_numpy(mask.entry_rows.astype(np.int64)), torch.from_numpy(mask.indices.astype(np.int64)))
    values = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.SGD([values], lr=0.1)
    for _ in range(20):
        weight = torch.zeros(shape, dtype=torch.float64).index_put(places, values)
        gram = weight @ weight.T if shape[0] <= shape[1] else weight.T @ weight
        optimizer.zero_grad()
        torch.linalg.norm(gram - torch.eye(6, dtype=torch.float64)).backward()
        optimizer.step()
    np.testing.assert_allclose(descend_to_isometry(mask, start, 20), values.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_a_repair_by_descent_keeps_what_projections_leave_behind():
    """The mean squared singular value of a sparse random mask: near 1 by the descent, well below by the projections."""
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((40, 40)) * (rng.random((40, 40)) < 0.15)
    found, projected = repair(weight, gain=2.0, descent=400), repair(weight, gain=2.0)
    assert (found.steps, found.stopped) == (400, "steps")
    assert found.after.residual < projected.after.residual
    assert not found.weight[weight == 0].any()
    means = [np.square(np.linalg.svd(one.weight / 2, compute_uv=False)).mean() for one in (projected, found)]
    assert means[0] < means[1] < 1.05
    lost = int((np.linalg.svd(found.weight, compute_uv=False) < 0.1).sum())
    assert found.after.residual**2 == pytest.approx(lost, abs=0.1)  # what is left over is rank that was lost


def test_an_isometry_stays_as_it_is():
    start = np.ones(4)
    np.testing.assert_array_equal(descend_to_isometry(Mask.from_dense(np.eye(4)), start, 5), start)
    with pytest.raises(SaoError, match="-1 steps"):
        descend_to_isometry(Mask.from_dense(np.eye(4)), start, -1)
    with pytest.raises(SaoError, match=r"a start of shape \(3,\)"):
        descend_to_isometry(Mask.from_dense(np.eye(4)), start[:3], 1)
