"""What names tell of the order of layers, and what they do not."""

import pytest

from sao_cli.io.checkpoints.order import WAY_OUT, Sides, natural, order_of


def matrices(*names, width=16):
    return [Sides(name, "matrix", width, width) for name in names]


def test_numbers_in_names_are_numbers():
    names = ["net.10.weight", "net.2.weight", "net.0.weight", "b1", "b12", "b2", ""]
    assert sorted(names, key=natural) == ["", "b1", "b2", "b12", "net.0.weight", "net.2.weight", "net.10.weight"]


@pytest.mark.parametrize("form", ["{}.weight", "net.{}.weight", "model.features.{}.weight", "layer.{}"])
def test_numbers_line_up_a_stack_whatever_the_order_of_the_file(form):
    names = [form.format(number) for number in (10, 0, 2, 11, 5)]
    order = order_of(matrices(*names))
    assert order.stacks == (tuple(form.format(number) for number in (0, 2, 5, 10, 11)),)
    assert order.reason is None


@pytest.mark.parametrize(
    "names",
    [
        ["l.attention.query.weight", "l.attention.key.weight", "l.attention.value.weight"],
        ["conv1.weight", "conv2.weight", "fc3.weight"],
        ["q.0.weight", "q.1.weight"],
        ["attn.0.weight", "attn.1.weight"],
        ["block.q_proj.0.weight", "block.q_proj.1.weight"],
        ["mlp.w1.0.weight", "mlp.w1.1.weight"],
        ["layer.downsample.0.weight", "layer.downsample.3.weight"],
        ["moe.experts.0.weight", "moe.experts.1.weight"],
        ["Mixed_5b.0.weight", "Mixed_5b.1.weight"],
        ["rnn.0.weight", "rnn.1.weight"],
        ["h.0.mlp.c_fc.weight", "h.0.mlp.c_proj.weight", "h.1.mlp.c_fc.weight"],
        ["layers.0.weight", "layers.1.weight", "layers.1.lora.weight"],
        ["0.weight", "1.weight", "head.weight"],
    ],
)
def test_names_that_number_no_plain_stack_claim_nothing(names):
    order = order_of(matrices(*names))
    assert order.stacks == ()
    assert order.why_not == f"{order.reason}; {WAY_OUT}"


def test_sizes_must_chain_all_of_them():
    layers = [Sides("0.weight", "matrix", 4, 3), Sides("1.weight", "matrix", 5, 4), Sides("2.weight", "matrix", 2, 9)]
    assert order_of(layers[:2]).stacks == (("0.weight", "1.weight"),)
    assert order_of(layers).stacks == ()
    assert "2.weight has 9 inputs, and 1.weight 5 outputs" in order_of(layers).reason


def test_a_matrix_may_read_flattened_images_and_a_kernel_may_not():
    conv, flat = Sides("0.weight", "kernel", 8, 3), Sides("3.weight", "matrix", 10, 8 * 49)
    assert order_of([conv, flat]).stacks == (("0.weight", "3.weight"),)
    assert order_of([Sides("0.weight", "matrix", 8, 3), flat]).stacks == ()
    assert order_of([conv, flat._replace(n=8 * 49 + 1)]).stacks == ()


def test_inputs_that_are_not_known_claim_nothing_and_layers_that_are_not_known_do_not_hinder():
    layers = matrices("0.weight", "1.weight", "2.weight")
    grouped = [layers[0], Sides("1.weight", "kernel", 16, None), layers[2]]
    assert order_of(grouped).stacks == ()
    assert "the inputs of 1.weight are not known" in order_of(grouped).reason
    lost = [layers[0], Sides("1.weight", "weight", None, None), layers[2]]
    assert order_of(lost).stacks == (("0.weight", "1.weight", "2.weight"),)


def test_several_stacks_are_claimed_each_and_their_joints_are_not():
    names = ["features.0.weight", "features.3.weight", "classifier.0.weight", "classifier.2.weight"]
    order = order_of(matrices(*names))
    assert order.stacks == (("classifier.0.weight", "classifier.2.weight"), ("features.0.weight", "features.3.weight"))
    assert "2 stacks" in order.reason
    order = order_of(matrices("features.0.weight", "features.3.weight", "fc.weight"))
    assert len(order.stacks) == 1
    assert "where fc.weight runs" in order.reason
    assert order_of(matrices("fc.weight")).reason is None
    blocks = order_of(matrices("0.weight", "1.conv1.weight", "2.weight"))
    assert "1.conv1.weight stands among the numbered layers *" in blocks.reason
