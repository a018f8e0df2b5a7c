"""Slimmable networks: several widths of one set of weights, and one of them as a network."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lth import LthError, moves
from lth.moves.slim import macs_at
from lth.networks import masks
from lth.networks.net import Net
from lth.networks.rewrites import at_width, slimmable
from lth.networks.rewrites.carry import carried
from lth.networks.rewrites.slim import share
from lth.networks.ticket import Ticket, draw_model, draw_state, layers_of, network_of
from tests import laws, toys
from tests.toys import NORM, counts, run_study

REWRITES = "lth.networks.rewrites"
WIDTHS = [0.25, 0.5, 1.0]
SHAPES = {
    "lenet": ({"input_shape": [1, 12, 12], "classes": 4, "widths": [12, 8]}, (1, 12, 12)),
    "lenet5": ({"input_shape": [1, 16, 16], "classes": 4, "widths": [4, 8, 12]}, (1, 16, 16)),
    "vgg": ({"input_shape": [3, 16, 16], "classes": 4, "width": 4, "depth": 11}, (3, 16, 16)),
    "resnet": ({"input_shape": [3, 8, 8], "classes": 4, "width": 4, "depth": 8}, (3, 8, 8)),
}


def model(name):
    arguments, shape = SHAPES[name]
    return {"_target_": f"lth.models.{name}", **arguments}, shape


def slim(inner, **more):
    return {"_target_": f"{REWRITES}.slimmable", "model": inner, "widths": WIDTHS, **more}


def narrow(inner, width):
    return {"_target_": f"{REWRITES}.at_width", "model": inner, "width": width}


def net_of(spec, seed=1, density=0.6):
    """A net under a random mask."""
    state, generator = draw_state(spec, seed), torch.Generator().manual_seed(seed)
    mask = {
        n: torch.rand(s, generator=generator) < density for n, s in layers_of(spec).shapes.items()
    }
    return Net(model=spec, mask=mask, **state._asdict())


def examples(shape, count=6):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(5))


def macs(network, inputs):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(inputs)
    return counter.get_total_flops() // 2 // len(inputs)


class Named(nn.Module):
    """Its layers are called by keyword."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 8)
        self.output = nn.Linear(8, 4)

    def forward(self, x):
        x = self.norm(input=self.conv(input=x)).relu().mean((2, 3))
        return self.output(input=self.fc(input=x).relu())


def test_layers_that_are_called_by_keyword_read_too():
    spec, x = {"_target_": "tests.test_slim.Named"}, examples((1, 8, 8))
    for form in (slim(spec), {"_target_": f"{REWRITES}.nested", "model": spec, "levels": [1, 2]}):
        outputs = carried(net_of(spec), form).module().train()(x)
        assert torch.equal(outputs[-1], net_of(spec).module().train()(x))


@pytest.mark.parametrize("name", SHAPES)
def test_at_full_width_it_is_the_plain_network_bit_for_bit(name):
    spec, shape = model(name)
    plain, x = net_of(spec), examples(shape)
    made = carried(plain, slim(spec))
    assert torch.equal(made.module().eval()(x), plain.module().eval()(x))
    trained, alone = made.module().train(), plain.module().train()
    outputs = trained(x)
    assert len(outputs) == 3 and torch.equal(outputs[-1], alone(x))
    full = carried(made, narrow(made.model, 1.0))
    assert full.params.keys() == plain.params.keys() and full.mask.keys() == plain.mask.keys()
    for held, there in ((full.params, plain.start.params), (full.mask, plain.mask)):
        assert all(torch.equal(held[n], there[n]) or n in plain.mask for n in held)
    assert torch.equal(full.module().eval()(x), plain.module().eval()(x))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("width", WIDTHS[:-1])
def test_a_width_is_an_ordinary_network_of_the_first_units(name, width):
    spec, shape = model(name)
    made, x = carried(net_of(spec), slim(spec)), examples(shape)
    shared = network_of(made.model, made.start).eval()
    alone = carried(made, narrow(made.model, width))
    network = alone.module().eval()
    assert torch.equal(network(x), shared.networks[WIDTHS.index(width)](x))
    assert not any(n.startswith(("model.", "narrow.")) for n in alone.params)
    first, *_, last = layers_of(spec).shapes.values()
    shapes = layers_of(alone.model).shapes
    sizes = list(shapes.values())
    assert sizes[0][0] == share(first[0], width) and sizes[0][1:] == first[1:]  # all inputs
    assert sizes[-1][0] == last[0]  # all outputs
    inner = made.params["model." + next(iter(shapes))]
    assert torch.equal(alone.params[next(iter(shapes))], inner[: sizes[0][0]])
    dense = macs(network_of(spec, draw_state(spec, 0)), x)
    assert macs(network, x) == macs_at(made.model, width, shape) < dense * (width + 0.1)


def test_unit_by_unit_by_hand():
    spec = {"_target_": "tests.test_slim.conv_net"}
    made = carried(net_of(spec, density=2), slim(spec))
    quarter = carried(made, narrow(made.model, 0.25))
    weights = {n: tuple(quarter.params[n].shape) for n in quarter.mask}
    assert weights == {"0.weight": (2, 1, 3, 3), "2.weight": (2, 1, 3, 3), "4.weight": (3, 18)}
    whole = made.params["model.4.weight"]
    assert torch.equal(quarter.params["4.weight"], whole[:, :18])  # channels come first


def conv_net():
    """A convolution, one of a group for each channel, and a linear layer over 9 positions."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(72, 3)
    )


def test_every_width_has_statistics_of_its_own():
    network = draw_model(slim(NORM), 0).train()
    network(examples((1, 4, 4)))
    means = {n: b for n, b in network.named_buffers() if n.endswith("running_mean")}
    assert {n: len(b) for n, b in means.items()} == {
        "model.1.running_mean": 6,
        "narrow.0.1.running_mean": 2,
        "narrow.1.1.running_mean": 3,
    }
    first = means["model.1.running_mean"]
    assert torch.allclose(first[:2], means["narrow.0.1.running_mean"])  # of the first layer, equal
    with torch.no_grad():
        network.narrow[0](examples((1, 4, 4)))
    assert not torch.allclose(first[:2], means["narrow.0.1.running_mean"])
    (network(examples((1, 4, 4)))[0]).sum().backward()
    norms = {n for n, p in network.named_parameters() if ".1." in n and p.grad is not None}
    assert norms == {"narrow.0.1.weight", "narrow.0.1.bias"}


def test_the_narrow_networks_read_the_shared_weights():
    network = draw_model(slim(NORM), 0)
    assert {n for n, _ in network.named_parameters() if "narrow" in n} == {
        "narrow.0.1.weight", "narrow.0.1.bias", "narrow.1.1.weight", "narrow.1.1.bias"}  # fmt: skip
    network(examples((1, 4, 4)))[0].sum().backward()
    gradient = network.model[0].weight.grad
    assert bool(gradient[:2].any()) and not bool(gradient[2:].any())


def test_the_sandwich_draws_what_lies_between(monkeypatch):
    widths = [0.2, 0.4, 0.6, 0.8, 1.0]
    network = slimmable(draw_model(NORM, 0), widths, sandwich=1).train()
    x = examples((1, 4, 4))
    torch.manual_seed(0)
    drawn = [network(x) for _ in range(8)]
    torch.manual_seed(0)
    again = [network(x) for _ in range(8)]
    assert {len(d) for d in drawn} == {3}
    assert all(torch.equal(a[1], b[1]) for a, b in zip(drawn, again, strict=True))
    norms = [network.narrow[n][1] for n in range(4)]
    seen = [int(n.num_batches_tracked) for n in norms]
    assert seen[0] == 16 and sum(seen[1:]) == 16 and sum(s > 0 for s in seen[1:]) > 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: slimmable(draw_model(NORM, 0), [0.5, 1.5]), r"width=1.5: a share of the units"),
        (lambda: slimmable(draw_model(NORM, 0), [0, 1.0]), r"width=0: .*in \(0, 1\]"),
        (lambda: slimmable(draw_model(NORM, 0), [0.5]), "they rise, and the last is 1"),
        (lambda: slimmable(draw_model(NORM, 0), [0.5, 0.5, 1]), "they rise"),
        (lambda: slimmable(draw_model(NORM, 0), 0.5), "a list, such as"),
        (lambda: slimmable(draw_model(NORM, 0), WIDTHS, sandwich=2), "sandwich=2: 0 to 1"),
        (lambda: slimmable(nn.Sequential(nn.Flatten(), nn.Linear(16, 4))), "no hidden layer"),
        (lambda: slimmable(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))),
         "1 is a LayerNorm"),
        (lambda: slimmable(nn.Sequential(nn.Linear(4, 4), nn.Linear(6, 2))),
         "1 takes 6 inputs, and no layer before it gives them"),
        (lambda: slimmable(nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=2),
                                         nn.Conv2d(4, 2, 1))), "1 has 2 groups for 4 channels"),
        (lambda: at_width(slimmable(draw_model(NORM, 0)), 0.3), "trained at 0.25, 0.5, 1"),
        (lambda: at_width(draw_model(NORM, 0), True), "width=True"),
        (lambda: moves.at_width(), "give width, or macs"),
        (lambda: moves.at_width(0.5, 100), "give width, or macs"),
        (lambda: moves.at_width(2), "width=2"),
        (lambda: moves.at_width(macs=0), "macs=0: a number above 0"),
        (lambda: moves.slim([1.0], weights="mine"), "weights"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(make, words):
    with pytest.raises(LthError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_slimmable_ticket_is_saved_and_loaded(tmp_path):
    net = carried(net_of(NORM), slim(NORM))
    ticket = Ticket(**{n: getattr(net, n) for n in ("model", "mask", "params", "buffers")})
    ticket.save(tmp_path / "slim.safetensors")
    again = Ticket.load(tmp_path / "slim.safetensors", trust=["tests.toys"])
    x = examples((1, 4, 4))
    assert again == ticket
    assert torch.equal(again.module().eval()(x), ticket.module().eval()(x))


# in a study

SLIM = {"_target_": "lth.moves.slim", "widths": WIDTHS}
TRAIN = {"_target_": "lth.moves.train", "steps": 6}
MEASURE = {"_target_": "lth.moves.measure"}


def at(width=None, **more):
    return {"_target_": "lth.moves.at_width", "width": width, **more}


def standing(*listed):
    return {"at": "dense", "repeat": 1, "moves": list(listed)}


def last(study, arm):
    place = max((p for p in study.members if p.arm == arm), key=lambda p: p.phase)
    return study.entry(**place._asdict())


def test_widths_train_together_and_each_is_measured_by_itself(tmp_path):
    methods = {"slim": standing(SLIM, TRAIN)} | {
        f"at{int(100 * w)}": standing(SLIM, TRAIN, at(w), MEASURE) for w in WIDTHS
    }
    study = run_study(tmp_path, model=toys.norm_net, levels=0, trials=1, method=methods)
    assert counts(study) == (5, 0)  # the dense, the slimmable once, three widths
    whole, full = last(study, "slim"), last(study, "at100")
    assert whole.about["model"]["_target_"] == f"{REWRITES}.slimmable"
    scores = [[v for s, split, m, v in e.measured if (split, m) == ("test", "accuracy")][-1]
              for e in (whole, full)]  # fmt: skip
    assert scores[0] == scores[1]  # outside training it is the full width
    sizes = [
        sum(p.numel() for p in last(study, f"at{w}").final.params.values()) for w in (25, 50, 100)
    ]
    assert sizes == sorted(set(sizes))
    # as one who trains the sum of the three losses by hand: each width has learned
    start, end = whole.start.params, whole.final.params
    assert all(not torch.equal(start[n], end[n]) for n in start)


def test_a_budget_of_multiply_adds_chooses_the_width(tmp_path):
    shape = (1, 4, 4)
    fits = macs_at(slim(NORM), 0.5, shape)
    methods = {
        "fits": standing(SLIM, TRAIN, at(macs=fits), MEASURE),
        "less": standing(SLIM, TRAIN, at(macs=fits - 1), MEASURE),
        "any": standing(at(macs=fits), MEASURE),
        "share": standing(SLIM, TRAIN, at(macs=1.0), MEASURE),
    }
    study = run_study(tmp_path, model=toys.norm_net, levels=0, trials=1, method=methods)
    chosen = {arm: last(study, arm).about["model"]["width"] for arm in methods}
    assert (chosen["fits"], chosen["less"], chosen["share"]) == (0.5, 0.25, 1.0)
    assert 0.5 <= chosen["any"] < 1
    assert macs_at(study.entry().about["model"], chosen["any"], shape) <= fits
    with pytest.raises(
        LthError, match=r"method.m: moves.at_width: macs=2: already width 0.25 takes"
    ):
        toys.setup_of(
            tmp_path, model=toys.norm_net, method={"m": standing(SLIM, at(macs=2), MEASURE)}
        )


@pytest.mark.parametrize("weights", ["rewound", "drawn"])
def test_rewound_and_drawn_weights_train_by_the_recipe(weights, tmp_path):
    method = {"m": standing({**SLIM, "weights": weights})}
    study = run_study(tmp_path, model=toys.norm_net, levels=0, trials=1, method=method,
                      rewind={"step": 4})  # fmt: skip
    entry, dense = last(study, "m"), study.entry()
    assert (entry.about["step"], entry.about["steps"]) == (
        (4, 16) if weights == "rewound" else (0, 20)
    )
    same = torch.equal(entry.start.params["model.0.weight"], dense.at(4).params["0.weight"])
    assert same == (weights == "rewound")


def test_a_slimmed_ticket_keeps_its_mask_and_every_law(tmp_path):
    method = {"m": {"at": "winners", "moves": [SLIM, TRAIN, at(0.5), TRAIN]}}
    study, setup = laws.run(out=str(tmp_path), method=method)
    laws.check(study, setup)
    again, _ = laws.run(out=str(tmp_path), method=method)
    assert counts(again)[0] == 0
    place = next(p for p in study.members if p.arm == "m" and p.level == 2 and p.phase == 2)
    half, ticket = study.entry(**place._asdict()), study.ticket(level=2)
    assert torch.equal(half.mask["0.weight"], ticket.mask["0.weight"][:3])
    assert sum(masks.kept(half.mask).values()) < sum(masks.kept(ticket.mask).values())


def test_slim_twice_and_a_network_that_is_no_chain_are_refused_before_work(tmp_path):
    with pytest.raises(LthError, match=r"method.m: moves.slim: the network is slimmable already"):
        toys.setup_of(tmp_path, model=toys.norm_net, method={"m": standing(SLIM, SLIM, TRAIN)})
    with pytest.raises(LthError, match=r"method.m: .*must match the size"):
        toys.setup_of(tmp_path, model=joined, method={"m": standing(SLIM, TRAIN)})


class joined(nn.Module):
    """Two branches, one of which has the other's inputs padded to a fixed width."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.first, self.output = nn.Linear(16, 8), nn.Linear(8, classes)

    def forward(self, x):
        hidden = self.first(x.flatten(1))
        return self.output(hidden + torch.ones(8))
