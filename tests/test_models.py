"""Every network of lth.models: sizes, shapes, initial weights, and one error line per mistake."""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from lth import models
from lth.config import choices, compose
from lth.errors import LthError
from lth.networks.layers import describe

GREY, COLOUR = (1, 28, 28), (3, 32, 32)

# (factory, arguments, input shape, weights printed in or derived from the papers)
PAPERS = {
    "lenet": (models.lenet, {}, GREY, 266_200),
    "lenet5": (models.lenet5, {}, GREY, 430_500),
    "conv2": (models.conv, {"blocks": (64,)}, COLOUR, 4_300_992),
    "conv4": (models.conv, {"blocks": (64, 128)}, COLOUR, 2_425_024),
    "conv6": (models.conv, {"blocks": (64, 128, 256)}, COLOUR, 2_261_184),
    "resnet20": (models.resnet, {"depth": 20}, COLOUR, 270_896),
    "resnet20_pad": (models.resnet, {"depth": 20, "shortcut": "pad"}, COLOUR, 268_336),
    "all_conv": (models.all_conv, {}, COLOUR, 72_496),  # our own
    "all_conv_separable": (models.all_conv, {"separable": True}, COLOUR, 10_448),
    "vgg11": (models.vgg, {"depth": 11, "width": 64}, COLOUR, 9_222_848),
    "vgg13": (models.vgg, {"depth": 13, "width": 64}, COLOUR, 9_407_168),
    "vgg16": (models.vgg, {"depth": 16, "width": 64}, COLOUR, 14_715_584),
    "vgg19": (models.vgg, {"depth": 19, "width": 64}, COLOUR, 20_024_000),
}

# the same architectures, small enough to run many times
SMALL = {
    "lenet": (models.lenet, {"widths": (12, 8)}, (1, 8, 8)),
    "lenet5": (models.lenet5, {"widths": (3, 4, 5)}, (1, 16, 20)),
    "conv": (models.conv, {"blocks": (4, 6), "hidden": 8}, (3, 8, 12)),
    "conv_dropout": (models.conv, {"blocks": (4,), "hidden": 64, "dropout": 0.5}, (3, 8, 8)),
    "resnet": (models.resnet, {"depth": 8, "width": 4}, (3, 8, 8)),
    "resnet_pad": (models.resnet, {"depth": 8, "width": 4, "shortcut": "pad"}, (3, 9, 7)),
    "vgg": (models.vgg, {"depth": 11, "width": 2}, (3, 16, 16)),
    "all_conv": (models.all_conv, {"widths": (4, 6)}, (3, 8, 9)),
    "all_conv_separable": (models.all_conv, {"widths": (4, 6), "separable": True}, (1, 8, 8)),
    "all_conv_plain": (models.all_conv, {"widths": (4,), "norm": "none"}, (3, 4, 4)),
}


def small(name, classes=7):
    factory, arguments, shape = SMALL[name]
    return factory(input_shape=shape, classes=classes, **arguments), shape


@pytest.mark.parametrize("name", PAPERS)
def test_number_of_weights_is_the_papers(name):
    factory, arguments, shape, weights = PAPERS[name]
    with torch.device("meta"):  # shapes without memory
        layers = describe(factory(input_shape=shape, classes=10, **arguments))
    assert layers.total == weights
    assert layers.output == "output.weight"


def test_resnet_shortcuts_are_named():
    with torch.device("meta"):
        layers = describe(models.resnet(input_shape=COLOUR, classes=10))
    assert sum(layers.sizes[name] for name in layers.match(["*shortcut*"])) == 2_560


def test_default_arguments_are_those_of_the_conf():
    with torch.device("meta"):
        made = [f(input_shape=COLOUR, classes=10) for f in (models.conv, models.resnet, models.vgg)]
    assert [describe(m).total for m in made] == [4_300_992, 270_896, 20_024_000]


@pytest.mark.parametrize("name", SMALL)
def test_output_shape_and_gradient(name):
    model, shape = small(name)
    logits = model(torch.randn(5, *shape))
    assert logits.shape == (5, 7)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_lenet_takes_flat_inputs():
    assert models.lenet(input_shape=(30,), classes=2)(torch.randn(4, 30)).shape == (4, 2)


@pytest.mark.parametrize("name", SMALL)
def test_the_output_layer_is_registered_last(name):
    model, _ = small(name)
    last = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    assert last is model.output
    assert len(last.weight) == 7


@pytest.mark.parametrize("name", SMALL)
def test_no_bias_before_batchnorm(name):
    model, _ = small(name)
    parts = list(model.modules())
    normed = any(isinstance(m, nn.BatchNorm2d) for m in parts)
    assert normed == (name.startswith(("resnet", "vgg", "all_conv")) and "plain" not in name)
    convs = [m for m in parts if isinstance(m, nn.Conv2d) and m is not model.output]
    assert all((m.bias is None) == (normed or m.groups > 1) for m in convs)


def test_conv_layers_do_what_figure_2_says():
    model = models.conv(input_shape=COLOUR, classes=10, blocks=(2, 3, 4), hidden=5, dropout=0.5)
    kinds = [type(m).__name__ for m in model]
    block = ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d"]
    assert kinds == [*block * 3, "Flatten", *["Linear", "ReLU", "Dropout"] * 2, "Linear"]
    assert [m.p for m in model if isinstance(m, nn.Dropout)] == [0.5, 0.5]


def test_lenets_and_vgg_are_made_of_the_parts_they_should_be():
    def kinds(name):
        return " ".join(type(part).__name__.removesuffix("2d") for part in small(name)[0])

    stage = "Conv BatchNorm ReLU"
    assert kinds("lenet") == "Flatten Linear ReLU Linear ReLU Linear"
    assert kinds("lenet5") == "Conv MaxPool Conv MaxPool Flatten Linear ReLU Linear"
    stages = [stage, stage, *[f"{stage} {stage}"] * 3]
    assert kinds("vgg") == " MaxPool ".join(stages) + " AdaptiveAvgPool Flatten Linear"


def test_an_all_convolution_network_has_no_pooling_and_no_linear_layer():
    """Springenberg et al. 2015: every second convolution steps by 2 in the place of a pool."""
    plain, _ = small("all_conv")
    convs = [m for m in plain.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.kernel_size[0], m.stride[0]) for m in convs] == [(3, 1), (3, 2)] * 2 + [(1, 1)]
    assert not any(isinstance(m, nn.Linear | nn.MaxPool2d) for m in plain.modules())
    separable, _ = small("all_conv_separable")
    assert [m.groups for m in separable.modules() if isinstance(m, nn.Conv2d)] == [
        1, 4, 1, 4, 1, 6, 1, 1]  # fmt: skip


def test_a_residual_block_is_the_sum_of_both_ways():
    from lth.models.resnet import Block

    block = Block(3, 6, 2, "pad").eval()
    nn.init.zeros_(block.second.conv.weight)
    image = torch.rand(2, 3, 5, 5)
    expected = torch.zeros(2, 6, 3, 3)
    expected[:, :3] = image[:, :, ::2, ::2]
    assert torch.equal(block(image), expected)


def test_resnet_halves_twice():
    model = models.resnet(input_shape=COLOUR, classes=10)
    sides = []
    for name in ("stage1", "stage2", "stage3"):
        model.get_submodule(name).register_forward_hook(lambda m, i, o: sides.append(o.shape[1:]))
    model(torch.randn(2, *COLOUR))
    assert sides == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


@pytest.mark.parametrize(
    ("init", "variance", "normal"),
    [
        ("glorot_normal", lambda i, o: 2 / (i + o), True),
        ("glorot_uniform", lambda i, o: 2 / (i + o), False),
        ("kaiming_normal", lambda i, o: 2 / i, True),
        ("kaiming_uniform", lambda i, o: 2 / i, False),
    ],
)
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_initial_weights(init, variance, normal, kind):
    torch.manual_seed(3)
    if kind == "linear":
        model = models.lenet(input_shape=(400,), classes=3, widths=(200,), init=init)
        weight, fans = model.fc1.weight, (400, 200)
    else:
        model = models.conv(input_shape=(3, 8, 8), classes=3, blocks=(64,), hidden=4, init=init)
        weight, fans = model.conv2.weight, (64 * 9, 64 * 9)
    weight, std = weight.detach(), math.sqrt(variance(*fans))
    assert abs(float(weight.mean())) < 0.03 * std
    assert float(weight.std()) == pytest.approx(std, rel=0.02)
    beyond = float((weight.abs() > 1.8 * std).float().mean())  # a uniform ends at sqrt(3) std
    assert beyond == pytest.approx(0.072, abs=0.006) if normal else beyond == 0


@pytest.mark.parametrize("name", SMALL)
def test_biases_start_at_zero_and_norms_at_one(name):
    model, _ = small(name)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
        if getattr(module, "bias", None) is not None:
            assert not module.bias.any()


def test_initial_weights_follow_the_seed():
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(small("resnet")[0].output.weight)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("name", SMALL)
def test_a_stack_of_networks_trains_as_each_alone(name):
    """vmap over functional_call with stacked params and buffers: the cohort on a GPU."""
    members = [small(name)[0].double().train() for _ in range(3)]
    shape = small(name)[1]
    inputs = torch.randn(3, 6, *shape, dtype=torch.float64)
    params, buffers = stack_module_state(members)

    def run(p, b, x):
        return functional_call(members[0], (p, b), (x,))

    before = {n: b.clone() for n, b in buffers.items()}
    logits = vmap(run, randomness="different")(params, buffers, inputs)
    assert logits.shape == (3, 6, 7)
    logits.sum().backward()
    assert all(p.grad is not None for p in params.values())
    if "dropout" in name:  # alone it would draw other units
        return
    alone = [m(x) for m, x in zip(members, inputs, strict=True)]  # moves their own buffers
    torch.testing.assert_close(logits, torch.stack(alone))
    for buffer_name, buffer in buffers.items():
        assert not torch.equal(buffer, before[buffer_name])
        own = torch.stack([dict(m.named_buffers())[buffer_name] for m in members])
        torch.testing.assert_close(buffer, own)


def test_twins_in_a_stack_drop_different_units():
    model, shape = small("conv_dropout")
    params, _ = stack_module_state([model, model])
    inputs = torch.randn(6, *shape)
    run = vmap(lambda p: functional_call(model.train(), p, inputs), randomness="different")
    first, second = run(params)
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model(inputs), model(inputs))


OK = {"input_shape": COLOUR, "classes": 10}


@pytest.mark.parametrize(
    ("factory", "arguments", "line"),
    [
        (models.resnet, {"depth": 18}, "model.depth=18: a CIFAR ResNet has 6n + 2 layers; try 14 "),
        (models.resnet, {"depth": 2}, "model.depth=2: it must be a whole number, 8 or more"),
        (models.resnet, {"shortcut": "b"}, "model.shortcut='b': choose from conv, pad"),
        (models.resnet, {"input_shape": (3, 3, 9)}, "3x9 is too small for two halvings, it needs"),
        (models.vgg, {"depth": 18}, "model.depth=18: VGG has 11, 13, 16, 19 layers"),
        (models.vgg, {"width": 0}, "model.width=0: it must be a whole number, 1 or more"),
        (models.vgg, {"input_shape": (1, 8, 8)}, "8x8 is too small for 4 poolings, it needs 16x16"),
        (models.conv, {"input_shape": (64,)}, "model.input_shape=(64,): it must list 3 whole"),
        (models.conv, {"input_shape": (1, 4, 4), "blocks": (1, 1, 1)}, "4x4 is too small for 3 "),
        (models.conv, {"dropout": 1.0}, "model.dropout=1.0: it must lie in [0, 1)"),
        (models.conv, {"dropout": "half"}, "model.dropout='half': it must lie in [0, 1)"),
        (models.conv, {"blocks": []}, "model.blocks=[]: it must list one or more whole numbers"),
        (models.conv, {"hidden": 2.5}, "model.hidden=2.5: it must be a whole number"),
        (models.lenet, {"widths": 300}, "model.widths=300: it must list one or more whole numbers"),
        (models.lenet, {"input_shape": None}, "model.input_shape=None: it must list one or more"),
        (models.lenet, {"classes": 1}, "model.classes=1: it must be a whole number, 2 or more"),
        (models.lenet, {"classes": None}, "model.classes=None: it must be a whole number"),
        (models.lenet5, {"widths": (20, 50)}, "widths=(20, 50): it must list 3 whole numbers"),
        (models.lenet5, {"input_shape": (1, 8, 8)}, "8x8 is too small for two 5x5 convolutions"),
        (models.all_conv, {"norm": "layer"}, "model.norm='layer': choose from batch, none"),
        (models.all_conv, {"widths": [16, 0]}, "model.widths=0: it must be a whole number, 1 or"),
        (models.all_conv, {"input_shape": (30,)}, "model.input_shape=(30,): it must list 3 whole"),
        (models.lenet, {"init": "xavier"}, "model.init='xavier': choose from glorot_normal, glo"),
    ],
)
def test_mistakes_get_one_clear_line(factory, arguments, line):
    with pytest.raises(LthError) as caught:
        factory(**(OK | arguments))
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_smallest_inputs_that_fit():
    assert models.lenet5(input_shape=(1, 16, 16), classes=2)(torch.rand(1, 1, 16, 16)).shape[1] == 2
    assert models.conv(input_shape=(1, 2, 2), classes=2)(torch.rand(1, 1, 2, 2)).shape[1] == 2
    vgg = models.vgg(input_shape=(1, 16, 16), classes=2, depth=11, width=1).eval()
    assert vgg(torch.rand(1, 1, 16, 16)).shape[1] == 2


@pytest.mark.parametrize("name", [n for n in SMALL if n.startswith(("resnet", "vgg"))])
def test_norms_start_at_one_or_are_drawn_as_the_authors_draw_them(name):
    """OpenLTH, `bn_initializers.uniform`: U(0, 1) and 0; ones draw nothing, no weight changes."""
    factory, arguments, shape = SMALL[name]
    made = {}
    for norms in (None, "ones", "uniform"):
        torch.manual_seed(3)
        chosen = {} if norms is None else {"norms": norms}
        made[norms] = factory(input_shape=shape, classes=7, **arguments, **chosen)
    for own, other in zip(made[None].parameters(), made["ones"].parameters(), strict=True):
        assert torch.equal(own, other)
    parts = [m for m in made["uniform"].modules() if isinstance(m, nn.BatchNorm2d)]
    drawn = torch.cat([m.weight.detach() for m in parts])
    assert drawn.unique().numel() == drawn.numel() > 10
    assert 0 <= drawn.min() < 0.2 and 0.8 < drawn.max() < 1
    assert not any(m.bias.any() for m in parts)
    with pytest.raises(LthError, match=r"model\.norms='zeros': choose from ones, uniform"):
        factory(input_shape=shape, classes=7, norms="zeros")


def test_pruning_at_initialisation_starts_as_its_authors_do():
    """Frankle et al. 2021 extend OpenLTH: Kaiming normal, BatchNorm in U(0, 1), 391-step epochs."""
    found = compose(experiment="frankle2021/synflow")
    assert (found["model"]["init"], found["model"]["norms"]) == ("kaiming_normal", "uniform")
    assert found["recipe"]["steps"] == 160 * 391
    assert found["recipe"]["schedule"]["milestones"] == [80 * 391, 120 * 391]
    others = [p for p in choices("experiment") if "cifar" in str(compose(experiment=p)["data"])]
    for name in (*others, "frankle2021/synflow"):
        model = compose(experiment=name)["model"]
        assert model.get("norms", "ones") == "ones" or name == "frankle2021/synflow"
