"""Neurons and channels taken out: found, proven, equal, smaller; and the moves that choose them."""

import dataclasses

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lth import LthError, Ticket, config
from lth.networks import masks
from lth.networks.net import Net
from lth.networks.rewrites import narrowed
from lth.networks.rewrites.carry import carried, full_mask
from lth.networks.rewrites.units import find_units, units_of
from lth.networks.ticket import State, draw_model, draw_state, drawable, layers_of, network_of
from lth.pruning.probe import Probe
from lth.pruning.units import apoz, magnitude, surviving, taylor
from lth.spec.build import build, fill
from lth.study.progress import Display
from lth.study.run import execute, study_of
from lth.study.setup import prepare
from tests import laws, toys
from tests.zoo import ZOO

SHAPE = (1, 4, 4)
NARROW = "lth.networks.rewrites.narrowed"
MLP = toys.MLP | {"width": 8}


class Stranger(nn.Module):
    """A network of one's own: names, shapes and a forward pass that lth knows nothing of."""

    def __init__(self, classes: int = 4):
        super().__init__()
        self.enter = nn.Conv2d(1, 6, 3, padding=1)
        self.inner, self.norm = nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.back, self.back_norm = nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6)
        self.hidden, self.out = nn.Linear(6 * 4, 10), nn.Linear(10, classes)

    def forward(self, x):
        x = F.relu(self.enter(x))
        x = F.relu(x + self.back_norm(self.back(self.norm(self.inner(x)).relu())))
        x = F.max_pool2d(x, 2).flatten(1)
        return self.out(torch.tanh(self.hidden(x)))


class Hard(nn.Module):
    """Sizes written into the forward pass."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(16, 8), nn.Linear(8, 6), nn.Linear(6, 4)

    def forward(self, x):
        return self.c(self.b(self.a(x.flatten(1)).view(-1, 2, 4).flatten(1)).relu())


STRANGER = {"_target_": "tests.test_neurons.Stranger"}


def net_of(spec, seed=1, mask=None):
    """A net whose norms have seen something."""
    state = draw_state(spec, seed)
    generator = torch.Generator().manual_seed(seed)
    buffers = {
        n: torch.rand(b.shape, generator=generator) + 0.5 if b.is_floating_point() else b
        for n, b in state.buffers.items()
    }
    params = {
        n: p + 0.1 * torch.randn(p.shape, generator=generator) for n, p in state.params.items()
    }
    return Net(model=spec, mask=mask or full_mask(spec), params=params, buffers=buffers)


def spec_of(model, keep, shape=SHAPE):
    return {"_target_": NARROW, "model": model, "keep": keep, "input_shape": list(shape)}


def unused(net, keep, shape=SHAPE):
    """The net with what goes used by nothing: the masked network that a narrow one must equal."""
    units = units_of(net.model, shape)
    params = dict(net.start.params)
    for number in units.beyond(keep):
        for name, places in units.groups[number].inputs.items():
            weight = params[f"{name}.weight"].clone()
            weight[:, list(places)] = 0.0
            params[f"{name}.weight"] = weight
    return network_of(net.model, State(params, net.buffers))


def images(shape=SHAPE, count=6):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(3))


def size(network):
    return sum(p.numel() for p in network.parameters())


def flops(network, x):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(x)
    return counter.get_total_flops()


LENET5 = {"_target_": "lth.models.lenet5", "input_shape": [1, 16, 16], "classes": 4,
          "widths": [4, 6, 10]}  # fmt: skip
RESNET = {"_target_": "lth.models.resnet", "input_shape": [1, 8, 8], "classes": 4, "depth": 8,
          "width": 4}  # fmt: skip
CASES = {
    "linear": (MLP, {"1": [0, 3, 4, 7]}, SHAPE),
    "conv to linear": (LENET5, {"conv1": [1, 2], "conv2": [0, 2, 5], "fc1": [0, 1, 2, 9]},
                       (1, 16, 16)),
    "norm": (toys.NORM, {"0": [0, 2, 3]}, SHAPE),
    "residual": (RESNET, {"stem.conv": [0, 1, 3], "stage1.block1.first.conv": [2],
                          "stage2.block1.shortcut.conv": [0, 4, 7]}, (1, 8, 8)),
    "a stranger's": (STRANGER, {"enter": [0, 2, 5], "inner": [1, 2, 3, 6], "hidden": [4, 8]},
                     SHAPE),
}  # fmt: skip
CASE = pytest.mark.parametrize(("model", "keep", "shape"), CASES.values(), ids=CASES)


# -- the form


class Unscaled(nn.Module):
    """A norm without weights of its own, with statistics or without."""

    def __init__(self, kind: str, **said):
        super().__init__()
        self.enter, self.norm = (
            nn.Conv2d(1, 8, 3, padding=1, bias=False),
            getattr(nn, kind)(8, **said),
        )
        self.inner, self.out = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)

    def forward(self, x):
        return self.out(self.inner(self.norm(self.enter(x)).relu()).relu().mean((2, 3)))


@pytest.mark.parametrize(
    ("kind", "said", "held"),
    [
        ("BatchNorm2d", {"affine": False}, 3),
        ("InstanceNorm2d", {}, 0),
        ("InstanceNorm2d", {"track_running_stats": True}, 3),
        ("BatchNorm2d", {"affine": False, "track_running_stats": False}, 0),
    ],
)
def test_a_norm_without_weights_is_narrowed_too(kind, said, held):
    net = net_of({"_target_": "tests.test_neurons.Unscaled", "kind": kind, **said})
    keep = {"enter": [0, 2, 3, 7], "inner": [1, 5]}
    narrow, whole = carried(net, spec_of(net.model, keep)), unused(net, keep)
    for training in (False, True):
        slim = narrow.module().train(training)
        torch.testing.assert_close(
            slim(images()), whole.train(training)(images()), atol=1e-5, rtol=1e-5
        )
    assert slim.norm.num_features == 4 and len(narrow.buffers) == held
    assert all(b.shape in ((4,), ()) for b in narrow.buffers.values())


@CASE
def test_a_narrow_network_computes_what_the_masked_one_does_and_is_smaller(model, keep, shape):
    net = net_of(model)
    narrow, whole = carried(net, spec_of(model, keep, shape)), unused(net, keep, shape)
    x = images(shape)
    for training in (False, True):
        slim = narrow.module().train(training)
        torch.testing.assert_close(slim(x), whole.train(training)(x), atol=1e-5, rtol=1e-5)
    assert size(slim) < 0.8 * size(whole) and flops(slim, x) < 0.8 * flops(whole, x)
    assert masks.kept(narrow.mask) == {n: m.numel() for n, m in full_mask(narrow.model).items()}


@CASE
def test_all_units_kept_is_the_network_to_the_bit(model, keep, shape):
    net, units = net_of(model), units_of(model, shape)
    whole = spec_of(model, {n: list(range(units.outputs[n])) for n in keep}, shape)
    narrow = carried(net, whole)
    assert all(torch.equal(p, narrow.params[n]) for n, p in net.params.items())
    assert all(torch.equal(p, narrow.buffers[n]) for n, p in net.buffers.items())
    for seed in (0, 1):
        ours, theirs = draw_state(whole, seed), draw_state(model, seed)
        assert all(torch.equal(p, ours.params[n]) for n, p in theirs.params.items())
    assert torch.equal(narrow.module()(images(shape)), net.module()(images(shape)))


SOUND = {
    "pre-activation", "dense", "squeeze-excite", "depthwise", "dilated", "1-d", "3-d", "u-net",
    "inception", "vit", "in place", "keywords", "stochastic depth", "encoder", "lora", "norms",
    "siamese", "two heads", "unused",
}  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_goes_from_any_network_leaves_the_rest_as_it_was(name):
    """Half of every family that can go; what cannot be followed or proven says so, and stays."""
    spec = drawable(fill(ZOO[name]["model"], classes=4, input_shape=list(SHAPE)), SHAPE)
    try:
        units = find_units(draw_model(spec, 0), SHAPE)
    except LthError as error:
        assert "\n" not in str(error) and name not in SOUND
        return
    assert name not in SOUND or units.groups
    gone = [n for names, numbers in units.families() for n in numbers[1::2]]
    keep = units.without(gone)[0]
    if not keep:
        return
    net = dataclasses.replace(net_of(spec), params=draw_state(spec, 1).params)
    slim, whole = carried(net, spec_of(spec, keep)).module().eval(), unused(net, keep).eval()
    torch.testing.assert_close(slim(images()), whole(images()), atol=1e-5, rtol=1e-5)
    assert size(slim) < size(whole)


def test_who_belongs_to_whom_is_found():
    units = units_of(STRANGER, SHAPE)
    assert [names for names, _ in units.families()] == [("enter", "back"), ("inner",), ("hidden",)]
    first = units.groups[0]
    assert dict(first.outputs) == {"enter": (0,), "back": (0,), "back_norm": (0,)}
    assert dict(first.inputs) == {"inner": (0,), "hidden": (0, 1, 2, 3)}  # its four pixels
    assert set(units.stuck) == {"out"}
    assert {n: spot.call for n, (spot, _) in units.relus.items()} == {
        "enter": 0, "inner": 1, "back": 2}  # fmt: skip


def test_what_cannot_be_proven_stays():
    units = find_units(Hard(), SHAPE)
    assert [names for names, _ in units.families()] == [("b",)]
    assert "does not run" in units.stuck["a"]
    pad = {**RESNET, "shortcut": "pad"}
    held = {n for names, _ in units_of(pad, (1, 8, 8)).families() for n in names}
    assert held == {f"stage{s}.block1.first.conv" for s in (1, 2, 3)}


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"5": [0]}, r"keep\.5: unit 1 cannot go: they reach the network's outputs"),
        ({"9": [0]}, r"keep\.9: no layer whose units are known; there are 0, 5"),
        ({"0": []}, r"keep\.0=\[\]: units to keep, at least one"),
        ({"0": [1, 0]}, r"keep\.0=\[1, 0\]: .* in order"),
        ({"0": [True]}, r"keep\.0=\[True\]"),
        ({"0": [0, 6]}, r"keep\.0: it has 6 units, and no 6"),
    ],
)
def test_a_form_that_cannot_be_is_refused_in_one_line(keep, message):
    with pytest.raises(LthError, match=message) as error:
        carried(net_of(toys.NORM), spec_of(toys.NORM, keep))
    assert "\n" not in str(error.value)


def test_units_that_an_addition_joins_are_named_alike_or_not_at_all():
    one, both = ({"enter": [0, 1]}, {"enter": [0, 1], "back": [0, 1]})
    a, b = (carried(net_of(STRANGER), spec_of(STRANGER, k)) for k in (one, both))
    assert all(torch.equal(p, b.params[n]) for n, p in a.params.items())
    with pytest.raises(LthError, match=r"keep\.enter: units that it keeps are joined to some that"):
        carried(net_of(STRANGER), spec_of(STRANGER, {"enter": [0, 1], "back": [0]}))


def test_the_factory_finds_what_goes_along_and_guesses_the_shape_of_an_example():
    network = build({"_target_": NARROW, "model": LENET5, "keep": {"conv2": [0, 5]}})
    assert network.fc1.weight.shape == (10, 2) and network.training
    assert network(images((1, 16, 16))).shape == (6, 4)
    with torch.device("meta"):
        assert build(spec_of(LENET5, {"conv2": [0, 5]}, (1, 16, 16))).fc1.weight.shape == (10, 2)
    with pytest.raises(LthError, match="give input_shape"):
        narrowed(nn.Sequential(nn.Conv3d(1, 2, 1), nn.Flatten(), nn.Linear(7, 2)), {"0": [0]})


@pytest.mark.parametrize("init", ["glorot_normal", "kaiming_normal"])
def test_a_narrow_network_drawn_anew_has_the_scale_of_one_of_its_width(init):
    model = {"_target_": "lth.models.lenet", "input_shape": [400], "classes": 10, "init": init}
    keep = {"fc1": list(range(40)), "fc2": list(range(20))}
    ours = draw_state(spec_of(model, keep, (400,)), 0).params
    theirs = draw_state({**model, "widths": [40, 20]}, 0).params
    for name in ("fc1.weight", "fc2.weight"):
        assert float(ours[name].std() / theirs[name].std()) == pytest.approx(1, abs=0.1)


# -- constants and masks


def dead_in(spec, layer, units, bias=0.5):
    """A net in which some units have no incoming weight, and a bias."""
    net = net_of(spec)
    mask = {n: m.clone() for n, m in net.mask.items()}
    mask[f"{layer}.weight"][units] = False
    params = dict(net.params)
    if f"{layer}.bias" in params:
        params[f"{layer}.bias"] = params[f"{layer}.bias"].clone()
        params[f"{layer}.bias"][units] = bias
    elif spec == toys.NORM:
        params["1.bias"] = params["1.bias"].clone()
        params["1.bias"][units] = 5.0
    return dataclasses.replace(net, mask=mask, params=params)


@pytest.mark.parametrize(
    ("model", "layer", "shape"),
    [(MLP, "1", SHAPE), (toys.NORM, "0", SHAPE), (LENET5, "conv1", (1, 16, 16)),
     (LENET5, "fc1", (1, 16, 16)), (STRANGER, "hidden", SHAPE)],
)  # fmt: skip
def test_a_unit_that_is_constant_goes_into_the_next_bias(model, layer, shape):
    net = dead_in(model, layer, [0, 2])
    left = [n for n in range(units_of(model, shape).outputs[layer]) if n not in (0, 2)]
    narrow = carried(net, spec_of(model, {layer: left}, shape)).module().eval()
    x = images(shape)
    torch.testing.assert_close(narrow(x), net.module().eval()(x), atol=1e-5, rtol=1e-5)
    lost = unused(net, {layer: left}, shape).eval()
    assert not torch.allclose(narrow(x), lost(x), atol=1e-3)  # the constant counts


def test_a_mask_goes_along():
    net = net_of(STRANGER)
    generator = torch.Generator().manual_seed(0)
    mask = {n: torch.rand(m.shape, generator=generator) < 0.5 for n, m in net.mask.items()}
    net = dataclasses.replace(net, mask=mask)
    keep = {"inner": [1, 2, 6], "hidden": [0, 5]}
    narrow = carried(net, spec_of(STRANGER, keep))
    assert torch.equal(narrow.mask["inner.weight"], mask["inner.weight"][[1, 2, 6]])
    assert torch.equal(narrow.mask["out.weight"], mask["out.weight"][:, [0, 5]])
    assert torch.equal(narrow.params["inner.weight"], net.params["inner.weight"][[1, 2, 6]])
    whole = unused(net, keep)
    ours = narrow.module().eval()(images())
    torch.testing.assert_close(ours, whole.eval()(images()), atol=1e-5, rtol=1e-5)


def test_narrower_still_is_one_form_of_the_first_network(tmp_path):
    net = net_of(STRANGER)
    first = carried(net, spec_of(STRANGER, {"inner": [0, 1, 4, 5, 7], "hidden": [1, 2, 3]}))
    keep = {"inner": [1, 4], "hidden": [2]}
    twice, once = (carried(n, spec_of(STRANGER, keep)) for n in (first, net))
    assert all(torch.equal(p, twice.params[n]) for n, p in once.params.items())
    assert twice.model == once.model and all(m.all() for m in twice.mask.values())
    ticket = Ticket(**{f.name: getattr(twice, f.name) for f in dataclasses.fields(Net)})
    ticket.save(tmp_path / "t")
    again = Ticket.load(tmp_path / "t", trust=["tests.test_neurons"])
    assert again == ticket
    assert torch.equal(again.module().eval()(images()), twice.module().eval()(images()))


# -- importance


def probe_of(spec, loss=F.cross_entropy):
    x = images(count=40)
    targets = torch.arange(40) % 4
    return Probe(spec, SHAPE, 4, loss, lambda number, generator: (x[:number], targets[:number]))


def scores(importance, net, shape=SHAPE):
    units = units_of(net.model, shape)
    left = list(range(len(units.groups)))
    generator = torch.Generator().manual_seed(0)
    found = importance(net, units, left, probe=probe_of(net.model), generator=generator)
    names = {n: g for n, g in units.families()}
    return {names_[0]: found[g] for names_, g in names.items()}


def test_apoz_is_the_share_of_zeros_behind_the_relu():
    net = net_of(STRANGER)
    network, x = net.module().eval(), images(count=40)
    enter = network.enter(x).relu()
    inner = network.norm(network.inner(enter)).relu()
    joined = (enter + network.back_norm(network.back(inner))).relu()
    off = [(t == 0).double().mean((0, 2, 3)) for t in (enter, inner, joined)]
    with pytest.raises(LthError, match=r"apoz: the units of hidden pass no ReLU"):
        scores(apoz(40), net)
    units = units_of(STRANGER, SHAPE)
    left = [n for n, g in enumerate(units.groups) if "hidden" not in g.outputs]
    found = apoz(40)(net, units, left, probe=probe_of(STRANGER), generator=torch.Generator())
    torch.testing.assert_close(found[:6], 1 - (off[0] + off[2]) / 2)
    torch.testing.assert_close(found[6:], 1 - off[1])


def test_apoz_counts_before_the_pooling():
    spec = {"_target_": "lth.models.conv", "input_shape": [1, 4, 4], "classes": 4, "blocks": [3],
            "hidden": 5}  # fmt: skip
    net = net_of(spec)
    network = net.module().eval()
    x = images(count=40)
    active = (network.conv2(network.conv1(x).relu()) > 0).double().mean((0, 2, 3))
    torch.testing.assert_close(scores(apoz(40), net)["conv2"], active)


def test_magnitude_orders_by_the_norm_of_what_comes_in_or_in_and_out():
    net = net_of(MLP)
    w, v = net.params["1.weight"].double(), net.params["3.weight"].double()
    torch.testing.assert_close(scores(magnitude(), net)["1"], (w**2).mean(1).sqrt())
    torch.testing.assert_close(scores(magnitude(norm=1), net)["1"], w.abs().mean(1))
    both = torch.cat([w, v.T], 1)
    found = scores(magnitude(outgoing=True), net)["1"]
    torch.testing.assert_close(found, (both**2).mean(1).sqrt())
    masked = dataclasses.replace(net, mask={n: p > 0 for n, p in net.params.items() if p.ndim > 1})
    torch.testing.assert_close(scores(magnitude(norm=1), masked)["1"], w.clamp(min=0).mean(1))
    torch.testing.assert_close(scores(surviving(), masked)["1"], (w > 0).double().mean(1))
    with pytest.raises(LthError, match=r"importance\.norm=3"):
        magnitude(norm=3)


def test_taylor_is_the_squared_first_order_change():
    net = net_of(MLP)
    x, targets = images(count=40), torch.arange(40) % 4
    network = net.module()
    F.cross_entropy(network(x), targets).backward()
    w, b = network[1].weight, network[1].bias
    expected = ((w * w.grad).sum(1) + b * b.grad) ** 2
    torch.testing.assert_close(scores(taylor(40), net)["1"], expected.detach().double())


# -- moves


PRUNE = {"_target_": "lth.moves.prune_neurons"}
DROP = {"_target_": "lth.moves.drop_dead"}
MEASURE = {"_target_": "lth.moves.measure"}
TUNE = {"_target_": "lth.moves.fine_tune", "steps": 4}
STEPS = laws.SETTINGS["recipe"]["steps"]


def run(out, *made, at="dense", **settings):
    method = {"m": {"at": at, "moves": list(made)}}
    given = laws.SETTINGS | {"trials": 1, "out": str(out), "model": Stranger, "levels": 1,
                             "arms": ["winning_ticket"]}  # fmt: skip
    setup = prepare(config.compose(**given | {"method": method} | settings))
    execute(setup, Display(Console(), enabled=False))
    return study_of(setup)


def widths(ticket):
    return {n: s[0] for n, s in layers_of(ticket.model).shapes.items()}


def member(study, level=1, phase=1):
    return study.ticket(arm="m", level=level, phase=phase)


def test_a_strangers_network_is_narrowed_level_by_level_and_fine_tuned(tmp_path):
    study = run(tmp_path, PRUNE | {"rate": 0.3}, TUNE, levels=2)
    one, two = member(study), member(study, 2)
    assert widths(one) == {"enter.weight": 4, "inner.weight": 6, "back.weight": 4,
                           "hidden.weight": 7, "out.weight": 4}  # fmt: skip
    assert widths(two) == {"enter.weight": 3, "inner.weight": 4, "back.weight": 3,
                           "hidden.weight": 5, "out.weight": 4}  # fmt: skip
    assert two.model["model"] == one.model["model"] == study.ticket(level=0).model  # one form
    assert {*two.model["keep"]["inner"]} < {*one.model["keep"]["inner"]}
    assert two.density == sum(layers_of(two.model).sizes.values()) / study.ticket(level=0).weights
    network = study.network(arm="m", level=2, phase=1)
    x = images()
    assert flops(network, x) < flops(study.network(level=0), x)
    assert run(tmp_path, PRUNE | {"rate": 0.3}, TUNE, levels=2).provenance["trained"] == 0


def test_a_pruned_network_starts_as_the_trained_one_without_its_units(tmp_path):
    study = run(tmp_path, PRUNE | {"rate": 0.3}, MEASURE)
    dense, narrow = study.entry(), member(study)
    keep = narrow.model["keep"]
    whole = Net(model=study.ticket(level=0).model, mask=full_mask(STRANGER),
                params=dense.final.params, buffers=dense.final.buffers)  # fmt: skip
    expected = unused(whole, {n: keep[n] for n in ("enter", "inner", "hidden")}).eval()(images())
    ours = study.network(arm="m", level=1, phase=1).eval()(images())
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    lost = set(range(8)) - set(keep["inner"])  # the smallest norms
    norms = dense.final.params["inner.weight"].flatten(1).norm(dim=1)
    assert max(norms[list(lost)]) <= min(norms[keep["inner"]])


@pytest.mark.parametrize("weights", ["rewound", "drawn"])
def test_a_neuron_ticket_starts_at_the_rewinding_point_or_anew(weights, tmp_path):
    study = run(tmp_path, PRUNE | {"weights": weights}, rewind={"step": 4}, levels=2)
    for level in (1, 2):
        ticket, dense = member(study, level), study.entry()
        assert ticket.step == (4 if weights == "rewound" else 0)
        kept = ticket.model["keep"]["enter"]
        same = torch.equal(ticket.params["enter.weight"], dense.at(4).params["enter.weight"][kept])
        assert same == (weights == "rewound")
    entry = study.entry(arm="m", level=2, phase=1)
    assert entry.about["step"] + entry.about["steps"] == STEPS


@pytest.mark.parametrize("importance", ["magnitude", "apoz", "taylor", "random"])
def test_counts_by_layer_and_every_importance(importance, tmp_path):
    to = {"enter": 2, "inner": 3}
    study = run(tmp_path, PRUNE | {"to": to, "importance": importance}, TUNE)
    assert {n: w for n, w in widths(member(study)).items() if n != "out.weight"} == {
        "enter.weight": 2, "inner.weight": 3, "back.weight": 2, "hidden.weight": 10}  # fmt: skip


def test_all_units_kept_changes_nothing(tmp_path):
    study = run(tmp_path, PRUNE | {"to": {"enter": 6}}, MEASURE)
    ticket, dense = member(study), study.entry()
    assert ticket.model == study.ticket(level=0).model
    assert all(torch.equal(p, ticket.params[n]) for n, p in dense.final.params.items())


def test_over_all_layers_together_no_layer_is_emptied(tmp_path):
    study = run(tmp_path, PRUNE | {"per": "globally", "rate": 0.85}, TUNE)
    left = widths(member(study))
    assert min(left.values()) == 1 and left["out.weight"] == 4
    assert left["enter.weight"] + left["inner.weight"] + left["hidden.weight"] == 4  # of 24


def test_ties_are_drawn_and_the_same_again(tmp_path):
    def kept(seed, out):
        equal = {"_target_": "tests.test_neurons.equals"}
        study = run(out, PRUNE | {"importance": equal, "rate": 0.5}, MEASURE, seed=seed)
        return member(study).model["keep"]["hidden"]

    first = kept(0, tmp_path / "a")
    assert first == kept(0, tmp_path / "b") and first != kept(1, tmp_path / "c")
    assert first not in ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])


def equals():
    return lambda net, units, left, **_: torch.zeros(len(left))


def test_dead_units_go_and_the_outputs_stay(tmp_path):
    study = run(tmp_path, DROP, MEASURE, at="winners", levels=[2, 5], prune={"rate": 0.5})
    for level in (2, 5):
        winner, ticket = study.ticket(level=level), member(study, level)
        ours = study.network(arm="m", level=level, phase=1).eval()(images())
        theirs = study.network(level=level).eval()(images())
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        assert ticket.weights <= winner.weights
    assert size(ticket.module()) < size(winner.module())
    for name, mask in ticket.mask.items():
        if name != "out.weight" and len(mask) > 1 and name != "enter.weight":
            assert mask.flatten(1).any(1).sum() >= 1
    assert not all(bool(m.all()) for m in ticket.mask.values())  # still a ticket


def test_a_dead_unit_before_zeros_at_the_border_stays_unless_it_is_off():
    from lth.pruning.units.dead import dead_groups

    spec = {"_target_": "lth.models.conv", "input_shape": [1, 4, 4], "classes": 4, "blocks": [3],
            "hidden": 5}  # fmt: skip
    units = units_of(spec, SHAPE)
    on, off = (dead_in(spec, "conv1", [1], bias) for bias in (0.5, -0.5))
    assert dead_groups(on, units, [], SHAPE) == []
    (number,) = dead_groups(off, units, [], SHAPE)
    assert units.groups[number].outputs == {"conv1": (1,)}
    last = dead_in(spec, "conv2", [0], 0.5)  # pooled, flattened: the next bias can hold it
    (number,) = dead_groups(last, units, [], SHAPE)
    assert units.groups[number].outputs == {"conv2": (0,)}


def test_dead_units_go_in_turn():
    """Without outgoing weights, the units that it alone took from go too."""
    from lth.pruning.units.dead import dead_groups

    spec = {"_target_": "lth.models.lenet", "input_shape": [4], "classes": 3, "widths": [4, 4]}
    net, units = net_of(spec), units_of(spec, (4,))
    mask = {n: m.clone() for n, m in net.mask.items()}
    mask["output.weight"][:, 1] = False  # nothing takes fc2's 1
    mask["fc2.weight"][[0, 2, 3], 2] = False  # which alone takes fc1's 2
    net = dataclasses.replace(net, mask=mask)
    found = {n: p for g in dead_groups(net, units, [], (4,)) for n, p in
             units.groups[g].outputs.items()}  # fmt: skip
    assert found == {"fc1": (2,), "fc2": (1,)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate": 0}, r"prune_neurons\.rate=0: a share of the units"),
        ({"rate": 1.0}, r"prune_neurons\.rate=1\.0"),
        ({"rate": 0.01}, r"rate=0\.01: no unit goes of 24 that could"),
        ({"per": "unit"}, r"prune_neurons\.per=unit: it is one of layer, globally"),
        ({"importance": "size"}, r"importance=size: it is one of magnitude, apoz"),
        ({"weights": "new"}, r"weights=new: it is one of trained, rewound, drawn"),
        ({"to": {"out": 2}}, r"to\.out: its units stay: they reach the network's outputs"),
        ({"to": {"fc9": 2}}, r"to\.fc9: no such layer; there are enter"),
        ({"to": {"enter": 7}}, r"to\.enter=7: it has 6 units"),
        ({"to": {"enter": 0}}, r"to\.enter=0: a whole number from 1"),
        ({"to": {"enter": 2, "back": 3}}, r"to: enter, back share their units: one number"),
        ({"to": {}}, r"prune_neurons\.to=\{\}: units by layer"),
        ({"importance": "apoz"}, r"apoz: the units of hidden pass no ReLU"),
    ],
)
def test_what_cannot_be_is_refused_before_work_in_one_line(given, message, tmp_path):
    with pytest.raises(LthError, match=message) as error:
        run(tmp_path, PRUNE | given, MEASURE)
    assert "\n" not in str(error.value) and not (tmp_path / "store").exists()


def test_a_network_without_units_that_can_go_is_refused(tmp_path):
    spec = {"_target_": "tests.test_neurons.flat_net"}
    with pytest.raises(LthError, match=r"no unit of tests\.test_neurons\.flat_net can be taken"):
        run(tmp_path, PRUNE, MEASURE, model=spec)


def flat_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 4))


def test_views_come_after(tmp_path):
    see = {"_target_": "tests.toys.see_scaled"}
    with pytest.raises(LthError, match=r"narrowed: .* views \(scale\): rewrite before them"):
        run(tmp_path, see, PRUNE, MEASURE)
    study = run(tmp_path, PRUNE, see, TUNE)
    assert "inner.weight/scale" in study.entry(arm="m", level=1, phase=1).final.params
