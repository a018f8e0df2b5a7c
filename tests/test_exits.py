"""Exits: classifiers behind layers, early exit by thresholds, computation by budget."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

import lth
from lth import LthError, Ticket, config
from lth.budget import macs_of
from lth.models import lenet5, msdnet, resnet
from lth.networks.net import Net
from lth.networks.rewrites import early_exit, with_exits
from lth.networks.rewrites.allot import losing, seen_on, that_fits, within
from lth.networks.rewrites.carry import carried, full_mask
from lth.networks.rewrites.early import CONFIDENCES
from lth.networks.ticket import draw_state, network_of
from lth.recipe import loss as losses
from lth.recipe import measures
from lth.results.analysis.exits import shared_by_exits
from lth.types import Batch
from tests import laws, toys

SHAPE = (1, 16, 16)
LENET5 = {"_target_": "lth.models.lenet5", "input_shape": [*SHAPE], "classes": 4,
          "widths": [3, 4, 5]}  # fmt: skip
SMALL = {"blocks": 3, "scales": 2, "width": 2, "growth": 2, "head": 4}


class Forked(nn.Module):
    """A stranger's network: functionals, a skip around the cuts, a parameter of its own."""

    def __init__(self, classes=4):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.gain, self.drop = nn.Parameter(torch.ones(3, 1, 1)), nn.Dropout(0.3)
        self.third, self.output = nn.Conv2d(3, 4, 3), nn.Linear(4, classes)

    def forward(self, x):
        x = functional.relu(self.first(x))
        x = functional.relu(x * self.gain + self.second(x))
        x = functional.dropout(functional.relu(self.third(x)), 0.2, self.training)
        return self.output(self.drop(x.mean((2, 3))))


class Piecewise(nn.Module):
    """A stranger's network that says itself how it is cut; a trace cannot follow it."""

    def __init__(self, classes=4):
        super().__init__()
        self.a, self.b = nn.Linear(256, 9), nn.Linear(9, 7)
        self.output = nn.Linear(7, classes)

    def segments(self):
        return {"a": lambda x: self.a(x.flatten(1)).relu(), "b": lambda x: self.b(x).relu(),
                "output": self.output}  # fmt: skip

    def forward(self, x):
        for part in self.segments().values():
            x = x if bool(x.isnan().any()) else part(x)
        return x


class Untraceable(Piecewise):
    segments = None

    def forward(self, x):
        x = self.a(x.flatten(1)).relu()
        return self.output(self.b(x).relu() if bool(x.isnan().any()) else x[:, :7])


def stranger():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(), nn.Linear(144, 4),
    )  # fmt: skip


class Reused(nn.Module):
    """One ReLU in place behind each of two norms, and the first part of it in doubles."""

    def __init__(self, inplace: bool = True):
        super().__init__()
        self.a, self.a_norm = nn.Conv2d(1, 3, 3).double(), nn.BatchNorm2d(3).double()
        self.b, self.b_norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.relu, self.output = nn.ReLU(inplace), nn.Linear(4, 4)

    def forward(self, x):
        x = self.relu(self.a_norm(self.a(x.double())))
        return self.output(self.relu(self.b_norm(self.b(x.float()))).mean((2, 3)))


NETWORKS = {
    "lenet5": lambda: with_exits(lenet5(input_shape=SHAPE, classes=4, widths=(3, 4, 5)), SHAPE),
    "resnet": lambda: with_exits(
        resnet(input_shape=SHAPE, classes=4, depth=8, width=2), SHAPE,
        after=["stage1", "stage2.block1"],
    ),
    "own": lambda: with_exits(stranger(), SHAPE, after={"3.1": {"pool": 2}, "2": None}, hidden=5),
    "forked": lambda: with_exits(Forked(), SHAPE, after=["first", "third"]),
    "segments": lambda: with_exits(Piecewise(), SHAPE),
    "reused, doubles": lambda: with_exits(Reused(), SHAPE),
    "msdnet": lambda: msdnet(input_shape=SHAPE, classes=4, **SMALL),
}  # fmt: skip


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    made = NETWORKS[request.param]()
    made.train()(torch.randn(16, *SHAPE))  # norms have seen something
    return made.eval()


def images(number=24):
    return torch.randn(number, *SHAPE, generator=torch.Generator().manual_seed(1))


def between(network, inputs):
    """Thresholds at which of these images some leave at every exit."""
    seen = seen_on(network, inputs, torch.zeros(len(inputs), dtype=torch.long))
    return [float(row.median()) for row in seen.confidence[:-1]]


def test_in_training_all_exits_answer_and_where_it_is_measured_the_last(network):
    inputs = images()
    outputs = network(inputs)
    several = copy.deepcopy(network).train()(inputs)
    assert outputs.shape == (24, 4)
    assert isinstance(several, tuple) and all(z.shape == (24, 4) for z in several)
    assert len(several) == len(early_exit(network, 0.5).exit_names)
    sum(z.square().sum() for z in network.train()(inputs)).backward()
    assert all(p.grad is not None for p in network.parameters())


def test_thresholds_above_1_are_the_last_exit_and_0_the_first_bit_for_bit(network):
    inputs = images()
    for whole in (
        early_exit(network, 2.0),
        early_exit(network, [1.5] * (len(between(network, inputs)))),
    ):
        assert torch.equal(whole.eval()(inputs), network(inputs))
    advance, classify = early_exit(network, 0.0).stages()[0]
    assert torch.equal(early_exit(network, 0.0).eval()(inputs), classify(advance(inputs)))
    assert torch.equal(early_exit(network, exit=1).eval()(inputs), classify(advance(inputs)))
    assert torch.equal(early_exit(network, exit="last").eval()(inputs), network(inputs))


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_an_image_is_answered_the_same_whatever_batch_it_comes_in(network, confidence):
    inputs = images()
    seen = seen_on(network, inputs, torch.zeros(24, dtype=torch.long), confidence)
    thresholds = [float(row.median()) - 1e-4 for row in seen.confidence[:-1]]
    early = early_exit(network, thresholds, confidence=confidence).eval()
    answers, left = early.exits(inputs)
    assert len(set(left.tolist())) > 1
    alone = [early.exits(image[None]) for image in inputs]
    assert torch.equal(torch.cat([where for _, where in alone]), left)
    assert torch.allclose(torch.cat([z for z, _ in alone]), answers, atol=1e-6)
    back = torch.arange(23, -1, -1)
    assert torch.allclose(early(inputs[back])[back], answers, atol=1e-6)
    assert early(inputs[:0]).shape == (0, 4)


def test_only_what_an_image_needs_is_run_and_counted(network):
    inputs = images()
    seen = seen_on(network, inputs, torch.zeros(24, dtype=torch.long))
    for thresholds in (between(network, inputs), [0.0] * (len(seen.names) - 1),
                       [2.0] * (len(seen.names) - 1)):  # fmt: skip
        early = early_exit(network, thresholds).eval()
        counted = macs_of(early, inputs, lambda: [inputs[:7], inputs[7:]]).executed
        assert counted == pytest.approx(seen.spent(thresholds).macs, abs=1e-9)
        _, left = early.exits(inputs)
        path = [sum(seen.advance[: n + 1]) + sum(seen.classify[: n + 1]) for n in range(9)]
        if max(thresholds) <= 1:  # every head on the way has been run
            assert counted == pytest.approx(sum(path[n] for n in left.tolist()) / 24)
    whole = macs_of(network, inputs, lambda: [inputs]).executed
    assert seen.whole == whole == seen.spent([2.0] * (len(seen.names) - 1)).macs


def test_multiply_adds_of_lenet5_are_those_counted_by_hand():
    network = with_exits(lenet5(input_shape=(1, 28, 28), classes=10), (1, 28, 28), pool=None)
    seen = seen_on(network, torch.randn(2, 1, 28, 28), torch.zeros(2, dtype=torch.long))
    assert seen.names == ("pool1", "pool2", "last")
    conv1, conv2, fc = 24 * 24 * 25 * 20, 8 * 8 * 25 * 20 * 50, 800 * 500 + 500 * 10
    assert seen.advance == (conv1, conv2, fc) and seen.whole == 2_293_000
    assert seen.classify == (20 * 144 * 10, 50 * 16 * 10, 0)


def test_a_copy_of_the_network_runs_its_own_weights():
    network = NETWORKS["own"]().eval()
    early, inputs = early_exit(network, exit="last").eval(), images()
    before = early(inputs)
    other = copy.deepcopy(early)
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
    assert torch.equal(early(inputs), before) and not other(inputs).any()
    assert not any(m._forward_hooks for m in early.modules())


def net_of(model, seed=3):
    state = draw_state(model, seed)
    return Net(model=model, mask=full_mask(model), params=state.params, buffers=state.buffers)


def exits_of(model, **said):
    return {"_target_": "lth.networks.rewrites.with_exits", "model": model,
            "input_shape": [*SHAPE], **said}  # fmt: skip


def test_a_net_is_carried_with_its_mask_and_computes_the_same(tmp_path):
    net, inputs = net_of(LENET5), images()
    generator = torch.Generator().manual_seed(0)
    half = {n: torch.rand(m.shape, generator=generator) < 0.5 for n, m in net.mask.items()}
    net = replace(net, mask=half)
    form = {"_target_": "lth.networks.rewrites.early_exit", "model": exits_of(LENET5),
            "thresholds": 2.0}  # fmt: skip
    found = carried(net, form)
    assert torch.equal(found.module().eval()(inputs), net.module().eval()(inputs))
    for name, mask in net.mask.items():
        assert torch.equal(found.mask[f"model.model.{name}"], mask)
    assert {n for n, m in found.mask.items() if bool(m.all())} == {
        "model.heads.0.output.weight",
        "model.heads.1.output.weight",
    }
    ticket = Ticket(**{n: getattr(found, n) for n in Net.__dataclass_fields__})
    ticket.save(tmp_path / "ticket")
    loaded = Ticket.load(tmp_path / "ticket")
    assert loaded == ticket
    assert torch.equal(loaded.module().eval()(inputs), net.module().eval()(inputs))


def test_frozen_under_its_exits_a_network_keeps_its_bits():
    inner = toys.norm_net((1, 4, 4), 4)
    network = with_exits(inner, (1, 4, 4), frozen=True).train()
    before = copy.deepcopy(inner.state_dict())
    optimizer = torch.optim.SGD(network.parameters(), 0.1, weight_decay=0.1)
    for _ in range(3):
        sum(z.square().sum() for z in network(torch.randn(8, 1, 4, 4))).backward()
        optimizer.step()
    assert all(torch.equal(t, before[n]) for n, t in inner.state_dict().items())
    assert network.heads[0].output.weight.grad is not None


# --- thresholds ---------------------------------------------------------------------------------


def exits(confidence, right, advance=(10, 10), classify=(1, 0)):
    from lth.networks.rewrites.allot import Exits

    return Exits(("a", "last"), torch.tensor(confidence), torch.tensor(right), advance, classify)


def test_thresholds_are_the_best_that_four_images_allow():
    seen = exits([[0.9, 0.8, 0.6, 0.5], [1.0] * 4], [[True, True, False, False], [True] * 4])
    assert (seen.least, seen.whole, seen.accuracy) == (11, 20, 1.0)
    spent = seen.spent([0.7])
    assert spent == (1.0, (4 * 11 + 2 * 10) / 4)
    assert seen.spent([0.0]) == (0.5, 11.0) and seen.spent([2.0]) == (1.0, 20.0)
    assert seen.spent(losing(seen, 0.0)) == (1.0, 16.0)  # the two sure ones leave
    assert seen.spent(losing(seen, 0.25)) == (0.75, 13.5)
    assert seen.spent(losing(seen, 0.6)) == (0.5, 11.0)
    assert seen.spent(within(seen, 16)) == (1.0, 16.0)
    assert seen.spent(within(seen, 0.7)) == (0.75, 13.5)
    with pytest.raises(LthError, match=r"macs=0.5: that is 10 .* the first exit \(a\) takes 11"):
        within(seen, 0.5)


def test_a_budget_is_kept_and_more_of_it_is_never_worse():
    torch.manual_seed(0)
    network, inputs = NETWORKS["msdnet"]().eval(), images(200)
    seen = seen_on(network, inputs, network(inputs).argmax(-1))
    rows = [seen.spent(within(seen, share)) for share in (0.5, 0.7, 0.9, 1.0)]
    for share, spent in zip((0.5, 0.7, 0.9, 1.0), rows, strict=True):
        assert spent.macs <= share * seen.whole + 1e-9
    assert [r.accuracy for r in rows] == sorted(r.accuracy for r in rows)


def test_a_network_that_fits_a_budget_of_a_module_and_of_a_net():
    inputs = images(40)
    module = network_of(exits_of(LENET5), draw_state(exits_of(LENET5), 0)).eval()
    targets = module(inputs).argmax(-1)
    fits = that_fits(module, 0.95, (inputs, targets)).eval()
    net = that_fits(net_of(exits_of(LENET5), 0), 0.95, (inputs, targets))
    assert tuple(net.model["thresholds"]) == fits.thresholds
    assert torch.equal(net.module().eval()(inputs), fits(inputs))
    whole = macs_of(module, inputs, lambda: [inputs]).executed
    assert macs_of(fits, inputs, lambda: [inputs]).executed <= 0.95 * whole


# --- in a study ---------------------------------------------------------------------------------

ATTACH = {"_target_": "lth.moves.attach_exits", "after": ["3"]}
TRAIN = {"_target_": "lth.moves.train", "steps": 8}
MEASURE = {"_target_": "lth.moves.measure"}


def study(out, *moves, at="winners", **settings):
    return toys.run_study(out, model=toys.small_net, trials=1, levels=1, budget=True,
                          method={"m": {"at": at, "moves": list(moves)}}, **settings)  # fmt: skip


def early(**said):
    return {"_target_": "lth.moves.exit_early", **said}


def test_exits_on_a_ticket_train_leave_early_and_are_weighed(tmp_path):
    found = study(tmp_path, ATTACH, TRAIN, early(accuracy_drop=0.1), MEASURE)
    first, second = (found.entry(level=1, arm="m", phase=n) for n in (1, 2))
    winner = found.entry(level=1)
    assert first.about["model"]["_target_"] == "lth.networks.rewrites.with_exits"
    assert torch.equal(first.mask["model.1.weight"], winner.mask["1.weight"])
    assert torch.equal(first.start.params["model.1.weight"], winner.final.params["1.weight"])
    gone = ~first.mask["model.1.weight"]
    assert not first.final.params["model.1.weight"][gone].any()
    assert not torch.equal(first.final.params["heads.0.output.weight"],
                           first.start.params["heads.0.output.weight"])  # fmt: skip
    assert second.about["steps"] == 0
    network = found.network(level=1, arm="m", phase=2)
    assert network.thresholds == tuple(second.about["model"]["thresholds"])
    macs = {r.phase: r.value for r in found.records if r.metric == "budget/macs" and r.arm == "m"}
    assert macs[2] < macs[1]


def test_thresholds_are_chosen_on_the_validation_split_alone(tmp_path, monkeypatch):
    from lth.data.dataset import Dataset
    from lth.moves import exits as moves

    looked = []
    monkeypatch.setattr(
        moves, "seen_on", lambda m, i, t, c: looked.append(i) or seen_on(m, i, t, c)
    )
    study(tmp_path, ATTACH, TRAIN, early(macs=0.99), MEASURE)
    data = toys.blobs(40)
    assert isinstance(data, Dataset) and all(len(inputs) == 40 for inputs in looked)
    pool = {tuple(row.tolist()) for row in data.prepare(data.train_inputs).flatten(1)}
    test = {tuple(row.tolist()) for row in data.prepare(data.test_inputs).flatten(1)}
    for inputs in looked:
        rows = {tuple(row.tolist()) for row in inputs.flatten(1)}
        assert rows <= pool and not rows & test


def test_rewound_and_drawn_exits_share_the_ticket(tmp_path):
    for weights in ("rewound", "drawn"):
        found = study(tmp_path / weights, {**ATTACH, "weights": weights}, early(exit=1), MEASURE,
                      rewind={"step": 4})  # fmt: skip
        entry, dense = found.entry(level=1, arm="m", phase=1), found.entry(level=0)
        assert entry.about["step"] == (4 if weights == "rewound" else 0)
        winner = found.entry(level=1)
        assert torch.equal(entry.mask["model.1.weight"], winner.mask["1.weight"])
        start, mask = entry.start.params["model.1.weight"], winner.mask["1.weight"]
        same = torch.equal(start, dense.at(4).params["1.weight"] * mask)
        assert same == (weights == "rewound")


ON_BLOBS = {"_target_": "lth.networks.rewrites.with_exits", "model": toys.MLP,
            "input_shape": [1, 4, 4], "after": ["2"]}  # fmt: skip
LEFT = {"_target_": "lth.networks.rewrites.early_exit", "model": ON_BLOBS, "thresholds": [0.6]}


def test_where_members_are_stacked_an_early_exit_comes_alone(tmp_path):
    recipe = toys.recipe(steps=4, loss=PER_OUTPUT)
    jobs = [toys.job(LEFT, trial, recipe=recipe) for trial in (0, 1)]
    for made, trial in zip(toys.train_stacked(jobs, tmp_path / "stacked"), (0, 1), strict=True):
        alone = toys.train_member(jobs[trial], tmp_path / "alone")
        for name, value in alone.final.params.items():
            assert torch.allclose(value, made.final.params[name], atol=1e-6)


def test_a_second_training_phase_says_its_loss(tmp_path):
    with_loss = {"_target_": "lth.moves.with_loss", "weights": [0.5, 1.0]}
    prune = {"_target_": "lth.moves.prune"}
    found = study(tmp_path, ATTACH, TRAIN, prune, with_loss, TRAIN)
    entry = found.entry(level=1, arm="m", phase=2)
    assert entry.about["ticket"]["changes"]["loss"] == {
        "_target_": "lth.recipe.loss.per_output", "weights": [0.5, 1.0],
        "of": {"_target_": "lth.recipe.loss.cross_entropy", "label_smoothing": 0.0},
    }  # fmt: skip


PER_OUTPUT = {"_target_": "lth.recipe.loss.per_output",
              "of": {"_target_": "lth.recipe.loss.cross_entropy"}}  # fmt: skip
SMALL_MSDNET = partial(msdnet, blocks=2, scales=1, width=3, growth=2, head=3)


@pytest.mark.parametrize("score", ["magnitude", "snip", "grasp", "synflow"])
def test_a_network_of_several_exits_is_pruned_as_one(score, tmp_path):
    search = {} if score == "magnitude" else {"search": "at_init"}
    found = toys.run_study(
        tmp_path,
        model=SMALL_MSDNET,
        data=partial(toys.blobs, validation=40),
        trials=1,
        levels=1,
        recipe=toys.SETTINGS["recipe"] | {"loss": PER_OUTPUT, "steps": 8},
        score=score,
        **search,
        method={"m": {"at": "winners", "moves": [early(threshold=0.4), MEASURE]}},
    )
    dense, ticket = found.ticket(level=0), found.ticket(level=1)
    assert ticket.density < 1 and any("heads.0" in n for n in ticket.mask)
    assert any(not bool(ticket.mask[n].all()) for n in ticket.mask if "heads.0" in n)
    network = found.network(level=1, arm="m", phase=1)
    assert network.thresholds == (0.4,) and dense.density == 1


def test_training_flops_count_every_exit():
    from lth.networks.cost import uses

    model = exits_of(LENET5)
    found = uses(model, SHAPE)
    assert found["heads.0.output.weight"] == found["heads.1.output.weight"] == 1


def test_a_nested_yaml_takes_the_data_s_shape_and_classes(tmp_path):
    setup = toys.setup_of(
        tmp_path,
        model=config.load("model", "lenet5_exits"),
        data=partial(toys.pictures, channels=1, size=16),
        recipe=toys.SETTINGS["recipe"] | {"loss": PER_OUTPUT, "batch": 4},
    )
    assert setup.config["model"]["model"]["input_shape"] == [1, 16, 16]
    assert setup.config["model"]["input_shape"] == [1, 16, 16]


def test_per_output_takes_a_single_tensor_as_the_last_output():
    z, batch = torch.tensor([[2.0, 0.0]]), Batch(torch.zeros(1, 1), torch.tensor([0]))
    alone = functional.cross_entropy(z, batch.targets)
    total = losses.per_output(losses.cross_entropy(), [0.5, 3.0])
    assert torch.equal(total(z, batch), 3 * alone)
    assert torch.equal(losses.per_output(losses.cross_entropy())(z, batch), alone)
    assert measures.per_output(measures.accuracy())(z, batch) == 1


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (lambda m: with_exits(m, SHAPE, after=["pol1"]), "pol1 is no .*did you mean pool1"),
        (lambda m: with_exits(m, SHAPE, after=[]), "a list of layers, or null"),
        (lambda m: with_exits(m, SHAPE, after={"pool1": {"poool": 2}}), "did you mean pool"),
        (lambda m: with_exits(m, SHAPE, pool=0), "pool=0: a whole number from 1"),
        (lambda m: with_exits(m, (1, 3, 3)), r"does not take examples of input_shape \[1, 3, 3\]"),
        (lambda m: with_exits(nn.Sequential(nn.Linear(4, 4)), (4,)), "nowhere to exit"),
        (lambda m: early_exit(m, 0.5), "Sequential has no exits: attach some"),
        (lambda m: early_exit(with_exits(m, SHAPE), [0.5]), "1 thresholds, and there are 2 exits"),
        (lambda m: early_exit(with_exits(m, SHAPE), -0.1), r"thresholds=-0.1: .*in \[0, 2"),
        (lambda m: early_exit(with_exits(m, SHAPE), [0.5, float("nan")]), "thresholds=nan"),
        (lambda m: early_exit(with_exits(m, SHAPE), exit=4), "exit=4: there are 3 exits"),
        (lambda m: early_exit(with_exits(m, SHAPE), exit="pol2"), "did you mean pool2"),
        (lambda m: early_exit(with_exits(m, SHAPE)), "give thresholds, or the one exit"),
        (lambda m: early_exit(with_exits(m, SHAPE), 0.5, confidence="x"), "it is one of probab"),
        (lambda m: early_exit(with_exits(Untraceable(), SHAPE, after=["a"]), 0.5).eval()(images()),
         r"Untraceable: its forward pass cannot be cut in pieces .*segments\(\)"),
    ],
)  # fmt: skip
def test_mistakes_get_one_line(made, line):
    with pytest.raises(LthError, match=line):
        made(lenet5(input_shape=SHAPE, classes=4, widths=(3, 4, 5)))


def test_a_layer_changed_in_place_or_run_twice_is_refused():
    shared = nn.Linear(4, 4)
    twice = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(4, 2))
    with pytest.raises(LthError, match="0 runs 2 times in a forward pass"):
        with_exits(twice, (4,), after=["0"])
    changed = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    with pytest.raises(LthError, match="what 0 gives is changed in place"):
        with_exits(changed, (4,), after=["0"])
    assert with_exits(changed, (4,)).exit_names == ("1", "last")


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.output = nn.RNN(4, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x):
        return self.output(self.rnn(x)[0][:, -1])


def test_a_layer_that_gives_no_tensor_is_refused():
    line = r"rnn gives a tuple: a classifier needs \[B, \.\.\.\]: name another in after, or null"
    with pytest.raises(LthError, match=line):
        with_exits(Recurrent(), (5, 4), after=["rnn"])
    with pytest.raises(LthError, match=r"no layer before the last runs once .*nowhere to exit"):
        with_exits(Recurrent(), (5, 4))


class Turned(nn.Module):
    """Its examples lie behind the positions."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.output = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.output(self.b(self.a(x.transpose(0, 1)).mean(0)))


def test_a_layer_whose_examples_do_not_come_first_is_refused():
    with pytest.raises(LthError, match=r"a gives \[5, 2, 4\]: a classifier needs \[B, \.\.\.\]"):
        with_exits(Turned(), (5, 4), after=["a"])


class Held(nn.Module):
    """Layers in a dict, one of them never called; a recurrent one, and one that runs twice."""

    def __init__(self):
        super().__init__()
        self.enter, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)
        self.parts = nn.ModuleDict({n: nn.Linear(4, 4) for n in "abc"})
        self.rnn, self.twice = nn.GRU(4, 4, batch_first=True), nn.Linear(4, 4)
        self.last, self.output = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        x = self.norm(self.norm(self.enter(x)))
        x = functional.linear(self.parts["c"](self.parts["a"](x)), self.parts["b"].weight)
        return self.output(self.last(self.twice(self.twice(self.rnn(x)[0]))).mean(1))


def test_where_nothing_is_named_what_can_have_no_exit_is_left_out():
    network = with_exits(Held(), (5, 4))
    assert network.exit_names == ("enter", "parts.a", "parts.c", "last")
    early = early_exit(network, [0.0, 2.0, 2.0]).eval()
    x = torch.randn(3, 5, 4)
    wanted = network.heads[0](network.model.enter(x))
    assert torch.equal(early(x), wanted)
    for name in ("rnn", "twice", "parts", "norm"):
        with pytest.raises(LthError, match=f"with_exits: {name} .* in after"):
            with_exits(Held(), (5, 4), after=[name])


def test_an_exit_reads_what_a_layer_gave_whatever_changes_it_in_place_later():
    made = []
    for inplace in (True, False):
        torch.manual_seed(0)
        made.append(with_exits(Reused(inplace), SHAPE).train())
    answers = [network(images()) for network in made]
    assert made[0].exit_names == made[1].exit_names == ("a_norm", "last")
    assert all(torch.equal(a, b) for a, b in zip(*answers, strict=True))
    for given in answers:
        sum(logits.square().mean() for logits in given).backward()
    grads = [[p.grad for p in network.parameters()] for network in made]
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    with pytest.raises(LthError, match="what a_norm gives is changed in place"):
        with_exits(Reused(), SHAPE, after=["a_norm"])


def test_classifiers_compute_in_the_dtype_of_what_they_read():
    network = with_exits(Reused(), SHAPE, hidden=3).train()
    assert network.heads[0].hidden.weight.dtype == torch.float64
    assert {logits.dtype for logits in network(images())} == {torch.float32}


class Sized(nn.Module):
    """Its batch's size goes past a cut."""

    def __init__(self):
        super().__init__()
        self.conv, self.output = nn.Conv2d(1, 2, 3), nn.Linear(392, 4)

    def forward(self, x):
        size = x.shape[0]
        return self.output(self.conv(x).view(size, -1))


def test_what_has_no_row_for_every_example_cannot_cross_an_exit():
    network = with_exits(Sized(), SHAPE, after=["conv"])
    with pytest.raises(LthError, match="Sized: it cannot be left behind conv: 2 goes on"):
        early_exit(network, 0.5).eval()(images())


@pytest.mark.parametrize(
    ("moves", "line"),
    [
        ([{**ATTACH, "after": ["8"]}, TRAIN], "method.m: with_exits: 8 is no layer of the model"),
        ([ATTACH, TRAIN, early(macs=0.01), MEASURE], "the first exit .* takes"),
        ([ATTACH, TRAIN, early(threshold=[0.5, 0.5]), MEASURE], "2 thresholds, and there are 1"),
        ([ATTACH, TRAIN, early(threshold=3.0), MEASURE], r"threshold=3.0: .*in \[0, 2"),
        ([ATTACH, TRAIN, early(macs=0.5, exit=1), MEASURE], "give one of them, not exit and macs"),
        ([ATTACH, TRAIN, early(exit=7), MEASURE], "exit=7: there are 2 exits"),
        ([early(macs=0.5), MEASURE], "Sequential has no exits: attach some"),
        ([{**ATTACH, "frozen": True, "weights": "drawn"}], "frozen, so weights=drawn"),
        ([ATTACH, TRAIN, ATTACH, TRAIN], "has exits already"),
        ([{**ATTACH, "loss_weights": [1.0]}, TRAIN], "the model gives 2 outputs"),
        ([ATTACH, TRAIN, TRAIN], "gives 2 outputs, which this phase's loss .*with_loss"),
    ],
)  # fmt: skip
def test_bad_moves_are_refused_before_any_work(moves, line, tmp_path):
    with pytest.raises(LthError, match=line):
        study(tmp_path / "out", *moves)
    assert not (tmp_path / "out").exists()


def test_a_study_of_several_exits_without_their_loss_is_refused(tmp_path):
    with pytest.raises(LthError, match=r"give a tuple in training.*per_output"):
        lth.run(**toys.SETTINGS | {"model": SMALL_MSDNET, "out": str(tmp_path / "out")})


def test_the_laws_hold_of_a_network_of_several_exits(tmp_path):
    laws.check(*laws.run(
        out=str(tmp_path), model=SMALL_MSDNET,
        recipe=laws.SETTINGS["recipe"] | {"loss": PER_OUTPUT},
    ))  # fmt: skip


def test_exits_share_the_ticket_as_far_as_the_same_weights_matter_to_them():
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8, bias=False), nn.ReLU(), nn.Linear(8, 4))
    network = with_exits(body, [1, 4, 4], ["2"])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 1, 4, 4, generator=generator)
    y = torch.randint(4, (50,), generator=generator)
    mask = {"model.1.weight": torch.rand(8, 16, generator=generator) < 0.5}

    def found():
        return dict(shared_by_exits(network, mask, x, y))

    head, weight = network.heads[0], network.model[1].weight
    with torch.no_grad():
        last = list(head.parameters())
        for own, other in zip(last, network.model[3].parameters(), strict=True):
            own.copy_(other)
    found_twice = found()  # one classifier twice
    assert found_twice["shared_with_last/2"] == 1.0
    assert 0.5 < found_twice["shared_by_chance/2"] < 0.9  # large weights matter to both, by chance
    with torch.no_grad():
        head_weight = next(p for p in head.parameters() if p.ndim == 2)
        head_weight[:, :4], network.model[3].weight[:, 4:] = 0.0, 0.0  # each looks at other units
    kept, scores = mask["model.1.weight"], []
    for out in (head(network.model[:3](x)), network.model(x)):
        (g,) = torch.autograd.grad(nn.functional.cross_entropy(out, y), weight)
        scores.append((g * weight).abs()[kept].detach())
    half = round(0.5 * len(scores[0]))
    tops = [set(s.topk(half).indices.tolist()) for s in scores]
    assert found()["shared_with_last/2"] == len(tops[0] & tops[1]) / half
    assert len(tops[0] & tops[1]) / half < 0.5
    frozen = with_exits(body, [1, 4, 4], ["2"], frozen=True)
    assert not dict(shared_by_exits(frozen, mask, x, y))
