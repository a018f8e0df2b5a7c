"""Depthwise separable convolutions: closed forms, exact on separable kernels, best otherwise."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from lth import LthError, Ticket, models, moves
from lth.networks.cost import uses
from lth.networks.net import Net
from lth.networks.rewrites import low_rank, separable
from lth.networks.rewrites.carry import carried, full_mask
from lth.networks.rewrites.separable import Separable
from lth.networks.ticket import draw_state, layers_of, network_of
from tests import toys
from tests.toys import run_study, setup_of

TARGET = "lth.networks.rewrites.separable"
PART = partial

LAYERS = {
    "plain": (lambda: nn.Conv2d(3, 6, 3), (2, 3, 8, 7)),
    "stride": (lambda: nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False), (2, 3, 8, 7)),
    "uneven": (lambda: nn.Conv2d(4, 3, (2, 5), padding=(0, 2)), (2, 4, 8, 7)),
    "dilation": (lambda: nn.Conv2d(3, 6, 3, dilation=2), (2, 3, 8, 7)),
    "circular": (lambda: nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular"), (2, 3, 8, 7)),
    "same": (lambda: nn.Conv2d(3, 6, 3, padding="same"), (2, 3, 8, 7)),
    "one channel": (lambda: nn.Conv2d(1, 6, 3), (2, 1, 8, 7)),
    "conv1d": (lambda: nn.Conv1d(3, 6, 4), (2, 3, 9)),
}


def conv_of(name):
    torch.manual_seed(5)
    make, shape = LAYERS[name]
    return make(), torch.randn(shape)


@pytest.mark.parametrize("name", LAYERS)
def test_it_is_exact_where_the_kernel_is_separable(name):
    """To float32's rounding: 1e-6 of values around 1."""
    conv, inputs = conv_of(name)
    outputs, channels, *kernel = conv.weight.shape
    points = torch.randn(outputs, channels, *[1] * len(kernel))
    conv.weight.data = points * torch.randn(1, channels, *kernel)
    net = nn.Sequential(conv)
    form = separable(net)
    assert isinstance(form[0], Separable) and type(net[0]) is type(conv)  # a copy
    torch.testing.assert_close(form(inputs), net(inputs), atol=5e-6, rtol=1e-5)
    torch.testing.assert_close(form[0].weight, conv.weight, atol=2e-6, rtol=1e-5)
    assert form[0].bias is None or torch.equal(form[0].bias, conv.bias)


@pytest.mark.parametrize("name", LAYERS)
def test_otherwise_it_is_the_best_of_rank_one_in_every_channel(name):
    conv, inputs = conv_of(name)
    form = separable(nn.Sequential(conv))
    assert form(inputs).shape == conv(inputs).shape
    for channel in range(conv.weight.shape[1]):
        slices = conv.weight[:, channel].detach().double().flatten(1)
        tail = torch.linalg.svdvals(slices)[1:].square().sum()
        error = (form[0].weight[:, channel].detach().double().flatten(1) - slices).square().sum()
        torch.testing.assert_close(error, tail, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("k", "inputs", "outputs"), [(3, 4, 8), (5, 20, 50), (2, 3, 3)])
def test_numbers_and_multiply_adds_are_the_closed_forms(k, inputs, outputs):
    """k^2 I + I O against k^2 I O; multiply-adds are as many at every place of the output."""
    dense = {"_target_": "tests.test_separable.one", "k": k, "inputs": inputs, "outputs": outputs}
    form, shape = {"_target_": TARGET, "model": dense}, (inputs, 9, 9)
    places = (9 - k + 1) ** 2
    for spec, expected in ((dense, k * k * inputs * outputs), (form, (k * k + outputs) * inputs)):
        sizes, times = layers_of(spec).sizes, uses(spec, shape)
        assert sum(sizes.values()) == expected
        assert sum(sizes[n] * times[n] for n in sizes) == expected * places
    ratio = sum(layers_of(form).sizes.values()) / layers_of(dense).total
    assert ratio == pytest.approx(1 / outputs + 1 / k**2)


def one(k, inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, k, bias=False))


class Mine(nn.Module):
    """A stranger's: convolutions of all kinds, one tied, one called twice, by names of its own."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.block = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)])
        self.block[1].weight = self.block[0].weight
        self.norm = nn.BatchNorm2d(4)
        self.groups = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.point, self.up = nn.Conv2d(4, 6, 1), nn.ConvTranspose2d(6, 2, 3)
        self.output = nn.Linear(2 * 6 * 6, 4)

    def forward(self, inputs):
        found = self.stem(inputs)
        for conv in self.block:
            found = self.norm(conv(found) + conv(found).tanh()).relu()
        return self.output(self.up(self.point(self.groups(found))).flatten(1))


def test_a_strangers_module_with_a_forward_of_its_own():
    torch.manual_seed(1)
    net, inputs = Mine(), torch.randn(3, 1, 4, 4)
    form = separable(net)  # all that it makes smaller but the first
    kinds = {n: type(m).__name__ for n, m in form.named_modules() if n.count(".") == 0}
    assert kinds["stem"] == "Conv2d" and kinds["point"] == "Conv2d" and kinds["groups"] == "Conv2d"
    assert kinds["up"] == "ConvTranspose2d" and isinstance(form.block[0], Separable)
    assert form.block[0].depthwise.weight is form.block[1].depthwise.weight
    assert torch.equal(form.block[1].bias, net.block[1].bias)
    form(inputs).sum().backward()
    assert all(p.grad is not None for p in form.parameters())
    assert isinstance(separable(net, ["stem"]).stem, Separable)
    assert len([m for m in separable(net, ["*"]).modules() if isinstance(m, Separable)]) == 3


def test_the_first_convolution_stays_and_a_second_time_nothing_is_left():
    net = models.all_conv(input_shape=(3, 8, 8), classes=4, widths=(4, 6))
    form = separable(net)
    other = models.all_conv(input_shape=(3, 8, 8), classes=4, widths=(4, 6), separable=True)
    here, there = (dict(m.state_dict()) for m in (form, other))
    assert {n: t.shape for n, t in here.items()} == {n: t.shape for n, t in there.items()}
    other.load_state_dict(form.state_dict())
    inputs = torch.randn(2, 3, 8, 8)
    assert torch.equal(other.eval()(inputs), form.eval()(inputs))
    with pytest.raises(LthError, match="separable: no convolution is there that it makes smaller"):
        separable(form)
    assert torch.equal(separable(net, [])(inputs), net(inputs))  # its identity


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (["stam"], r"separable\.layers: no layer is named 'stam'; did you mean stem\?"),
        (["output"], "output cannot be taken apart: it is a Linear, and only convolutions"),
        (["point"], "point cannot be taken apart: it is pointwise: its kernel is 1x1"),
        (["groups"], "groups cannot be taken apart: its channels are in 2 groups"),
        (["up"], "up cannot be taken apart: it is a ConvTranspose2d"),
        ("stem", "'stem': a list of layers, by name or pattern"),
    ],
)
def test_what_has_no_separable_form_is_refused_in_one_line(layers, words):
    with pytest.raises(LthError, match=words):
        separable(Mine(), layers)


CONVS = {"_target_": "lth.models.all_conv", "input_shape": [1, 4, 4], "classes": 4,
         "widths": [4, 5]}  # fmt: skip
INPUTS = torch.linspace(-1, 1, 5 * 16).reshape(5, 1, 4, 4)


def net_of(model, seed=0):
    state = draw_state(model, seed)
    return Net(model=model, mask=full_mask(model), params=state.params, buffers=state.buffers)


def outputs(net):
    return network_of(net.model, net.start).eval()(INPUTS)


def test_a_net_is_carried_with_its_norms_and_a_mask_is_refused():
    net = net_of(CONVS)
    net = replace(net, buffers={**net.buffers, "norm2.running_var": torch.arange(1.0, 5)})
    form = {"_target_": TARGET, "model": CONVS, "layers": None}
    found = carried(net, form)
    assert torch.equal(found.buffers["norm2.running_var"], torch.arange(1.0, 5))
    assert torch.equal(found.params["norm1.weight"], net.params["norm1.weight"])
    assert found.mask.keys() == layers_of(form).shapes.keys()
    assert {"conv2.depthwise.weight", "conv2.pointwise.weight", "conv1.weight"} <= set(found.mask)
    back = network_of(found.model, found.start)
    plain = network_of(net.model, net.start)
    for name in ("conv2", "conv3", "conv4"):  # a net of such kernels is carried exactly
        plain.get_submodule(name).weight.data = back.get_submodule(name).weight.detach()
    params = dict(plain.named_parameters())
    exact = replace(net, params={n: p.detach() for n, p in params.items()})
    torch.testing.assert_close(outputs(carried(exact, form)), outputs(exact), atol=1e-5, rtol=1e-4)
    mask = {n: m.clone() for n, m in net.mask.items()}
    mask["conv2.weight"][0] = False
    with pytest.raises(LthError, match="separable: it would break the network's mask: rewrite fi"):
        carried(replace(net, mask=mask), form)


def test_forms_inside_each_other():
    net = net_of(CONVS)
    thin = {"_target_": "lth.networks.rewrites.low_rank", "model": CONVS, "ranks": {"conv4": 2}}
    both = {"_target_": TARGET, "model": thin, "layers": ["conv3", "conv4.first"]}
    found = carried(net, both)
    assert {"conv3.pointwise.weight", "conv4.first.depthwise.weight", "conv4.second.weight"} <= set(
        found.params
    )
    assert outputs(found).shape == (5, 4)
    apart = {"_target_": TARGET, "model": CONVS, "layers": ["conv4"]}
    turned = {"_target_": "lth.networks.rewrites.low_rank", "model": apart,
              "ranks": {"conv4.pointwise": 2}}  # fmt: skip
    assert "conv4.pointwise.first.weight" in carried(net, turned).params
    module = separable(low_rank(network_of(CONVS, net.start), {"conv4": 2}), ["conv4.first"])
    assert isinstance(module.conv4.first, Separable)


def test_a_ticket_in_separable_form_is_saved_and_loaded(tmp_path):
    net = carried(net_of(CONVS), {"_target_": TARGET, "model": CONVS, "layers": ["conv2"]})
    mask = {n: m.clone() for n, m in net.mask.items()}
    mask["conv2.depthwise.weight"][0] = False
    ticket = Ticket(**vars(replace(net, mask=mask)))
    ticket.save(tmp_path / "a.ticket")
    loaded = Ticket.load(tmp_path / "a.ticket")
    assert loaded == ticket and loaded.density < 1
    torch.testing.assert_close(loaded.module().eval()(INPUTS), outputs(ticket))


# -- methods


def method(*listed, **others):
    return {"m": {"at": "dense", "repeat": 1, "moves": [*listed], **others}}


def test_a_network_made_separable_trains_on_and_is_pruned(tmp_path):
    """A ticket of a separable network: the form first, then prune and rewind in it."""
    way = method(PART(moves.separate, weights="rewound"), moves.prune_and_rewind)
    study = run_study(tmp_path, model=CONVS, trials=1, levels=1, rewind={"step": 4}, method=way)
    whole = study.entry().about["model"]
    dense = Net(model=whole, mask=full_mask(whole), **study.entry().at(4)._asdict())
    first, second = (study.entry(arm="m", level=1, phase=n) for n in (1, 2))
    start = carried(dense, first.about["model"])
    assert all(torch.equal(p, start.params[n]) for n, p in first.start.params.items())
    assert first.about["model"]["layers"] == ["conv2", "conv3", "conv4"]
    for name, m in second.mask.items():
        assert torch.equal(second.start.params[name], start.params[name] * m)
        assert not second.final.params[name][~m].any()
    assert not second.mask["conv2.depthwise.weight"].all()
    one, two = (study.ticket(arm="m", level=1, phase=n).density for n in (1, 2))
    assert 1 > one > two


def test_a_ticket_of_a_model_that_is_separable_from_the_start(tmp_path):
    study = run_study(tmp_path, model=CONVS | {"separable": True}, trials=1, levels=2)
    assert study.ticket(level=2).density < study.ticket(level=1).density < 1


def test_the_separable_form_trained_by_what_it_has_learned_or_drawn_anew(tmp_path):
    ways = {w: {"at": "dense", "repeat": 1, "moves": [PART(moves.separate, weights=w), *rest]}
            for w, rest in (("trained", [moves.measure]), ("drawn", []))}  # fmt: skip
    study = run_study(tmp_path, model=toys.norm_net, trials=1, levels=1, method=ways)
    found = {w: study.entry(arm=w, level=1) for w in ways}
    assert [e.about["steps"] for e in found.values()] == [0, 20]
    assert found["trained"].about["model"] == found["drawn"].about["model"]
    name = "0.depthwise.weight"  # the only convolution there is
    assert not torch.equal(found["trained"].start.params[name], found["drawn"].start.params[name])


def test_a_move_that_cannot_be_is_refused_before_work(tmp_path):
    for given, words in (
        ([PART(moves.separate, layers=["conv9"]), moves.train], r"moves\.separate: .*conv9"),
        ([moves.prune, moves.separate, moves.train], "separable: it would break the network's mas"),
        ([moves.separate], "separate leaves nothing to train"),
        ([PART(moves.separate, weights="none"), moves.train], "weights=none: it is one of"),
    ):
        with pytest.raises(LthError, match=words) as caught:
            setup_of(tmp_path, model=CONVS, method=method(*given))
        assert "\n" not in str(caught.value) and not (tmp_path / "store").exists()
    with pytest.raises(LthError, match="no convolution is there"):
        setup_of(tmp_path, method=method(moves.separate, moves.train))


def test_members_in_separable_form_train_stacked_as_alone(tmp_path):
    form = {"_target_": TARGET, "model": CONVS, "layers": None}
    jobs = [toys.job(form, trial, density=2.0) for trial in (0, 1)]
    alone, stacked = toys.train(jobs, tmp_path / "a"), toys.train_stacked(jobs, tmp_path / "b")
    for one, other in zip(alone, stacked, strict=True):
        for name, value in one.final.params.items():
            torch.testing.assert_close(value, other.final.params[name], atol=1e-4, rtol=1e-3)
