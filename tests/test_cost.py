"""Cost: counted by hand, and against torch's own counter."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lth import config
from lth.networks import masks
from lth.networks.cost import forward_flops, training_flops, uses
from lth.networks.ticket import Ticket, draw_model, draw_state, layers_of
from lth.spec.build import fill

LENET = {"_target_": "lth.models.lenet", "input_shape": [1, 28, 28], "classes": 10}
CONV = {"_target_": "tests.toys.norm_net", "input_shape": [1, 4, 4], "classes": 4}


def test_a_linear_weight_is_used_once_and_a_convolutional_one_at_every_place():
    assert set(uses(LENET, (1, 28, 28)).values()) == {1}
    assert uses(CONV, (1, 4, 4)) == {"0.weight": 16, "5.weight": 1}
    assert forward_flops(LENET, (1, 28, 28), None) == 2 * 266_200


@pytest.mark.parametrize("name", ["lenet", "conv2", "resnet20", "vgg16"])
def test_the_dense_count_is_torchs(name):
    shape = (3, 32, 32)
    spec = fill(config.load("model", name), input_shape=list(shape), classes=10)
    model = draw_model(spec, 0).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *shape))
    assert forward_flops(spec, shape, None) == counter.get_total_flops()


def test_pruned_weights_cost_nothing_and_frozen_ones_do():
    layers = layers_of(CONV)
    mask = masks.full(layers, layers.shapes)
    mask["0.weight"].view(-1)[:10] = False
    mask["5.weight"].view(-1)[:5] = False
    ticket = Ticket(model=CONV, mask=mask, **draw_state(CONV, 0)._asdict())
    forward = 2 * (44 * 16 + 91)
    assert training_flops(ticket, (1, 4, 4), 20, {"steps": 7}) == 3 * forward * 20 * 7
    frozen = replace(ticket, frozen={"0.weight": torch.ones(6, 1, 3, 3)})
    assert training_flops(frozen, (1, 4, 4), 1, {"steps": 1}) == 3 * 2 * (54 * 16 + 96)


def test_a_transposed_convolution_uses_a_weight_at_every_place_of_its_input():
    spec = {"_target_": "tests.toys.upsampler"}
    assert uses(spec, (2, 5, 5)) == {"0.weight": 25, "2.weight": 1}
