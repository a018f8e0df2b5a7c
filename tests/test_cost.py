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


# -- what a training step runs


def step_of(spec, shape, **entry):
    """FLOPs of one step of one example, of all weights."""
    ticket = Ticket(model=spec, mask={}, **draw_state(spec, 0)._asdict())
    return training_flops(ticket, shape, 1, {"steps": 1, **entry})


LINE = {"_target_": "tests.toys.mlp", "input_shape": [4], "classes": 3, "width": 8}
TRUNK, HEAD = 4 * 8 + 8 * 3, 8 * 3  # multiply-adds; the exit's classifier is behind layer 1


@pytest.mark.parametrize(
    ("frozen", "counted"), [(False, 3 * (TRUNK + HEAD)), (True, TRUNK + 3 * HEAD)]
)
def test_all_exits_are_trained_and_a_frozen_trunk_only_runs(frozen, counted):
    spec = {"_target_": "lth.networks.rewrites.with_exits", "model": LINE, "input_shape": [4],
            "after": ["1"], "frozen": frozen}  # fmt: skip
    assert step_of(spec, (4,)) == 2 * counted


@pytest.mark.parametrize(("sandwich", "between"), [(None, 2), (1, 1), (0, 0)])
def test_all_widths_are_trained(sandwich, between):
    spec = {"_target_": "lth.networks.rewrites.slimmable", "model": LINE,
            "widths": [0.25, 0.5, 0.5 + 1e-6, 1.0], "sandwich": sandwich}  # fmt: skip
    quarter, half, whole = (n * (4 + 3) for n in (2, 4, 8))
    assert step_of(spec, (4,)) == 2 * 3 * (quarter + between * half + whole)


def test_nested_tickets_are_all_trained():
    spec = {"_target_": "lth.networks.rewrites.nested", "model": LINE, "levels": [0, 1, 2]}
    assert step_of(spec, (4,)) == 2 * 3 * 3 * TRUNK


class Held(torch.nn.Module):
    """Three layers, the ``still`` ones of which are not trained."""

    def __init__(self, still):
        super().__init__()
        self.layers = torch.nn.Sequential(*(torch.nn.Linear(n, n + 1) for n in (2, 3, 4)))
        for n in still:
            self.layers[n].weight.requires_grad_(False)
            self.layers[n].bias.requires_grad_(False)

    def forward(self, inputs):
        return self.layers(inputs)


@pytest.mark.parametrize(
    ("still", "counted"),
    [([], 3 * (6 + 12 + 20)), ([0], 6 + 3 * (12 + 20)), ([1], 3 * 6 + 2 * 12 + 3 * 20),
     ([0, 1], 6 + 12 + 3 * 20), ([1, 2], 3 * 6 + 2 * (12 + 20))],
)  # fmt: skip
def test_a_layer_that_is_not_trained_has_no_gradient(still, counted):
    assert step_of({"_target_": "tests.test_cost.Held", "still": still}, (2,)) == 2 * counted


class Auxiliary(Held):
    """It answers twice in training, as networks with a helping classifier do."""

    def __init__(self):
        super().__init__([])
        self.aside = torch.nn.Linear(3, 5)

    def forward(self, inputs):
        first = self.layers[0](inputs)
        outputs = self.layers[2](self.layers[1](first))
        return (outputs, self.aside(first)) if self.training else outputs


def test_a_network_of_ones_own_that_answers_twice_in_training_costs_both():
    spec = {"_target_": "tests.test_cost.Auxiliary"}
    assert step_of(spec, (2,)) == 2 * 3 * (6 + 12 + 20 + 15)
    assert forward_flops(spec, (2,), None) == 2 * (6 + 12 + 20)


def test_gated_blocks_all_run_in_training():
    spec = {"_target_": "lth.models.gated_resnet", "input_shape": [1, 4, 4], "classes": 3}
    opened, closed = ({**spec, "bias": bias} for bias in (5.0, -5.0))
    assert step_of(closed, (1, 4, 4)) == step_of(opened, (1, 4, 4))
    assert step_of(opened, (1, 4, 4)) == 3 * forward_flops(opened, (1, 4, 4), None)
    assert forward_flops(closed, (1, 4, 4), None) < forward_flops(opened, (1, 4, 4), None)
