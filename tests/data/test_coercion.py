"""Whatever holds a mask or a weight is taken by every function, with the same result."""

import numpy as np
import pytest
import scipy.sparse
import torch
from torch.nn.utils import prune

import sao_cli
from sao_cli import Kernel, Mask, Matrix
from sao_cli.base.errors import FormatError

MASK = sao_cli.sao_mask(8, 12, 3)
WEIGHT = sao_cli.sao_weight(8, 12, d=3, seed=1)
OF_MASKS = {
    "expansion": sao_cli.expansion,
    "is_ramanujan": sao_cli.is_ramanujan,
    "mask_singular_values": sao_cli.mask_singular_values,
    "reachability": lambda mask: sao_cli.reachability([mask]).depths,
    "isometry": lambda mask: sao_cli.isometry(mask).values,
    "put_values": lambda mask: sao_cli.put_values([mask])[0].values,
}
OF_WEIGHTS = {
    "singular_values": sao_cli.singular_values,
    "spectral_density": lambda weight: sao_cli.spectral_density(weight).exact,
    "spectrum": lambda weight: sao_cli.spectrum(weight).sigma_max,
    "layer_jacobian": lambda weight: sao_cli.layer_jacobian(weight, "relu", np.arange(12.0)).values,
    "repair": lambda weight: sao_cli.repair(weight).before.residual,
    "projected_mask": lambda weight: sao_cli.projected_mask(weight, 3).indices,
    "audit_weight": lambda weight: sao_cli.audit_weight(weight, name="layer").sigma_max,
}
OF_KERNELS = {
    "kernel_spectrum": lambda kernel: sao_cli.kernel_spectrum(kernel, 4).sigma_max,
    "convolution_values": lambda kernel: sao_cli.convolution_values(kernel, 4).values,
    "projected_mask": lambda kernel: sao_cli.projected_mask(kernel, 2).indices,
    "audit_weight": lambda kernel: sao_cli.audit_weight(kernel, name="layer", image=4).sigma_max,
}


def module_of(tensor):
    module = torch.nn.Linear(tensor.shape[1], tensor.shape[0])
    module.weight = torch.nn.Parameter(tensor.double())
    return module


def same(one, other):
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


def forms(matrix, path):
    sao_cli.write_matrices([matrix], path)
    csr, tensor = matrix.to_scipy(), matrix.to_torch()
    plain = [matrix, matrix.to_dense(), matrix.to_dense().tolist(), tensor, module_of(tensor), path, str(path)]
    return [*plain, csr, csr.tocsc(), csr.tocoo(), csr.tobsr((1, 1)), csr.tolil(), csr.todok(), tensor.to_sparse()]


@pytest.mark.parametrize("name", OF_MASKS)
def test_a_mask_is_taken_in_every_form(name, tmp_path):
    for given in [*forms(Matrix(MASK), tmp_path / "mask.npz"), MASK.to_networkx()]:
        assert Mask.of(given) == MASK
        assert same(OF_MASKS[name](given), OF_MASKS[name](MASK))


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_a_weight_is_taken_in_every_form(name, tmp_path):
    for given in forms(WEIGHT, tmp_path / "weight.npz"):
        assert Matrix.of(given) == WEIGHT
        assert same(OF_WEIGHTS[name](given), OF_WEIGHTS[name](WEIGHT))


@pytest.mark.parametrize("name", OF_KERNELS)
def test_a_kernel_is_taken_in_every_form(name, tmp_path):
    values = np.random.default_rng(0).standard_normal((4, 4, 3, 3))
    conv = torch.nn.Conv2d(4, 4, 3).double()
    conv.weight = torch.nn.Parameter(torch.from_numpy(values))
    path = tmp_path / "kernel.npy"
    np.save(path, values)
    for given in (values, torch.from_numpy(values), conv, path, str(path)):
        assert Kernel.of(given) == Kernel.of(values)
        assert same(OF_KERNELS[name](given), OF_KERNELS[name](Kernel.of(values)))


@pytest.mark.parametrize("function", [*OF_MASKS.values(), *OF_WEIGHTS.values(), *OF_KERNELS.values()])
@pytest.mark.parametrize("given", [{}, 3, None, [[1.0], [1.0, 2.0]], torch.nn.ReLU()], ids=repr)
def test_anything_else_is_refused_in_one_line(function, given):
    with pytest.raises(FormatError) as refused:
        function(given)
    assert "\n" not in str(refused.value)


def test_a_file_of_several_matrices_is_refused(tmp_path):
    sao_cli.write_masks([MASK, MASK], tmp_path / "stack.mtx")
    with pytest.raises(FormatError, match="holds 2 matrices, and one is taken"):
        sao_cli.expansion(tmp_path / "stack.mtx")


def test_a_pruned_module_is_what_its_forward_pass_takes():
    module = module_of(WEIGHT.to_torch() + 1.0)
    prune.custom_from_mask(module, "weight", MASK.to_torch())
    assert Mask.of(module) == MASK


def test_a_layer_that_keeps_its_weight_packed_is_taken_as_its_map_or_refused():
    packed = sao_cli.nets.SAOConv2d(8, 8, 3, degree=2)
    assert Kernel.of(packed) == packed.to_kernel()
    for layer in (sao_cli.nets.SOCConv2d(8, 8, 3), sao_cli.nets.ECOConv2d(8, 8, 3)):
        with pytest.raises(FormatError, match="may keep its weight in another form"):
            Kernel.of(layer)


def broken_scipy(layout, index):
    if layout == "coo":
        matrix = scipy.sparse.coo_array((np.ones(1), ([0], [0])), shape=(2, 2))
        matrix.coords = (np.array([0]), np.array([index]))
        return matrix
    matrix = scipy.sparse.eye_array(2, format=layout)
    matrix.indices[0] = index
    return matrix


@pytest.mark.parametrize("read", [Mask.of, Mask.from_scipy, Matrix.of, sao_cli.singular_values])
@pytest.mark.parametrize("index", [-1, 2, 10**6])
@pytest.mark.parametrize("layout", ["csr", "csc", "bsr", "coo"])
def test_scipy_s_indices_outside_the_shape_are_refused(layout, index, read):
    with pytest.raises(FormatError, match=f"an index {index} along an axis of 2"):
        read(broken_scipy(layout, index))


def test_scipy_s_pointers_that_do_not_ascend_are_refused():
    matrix = scipy.sparse.csr_array(np.eye(3))
    matrix.indptr[1] = 100
    with pytest.raises(FormatError, match="indptr does not ascend"):
        Mask.of(matrix)


@pytest.mark.parametrize("read", [Mask.of, Mask.from_torch, Matrix.of, sao_cli.singular_values])
@pytest.mark.parametrize("index", [-1, 2, 10**6])
def test_torch_s_indices_outside_the_shape_are_refused(index, read):
    places = torch.tensor([[0], [index]])
    tensor = torch.sparse_coo_tensor(places, torch.ones(1), (2, 2), check_invariants=False)
    with pytest.raises(FormatError, match=f"an index {index} along an axis of 2"):
        read(tensor)


OF_STACKS = {
    "reachability": lambda stack: sao_cli.reachability(stack).depths,
    "put_values": lambda stack: [layer.values.tolist() for layer in sao_cli.put_values(stack)],
    "network_jacobian": lambda stack: [row.log10_sigma_max for row in sao_cli.nets.network_jacobian(stack, depths=[1])],
}


@pytest.mark.parametrize("name", OF_STACKS)
def test_a_stack_is_taken_by_its_path_and_one_layer_as_a_stack_of_one(name, tmp_path):
    """A path was iterated letter by letter, a matrix row by row."""
    stack = [sao_cli.sao_weight(8, 8, d=2, seed=seed) for seed in range(2)]
    sao_cli.write_matrices(stack, tmp_path / "two.safetensors")
    for path in (tmp_path / "two.safetensors", str(tmp_path / "two.safetensors")):
        assert OF_STACKS[name](path) == OF_STACKS[name](stack)
    module = torch.nn.Linear(8, 8).double()
    module.weight = torch.nn.Parameter(stack[0].to_torch())
    for alone in (stack[0], stack[0].to_dense(), stack[0].to_scipy(), stack[0].to_torch(), module):
        assert OF_STACKS[name](alone) == OF_STACKS[name]([stack[0]])


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("read", [Mask.of, Mask.from_torch])
def test_a_torch_tensor_that_is_not_finite_makes_no_mask(read, dtype, number):
    tensor = torch.ones(2, 3, dtype=dtype)
    tensor[1, 2] = number
    for given in (tensor, tensor.to_sparse()):
        with pytest.raises(FormatError, match=r"entry \(1, 2\) is .*; a mask needs finite numbers"):
            read(given)


def test_a_kernel_given_for_a_mask_is_the_channels_that_it_joins():
    values = np.zeros((2, 3, 3, 3))
    values[0, 1, 2, 0] = -1e-300
    values[1, 2] = 1
    conv = torch.nn.Conv2d(3, 2, 3).double()
    conv.weight = torch.nn.Parameter(torch.from_numpy(values))
    whole = (values != 0) * np.int8(-128)
    for given in (values, torch.from_numpy(values), conv, whole, whole != 0, values[:, :, 0] + values[:, :, 2]):
        assert Mask.of(given) == Kernel.of(values).mask
    assert sao_cli.expansion(values) == sao_cli.expansion(Kernel.of(values))
    values[0, 0, 0, 0] = np.nan
    for given in (values, torch.from_numpy(values)):
        with pytest.raises(FormatError, match=r"entry \(0, 0\) is nan; a mask needs finite numbers"):
            Mask.of(given)
    for shape in ((2, 0, 3), (2,), (1,) * 6):
        with pytest.raises(FormatError, match="a mask is a matrix"):
            Mask.of(np.ones(shape))
