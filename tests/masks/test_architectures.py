"""The paper's convolutional networks: Table 4 layer by layer, Table 8's parameters, and masks counted one by one."""

import itertools

import numpy as np
import pytest

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.masks.architectures import cnn_shapes, conv_degrees, lipconvnet_shapes, plan_convolutions
from sao_cli.masks.build_masks import mask_stack
from sao_cli.masks.degrees import divisors
from sao_cli.masks.sao import sao_mask


def parameters(rows):
    return sum(row.parameters for row in rows)


def test_the_vanilla_cnn_shrinks_at_its_second_and_third_layer():
    shapes = cnn_shapes(5, 16)
    assert [(s.c_out, s.c_in, s.size) for s in shapes] == [(16, 3, 3), *[(16, 16, 3)] * 4]
    assert [s.stride for s in shapes] == [1, 2, 2, 1, 1]
    assert [s.side for s in shapes] == [32, 32, 16, 8, 8]
    assert [s.out_side for s in cnn_shapes(3, 16, image=9)] == [9, 5, 3]
    assert [s.stride for s in cnn_shapes(2, 16)] == [1, 2]


@pytest.mark.parametrize("form", ["cinic10", "cifar100"])
def test_two_convolutions_beyond_n_instead_of_pooling(form):
    shapes = cnn_shapes(4, 16, form=form)
    assert shapes[:4] == cnn_shapes(4, 16)
    assert [(s.c_out, s.c_in, s.stride, s.side, s.out_side) for s in shapes[4:]] == [
        (16, 16, 2, 8, 4),
        (16, 16, 2, 4, 2),
    ]


@pytest.mark.parametrize(
    ("depth", "width", "target", "printed"),
    [  # SAO, Table 8; its 768 layers of 32 are printed 6.70E+06, with two digits exchanged
        (32, 32, {}, 286_560),
        (32, 32, {"sparsity": 0.5}, 143_712),
        (32, 32, {"d": 4}, 36_576),
        (128, 32, {}, 1.17e6),
        (128, 32, {"sparsity": 0.5}, 5.86e5),
        (128, 128, {"sparsity": 0.5}, 9.37e6),
        (128, 128, {"d": 4}, 5.89e5),
        (256, 32, {"sparsity": 0.5}, 1.18e6),
        (512, 32, {}, 4.71e6),
        (512, 32, {"d": 4}, 5.90e5),
    ],
)
def test_the_papers_parameter_counts(depth, width, target, printed):
    counted = parameters(plan_convolutions(cnn_shapes(depth, width), **target))
    d = target.get("d", round((1 - target.get("sparsity", 0)) * width))
    assert counted == 27 * width + 9 * (depth - 1) * width * d
    assert counted == (printed if isinstance(printed, int) else pytest.approx(printed, rel=5e-3))


def test_lipconvnet_10_is_the_papers_table_4():
    conv = [(s.c_out, s.size, s.stride) for s in lipconvnet_shapes(10)]
    assert conv == [
        (32, 3, 1), (64, 3, 2),
        (64, 3, 1), (128, 3, 2),
        (128, 3, 1), (256, 3, 2),
        (256, 3, 1), (512, 3, 3),
        (512, 1, 1), (1024, 1, 1),
    ]  # fmt: skip
    shapes = lipconvnet_shapes(10)
    assert [s.side for s in shapes] == [24, 24, 12, 12, 6, 6, 3, 3, 1, 1]
    assert [s.scheme for s in shapes] == ["soc"] * 4 + ["eco"] * 6


@pytest.mark.parametrize("depth", [5, 10, 15])
def test_lipconvnets_layers_chain_and_blocks_repeat(depth):
    shapes = lipconvnet_shapes(depth, image=72, channels=1, base=8)
    assert len(shapes) == depth
    assert (shapes[0].c_in, shapes[-1].c_out, shapes[-1].out_side) == (1, 256, 3)
    for one, two in itertools.pairwise(shapes):
        assert (two.c_in, two.side, one.side % one.stride) == (one.c_out, one.out_side, 0)
    for start in range(0, depth, depth // 5):
        *repeats, last = block = shapes[start : start + depth // 5]
        assert all(s.stride == 1 and 2 * s.c_out == last.c_out for s in repeats)
        assert len({(s.side, s.scheme) for s in block}) == 1
    assert all((s.side // s.stride) % s.size == 0 for s in shapes if s.scheme == "eco")  # where ECO is orthogonal


@pytest.mark.parametrize("target", [{"sparsity": 0.9}, {"d": 8}, {"c": 8}])
def test_plans_agree_with_the_masks_that_are_built(target):
    rows = plan_convolutions(cnn_shapes(4, 32), **target)
    masks = [None, *mask_stack([32] * 4, **target)]
    assert (rows[0].c, rows[0].d, rows[0].sparsity) == (32, 3, 0)
    for row, mask in zip(rows[1:], masks[1:], strict=True):
        assert (row.parameters, row.sparsity) == (9 * mask.nnz, mask.sparsity)
        assert (row.c, row.d, row.kernel) == (mask.provenance["c"], mask.provenance["d"], (3, 3))


@pytest.mark.parametrize("target", [{"sparsity": 0.8}, {"d": 2}])
def test_lipconvnets_kernels_are_parts_of_square_masks(target):
    shapes = lipconvnet_shapes(10, base=4)
    rows, degrees = (of(shapes, **target) for of in (plan_convolutions, conv_degrees))
    assert degrees[0] is None
    assert (rows[0].sparsity, rows[0].parameters) == (0, 4 * 3 * 9)
    for shape, row, degree in zip(shapes[1:], rows[1:], degrees[1:], strict=True):
        side = max(shape.c_out, shape.reads)
        part = sao_mask(side, side, degree).to_dense()[: shape.c_out, : shape.reads]
        assert (row.m, row.n, row.parameters) == (*part.shape, int(part.sum()) * shape.size**2)
        assert row.sparsity == pytest.approx(1 - degree / side, abs=1e-15)
        for told, counts in ((row.d, part.sum(axis=1)), (row.c, part.sum(axis=0))):
            assert told is None or set(counts.tolist()) == {told}
        assert (row.d is None) == (row.m > row.n)
        assert (row.c is None) == (row.m < row.n)
        if "sparsity" in target:
            assert abs(row.sparsity - 0.8) == min(abs(1 - d / side - 0.8) for d in row.feasible)


def test_without_a_target_all_is_dense_and_feasible_degrees_are_told():
    for shapes in (cnn_shapes(3, 12), lipconvnet_shapes(5)):
        rows = plan_convolutions(shapes)
        assert parameters(rows) == sum(s.c_out * s.reads * s.size**2 for s in shapes)
        assert {row.sparsity for row in rows} == {0}
        assert [row.layer for row in rows] == list(range(1, len(shapes) + 1))
    assert rows[3].feasible == tuple(divisors(2304))
    assert rows[4].to_dict() == {
        "record": "layer", "layer": 5, "m": 1024, "n": 512, "c": 1024, "d": 512, "sparsity": 0.0, "parameters": 2**19,
        "feasible": divisors(1024), "kernel": [1, 1], "stride": [1, 1], "side": 1, "scheme": "eco",
    }  # fmt: skip


def test_a_degree_that_a_layer_has_no_room_for_leaves_it_dense():
    assert conv_degrees(lipconvnet_shapes(10), d=64)[:5] == [None, 64, None, 64, 64]
    assert conv_degrees(lipconvnet_shapes(5), sparsity=0.0) == [None] * 5


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: cnn_shapes(0, 32), InfeasibleError, "depth 0: a CNN has at least one"),
        (lambda: cnn_shapes(3, 0), InfeasibleError, "width 0: sizes"),
        (lambda: cnn_shapes(3, 32, image=0), InfeasibleError, "image 0: sizes"),
        (lambda: cnn_shapes(3, 32, form="cifar"), SaoError, "unknown form 'cifar'; did you mean 'cifar10'"),
        (lambda: cnn_shapes(10**12, 32), SaoError, "1000000000000 layers needs"),
        (lambda: lipconvnet_shapes(0), InfeasibleError, "depth 0: .* nearest depth is 5"),
        (lambda: lipconvnet_shapes(12), InfeasibleError, "depth 12: .* nearest depth is 10"),
        (lambda: lipconvnet_shapes(5, image=32), InfeasibleError, "image 32: .* a side of 24, or a multiple of 72"),
        (lambda: lipconvnet_shapes(5, base=7), InfeasibleError, "base 7 is odd; .* choose 8"),
        (lambda: conv_degrees(cnn_shapes(3, 32), d=4, sparsity=0.5), SaoError, "give one of them"),
        (lambda: conv_degrees(cnn_shapes(3, 32), d=5), InfeasibleError, "no sao mask of 32 x 32 with d = 5"),
        (lambda: conv_degrees(cnn_shapes(1, 32), sparsity=2), InfeasibleError, "sparsity 2 is outside"),
        (lambda: conv_degrees(lipconvnet_shapes(5), d=5), InfeasibleError, "no sao mask of 256 x 256 with d = 5"),
        (lambda: conv_degrees(lipconvnet_shapes(5), d=0), InfeasibleError, "d = 0"),
        (lambda: conv_degrees(lipconvnet_shapes(5), d=4, method="lrp"), SaoError, "have SAO masks, not 'lrp'"),
    ],
)
def test_bad_sizes_are_refused_in_one_line(make, error, text):
    with pytest.raises(error, match=text) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_the_sparsest_network_of_the_paper_is_feasible():
    degrees = conv_degrees(lipconvnet_shapes(5), sparsity=0.984375)  # Table 11
    np.testing.assert_array_equal(degrees[1:], [4, 8, 36, 16])
