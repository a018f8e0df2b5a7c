"""Views: what the forward pass sees of weights, and what they own, train, store and export."""

import copy
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from lth import LthError, Ticket, config
from lth.networks.net import Net
from lth.networks.ticket import draw_model, load_state
from lth.networks.views import rounded, scaled
from lth.networks.views.parametrized import bake
from lth.spec.build import spec_of
from lth.store.restore import net_of
from lth.store.store import Store
from lth.train.check_views import check_views
from lth.train.stacked import trains_alone
from lth.train.work import Stopped
from tests import laws
from tests.toys import (
    MLP,
    NORM,
    OPTIMIZERS,
    PLAIN,
    blobs,
    changed,
    in_turn,
    job,
    recipe,
    ticket,
    train_member,
    train_stacked,
)  # fmt: skip
from tests.toys import same_entries as same

SCALED = {"_target_": "lth.networks.views.scaled", "start": 0.8}
ROUNDED = {"_target_": "lth.networks.views.rounded", "bits": 4}
TRAINED = ROUNDED | {"step": "trained"}
CLUSTERED = {"_target_": "lth.networks.views.clustered", "bits": 3}
CONSTANT = {"_target_": "tests.test_views.shifted", "by": 0.3}
VIEWS = {
    "scaled": {"scale": SCALED},
    "rounded": {"grid": ROUNDED},
    "trained-grid": {"grid": TRAINED},
    "constant": {"shift": CONSTANT},
    "both": {"scale": SCALED, "grid": TRAINED},
    "clustered": {"shared": CLUSTERED},
    "fitted-grid": {"grid": ROUNDED | {"step": "fitted", "bits": {"*": 3, "1.weight": 2}}},
}
OWNED = {
    "scaled": ["scale"], "rounded": [], "trained-grid": ["step"], "constant": ["by"],
    "both": ["scale", "step"], "clustered": ["values"], "fitted-grid": ["step"],
}  # fmt: skip
CONSTANTS = ("constant", "fitted-grid")
LSTM = {"_target_": "tests.test_views.Reader"}


class Reader(nn.Module):
    """Reads a picture row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 6, batch_first=True)
        self.output = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.rnn(x.flatten(1, 2))[0][:, -1])


class Shifted:
    """Adds a constant to every weight, pruned or not: what is pruned must stay 0 all the same."""

    def __init__(self, by: float) -> None:
        self.by = by

    def own(self, name, weight, mask):
        return {"by": torch.full((1,), self.by).to(weight)}

    def __call__(self, name, weight, mask, own, training):
        return weight + own["by"]


def shifted(by: float) -> Shifted:
    return Shifted(by)


def viewed(which, model=MLP, **fields):
    return changed(job(model, **fields), views=VIEWS[which])


def seen_of(entry, made) -> nn.Module:
    """The network of a trained member, by hand: its net, as a module."""
    ticket = replace(made.ticket, params=entry.final.params, buffers=entry.final.buffers, owned={})
    return ticket.module().eval()


def weights_of(network: nn.Module) -> dict[str, torch.Tensor]:
    """Every weight as the forward pass sees it."""
    return {
        f"{path}.{n}": getattr(module, n)
        for path, module in network.named_modules() if parametrize.is_parametrized(module)
        for n in module.parametrizations
    }  # fmt: skip


def test_a_scale_of_one_and_thirty_two_bits_are_the_identity():
    w = torch.randn(5, 3, 2, 2)
    for view in (scaled(), rounded(bits=32)):
        own = view.own("w", w, torch.ones_like(w))
        assert torch.equal(w if own is None else view("w", w, torch.ones_like(w), own, True), w)


def test_a_scale_is_one_of_each_output_channel_and_has_a_gradient():
    w, view = torch.tensor([[1.0, 2.0], [3.0, -4.0]]), scaled(2.0)
    own = view.own("w", w, torch.ones_like(w))
    seen = view("w", w, torch.ones_like(w), own, True)
    assert torch.equal(seen, 2 * w) and own["scale"].shape == (2, 1)
    seen.sum().backward()
    assert own["scale"].grad.flatten().tolist() == [3.0, -1.0]
    assert scaled().own("b", torch.ones(7), torch.ones(7))["scale"].shape == (1,)


def test_rounding_gives_points_of_a_grid_per_channel_and_the_gradient_passes():
    w = torch.tensor([[0.6, -3.0, 1.4, 0.0], [0.1, 0.2, -0.05, 0.3]], requires_grad=True)
    seen = rounded(bits=3)("w", w, torch.ones_like(w), {}, True)
    assert torch.allclose(seen[0], torch.tensor([1.0, -3.0, 1.0, 0.0]))
    assert torch.allclose(seen[1], torch.tensor([0.1, 0.2, 0.0, 0.3]), atol=0.051)
    assert len(seen[1].unique()) <= 7
    seen.sum().backward()
    torch.testing.assert_close(w.grad, torch.ones_like(w))


def test_a_trained_step_has_the_gradient_of_esser_2020():
    view = rounded(bits=3, step="trained")
    w = torch.tensor([[0.6, -3.0, 1.4, 5.0]], requires_grad=True)
    own = {"step": nn.Parameter(torch.ones(1, 1))}
    seen = view("w", w, torch.ones_like(w), own, True)
    assert seen.tolist() == [[1.0, -3.0, 1.0, 3.0]]  # 5 is beyond the grid
    seen.sum().backward()
    assert own["step"].grad.item() == pytest.approx((1 - 0.6) + 0 + (1 - 1.4) + 3)
    assert w.grad.tolist() == [[1.0, 1.0, 1.0, 0.0]]
    start = view.own("w", w.detach(), torch.ones_like(w))["step"]
    assert start.item() == pytest.approx(5 / 3)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: rounded(bits=1), "bits=1"),
        (lambda: rounded(bits=20), "bits=20"),
        (lambda: rounded(step="learned"), "step=learned: it is one of greatest, trained"),
        (lambda: ticket(views={"x": {"_target_": "tests.toys.mlp", "input_shape": [2],
                                     "classes": 2}}).start, "a Sequential is no view"),
        (lambda: ticket(views={"a": SCALED, "b": SCALED}).start, "two views own a tensor 'scale'"),
        (lambda: ticket(views={"a": SCALED}, owned={"1.weight/s": torch.ones(1)}).start,
         "no view owns a 1.weight/s"),
        (lambda: ticket(views={"a": SCALED}, owned={"1.weight/scale": torch.ones(1)}).start,
         "1.weight/scale has shape"),
        (lambda: ticket(views=["a"]), "views=.* cannot be"),
        (lambda: ticket(views={"a": SCALED}).pruned(), "use Ticket.module"),
        (lambda: ticket(views={"a": SCALED, "g": {"_target_": "lth.networks.gates.bernoulli"}}
                        ).start, "comes before all other views"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make, match):
    with pytest.raises(LthError, match=match):
        make()


@pytest.mark.parametrize("compiler", [None, "aot_eager"])
@pytest.mark.parametrize("which", VIEWS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pruned_weights_are_exactly_zero_and_what_is_owned_trains(name, which, compiler, tmp_path):
    optimizer = config.load("recipe/optimizer", name) | {"weight_decay": 0.1}
    made = viewed(which, recipe=recipe(optimizer=optimizer, steps=20), compile=compiler)
    engines = []

    def keep(jobs, dataset):
        engines.append(in_turn(jobs, dataset))
        return engines[-1]

    entry = train_member(made, tmp_path, make=keep)
    network = seen_of(entry, made)
    for weight, mask in made.ticket.mask.items():
        leaf = engines[0].network.leaves[weight]
        assert bool((leaf[~mask] == 0).all()) and bool((leaf[mask] != 0).any())
        assert bool((weights_of(network)[weight][~mask] == 0).all())
        for value in engines[0].optimizer.state[leaf].values():
            if isinstance(value, torch.Tensor) and value.ndim:
                assert bool((value[~mask] == 0).all())
        for own in OWNED[which]:
            key = f"{weight}/{own}"
            values = [(s.params | s.buffers)[key] for s in (entry.start, entry.final)]
            assert torch.equal(*values) == (which in CONSTANTS)
    inputs = blobs().prepare(blobs().test_inputs)
    right = (network(inputs).argmax(1) == blobs().test_targets).double().mean()
    values = {(s, p, m): v for s, p, m, v in entry.measured}
    early = values.get((20, "test", "accuracy"))
    assert early is None or early == pytest.approx(float(right))
    last = [v for s, p, m, v in entry.curve if (s, p, m) == (20, "validation", "loss")]
    assert len(last) == 1


@pytest.mark.parametrize("model", [MLP, NORM, PLAIN, LSTM], ids=["mlp", "norm", "tied", "lstm"])
@pytest.mark.parametrize("which", VIEWS)
def test_a_stopped_member_goes_on_bit_for_bit(which, model, tmp_path):
    made, calls = viewed(which, model, snapshots=(7,)), []
    whole = train_member(made, tmp_path / "whole")
    with pytest.raises(Stopped):
        stop = lambda: calls.append(1) or len(calls) > 1  # noqa: E731
        train_member(made, tmp_path / "cut", stop=stop)
    kept = Store(tmp_path / "cut").get_partial(made.key)
    assert kept is not None and kept[1]["step"] == 10
    resumed = train_member(made, tmp_path / "cut")
    assert same(whole, resumed)
    names = [*whole.at(7).params, *whole.at(7).buffers]
    assert names == [*whole.final.params, *whole.final.buffers]


@pytest.mark.parametrize("model", [MLP, NORM, PLAIN], ids=["mlp", "norm", "tied"])
@pytest.mark.parametrize("which", VIEWS)
def test_stacked_members_agree_with_members_in_turn(which, model, tmp_path):
    sgd = config.load("recipe/optimizer", "momentum")
    jobs = [viewed(which, model, trial=t, recipe=recipe(optimizer=sgd, steps=8, eval_every=4))
            for t in range(3)]  # fmt: skip
    assert not trains_alone(jobs[0], blobs())
    atol = 1e-4 if which in ("scaled", "constant") else 0.02  # rounding may fall to either side
    turn = [train_member(j, tmp_path / "turn") for j in jobs]
    for mine, other in zip(turn, train_stacked(jobs, tmp_path / "stacked"), strict=True):
        for a, b in zip(mine.final, other.final, strict=True):
            assert list(a) == list(b)
            for key in a:
                torch.testing.assert_close(a[key], b[key], rtol=0.02, atol=atol)
        assert [p[:3] for p in mine.curve] == [p[:3] for p in other.curve]


def test_a_view_that_a_stack_cannot_take_trains_alone():
    odd = changed(job(), views={"odd": {"_target_": "tests.test_views.branching"}})
    assert trains_alone(odd, blobs())


class Branching(Shifted):
    def __call__(self, name, weight, mask, own, training):
        return weight + own["by"] if bool(weight.sum() > 0) else weight


def branching() -> Branching:
    return Branching(0.1)


@pytest.mark.parametrize("model", [MLP, NORM, PLAIN, LSTM], ids=["mlp", "norm", "tied", "lstm"])
@pytest.mark.parametrize("which", VIEWS)
def test_the_module_is_the_network_that_was_trained(which, model, tmp_path):
    """A user's own loop over ``Ticket.module()`` gives the bits that the engine gives."""
    made = viewed(which, model, recipe=recipe(
        steps=6, eval_every=3, optimizer=config.load("recipe/optimizer", "momentum")))  # fmt: skip
    entry = train_member(made, tmp_path)
    network = copy.deepcopy(made.ticket.module())
    engine = in_turn([made], blobs())
    rule = {"momentum": 0.9, "weight_decay": 1e-4, "fused": True}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, **rule)
    network.train()
    for step in range(6):
        inputs, targets = engine.batch(0, step)[:2]
        F.cross_entropy(network(inputs), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    trained, inputs = seen_of(entry, made), blobs().prepare(blobs().test_inputs)
    assert torch.equal(network.eval()(inputs), trained(inputs))
    for weight, seen in weights_of(network).items():
        mask = made.ticket.mask.get(weight)
        assert mask is None or bool((seen[~mask] == 0).all())
    again = made.ticket.module()
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.eval()(inputs), trained(inputs))
    plain = bake(copy.deepcopy(network))
    assert not any(parametrize.is_parametrized(m) for m in plain.modules())
    assert torch.equal(plain(inputs), trained(inputs))
    assert {n for n, _ in plain.named_parameters()} == set(made.ticket.params)


def test_remove_parametrizations_bakes_what_is_seen():
    network = ticket(views=VIEWS["both"]).module().eval()
    inputs = blobs().prepare(blobs().test_inputs)
    before = network(inputs)
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")
    assert torch.equal(network(inputs), before)


def test_a_view_is_part_of_what_determines_a_member():
    keys = {viewed(which).key for which in VIEWS} | {job().key}
    assert len(keys) == len(VIEWS) + 1
    made = viewed("scaled")
    assert made.key != changed(made, views={"scale": SCALED | {"start": 0.9}}).key
    assert made.key == changed(made, views={"another name": SCALED}).key
    start = {"1.weight/scale": torch.full((12, 1), 0.7)}
    assert made.key != changed(made, owned=start).key
    twisted = changed(made, views={"grid": TRAINED, "scale": SCALED})
    assert twisted.key != viewed("both").key


@pytest.mark.parametrize("which", VIEWS)
def test_a_viewed_ticket_is_the_same_ticket_from_a_file(which, tmp_path):
    made = replace(viewed(which).ticket, dynamics=None)
    made.save(tmp_path / "t")
    back = Ticket.load(tmp_path / "t", trust=["tests"])
    assert back == made and back.views == made.views
    assert list(back.start.params) == list(made.start.params)
    if "constant" not in which:
        assert Ticket.load(tmp_path / "t", model=MLP, trust=["tests.toys"]).views == made.views
    given = replace(made, owned={n: t + 1 for n, t in made.built_views().own.items()})
    given.save(tmp_path / "t")
    assert Ticket.load(tmp_path / "t", trust=["tests"]) == given


def test_what_a_view_owns_is_taken_over_from_a_stored_state(tmp_path):
    made = viewed("both")
    entry = train_member(made, tmp_path)
    net = Net(model=MLP, mask=entry.mask, views=made.ticket.views, **entry.final._asdict())
    assert set(net.owned) == {f"{w}/{n}" for w in net.mask for n in ("scale", "step")}
    assert set(net.params) == set(made.ticket.params)
    assert torch.equal(net.start.params["1.weight/scale"], entry.final.params["1.weight/scale"])
    again = train_member(replace(made.ticket, params=entry.final.params), tmp_path)
    assert torch.equal(again.start.params["1.weight/scale"], net.owned["1.weight/scale"])


GATES = {
    "edge_popup": {"_target_": "lth.networks.gates.edge_popup", "kept": {"1.weight": 50,
                                                                         "3.weight": 9}},
    "bernoulli": {"_target_": "lth.networks.gates.bernoulli"},
}  # fmt: skip


@pytest.mark.parametrize("which", ["rounded", "constant"])
@pytest.mark.parametrize("gate", GATES)
def test_views_come_after_a_gate_and_the_final_network_keeps_them(gate, which, tmp_path):
    made = changed(job(density=1.1, lr=0.3), gate=GATES[gate], views=VIEWS[which])
    entry = train_member(made, tmp_path)
    kept = {n: int(m.sum()) for n, m in entry.final_mask.items()}
    assert kept == GATES[gate].get("kept", kept) and 0 < sum(kept.values()) < 224
    net = Net(model=MLP, mask=entry.final_mask, views=VIEWS[which], **entry.final._asdict())
    outputs = net.module().eval()(blobs().prepare(blobs().test_inputs))
    right = (outputs.argmax(1) == blobs().test_targets).double().mean()
    values = {(s, p, m): v for s, p, m, v in entry.measured}
    assert values[30, "test", "accuracy"] == pytest.approx(float(right))
    loss = F.cross_entropy(outputs, blobs().test_targets)
    assert values[30, "test", "loss"] == pytest.approx(float(loss.detach()), rel=1e-5)


def test_what_a_gate_leaves_out_stays_0_under_a_view_and_its_score_has_a_gradient():
    made = changed(job(density=1.1), gate=GATES["bernoulli"], views=VIEWS["constant"])
    views = made.ticket.built_views()
    name, own = "1.weight", {k.rpartition("/")[2]: t for k, t in views.own.items() if "1." in k}
    torch.manual_seed(0)
    weight, mask = made.ticket.params[name], made.ticket.mask[name].float()
    seen = views.see(name, weight, mask, own, True)
    zeros = seen == 0
    assert 0.3 < zeros.float().mean() < 0.7  # half of the weights are drawn
    seen[zeros].sum().backward()
    assert bool((own["scores"].grad[zeros] != 0).any())


def test_frozen_values_come_after_the_views(tmp_path):
    made = viewed("scaled")
    frozen = {n: (~m).float() for n, m in made.ticket.mask.items()}
    made = changed(made, frozen=frozen)
    seen = weights_of(made.ticket.module())
    entry = train_member(made, tmp_path)
    for weight, mask in made.ticket.mask.items():
        assert bool((seen[weight][~mask] == 1).all())
        assert bool((entry.final.params[weight][~mask] == 1).all())
    assert not any("frozen" in n for n in (*entry.final.params, *entry.final.buffers))


def test_a_changing_mask_is_kept_under_a_view(tmp_path):
    rigl = {"_target_": "lth.pruning.dynamic.rigl", "every": 6, "fraction": 0.4, "seed": 3}
    made = changed(viewed("scaled"), dynamics=rigl)
    entry = train_member(made, tmp_path)
    stacked = train_stacked([made], tmp_path / "s")[0]
    for weight, mask in entry.final_mask.items():
        assert not torch.equal(mask, made.ticket.mask[weight])
        assert bool((entry.final.params[weight][~mask] == 0).all())
        assert torch.equal(stacked.final_mask[weight], mask)


@pytest.mark.parametrize("which", ["both", "clustered"])
def test_one_process_ddp_trains_the_module(which, tmp_path):
    import torch.distributed as dist

    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        made = ticket(views=VIEWS[which])
        network = nn.parallel.DistributedDataParallel(made.module())
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.1)
        inputs, targets = blobs().prepare(blobs().train_inputs), blobs().train_targets
        for _ in range(3):
            F.cross_entropy(network(inputs), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
        for weight, seen in weights_of(network.module).items():
            assert bool((seen[~made.mask[weight]] == 0).all())
    finally:
        dist.destroy_process_group()


def test_views_are_named_by_specs_of_their_factories():
    assert spec_of(scaled)["_target_"] == SCALED["_target_"]
    net = ticket(views={"scale": spec_of(scaled)}).net
    assert isinstance(net, Net) and not isinstance(net, Ticket)
    assert torch.equal(net.start.params["1.weight"], ticket().start.params["1.weight"])


def quantized(of="grid"):
    """An arm: the winner, seen through a view."""

    def arm(winner, generator):
        return replace(winner, views={of: ROUNDED | {"step": "trained"}})

    return arm


def test_a_viewed_arm_in_a_study_is_given_back_as_it_was_measured(tmp_path):
    arms = {"winning_ticket": {}, "quantized": {"_target_": "tests.test_views.quantized"}}
    study, setup = laws.run(out=str(tmp_path), arms=arms, levels=1, trials=1)
    entry, ticket_ = study.entry(arm="quantized", level=1), study.ticket(arm="quantized", level=1)
    assert ticket_.views == {"grid": TRAINED} and not ticket_.owned
    winner = study.ticket(level=1)
    assert ticket_.density == winner.density
    costs = {r.arm: r.value for r in study.records if r.level and r.metric == "training_flops"}
    assert costs["quantized"] == costs["winning_ticket"]
    assert [n for n in entry.final.params if "/" in n] == [f"{w}/step" for w in ticket_.mask]
    network, data = study.network(arm="quantized", level=1), setup.dataset
    assert all(len(w.unique()) <= 15 * len(w) for w in weights_of(network).values())
    right = (network(data.prepare(data.test_inputs)).argmax(1) == data.test_targets).double()
    values = {(r.step, r.split, r.metric): r.value for r in study.records if r.arm == "quantized"}
    assert values[24, "test", "accuracy"] == pytest.approx(float(right.mean()))
    plain = draw_model(ticket_.model, 0)
    load_state(plain, net_of(entry).baked())
    outputs = [n.eval()(data.prepare(data.test_inputs)) for n in (plain, network)]
    assert torch.equal(*outputs)


class Odd:
    """A view that does what no view may, in one way or another."""

    def __init__(self, way: str) -> None:
        self.way, self.calls, self.draws = way, 0, way == "says it draws"

    def own(self, name, weight, mask):
        return {"noise": torch.rand(1)} if self.way == "draws in own" else {}

    def __call__(self, name, weight, mask, own, training):
        self.calls += 1
        if self.way == "fails":
            raise ValueError("no such weight")
        if self.way == "shape":
            return weight.t()
        if (self.way in ("draws", "says it draws") and training) or self.way == "draws always":
            return weight + torch.rand(())
        if self.way == "draws by numpy" and training:
            return weight + float(np.random.rand())
        if self.way == "counts" or (self.way == "remembers" and not training):
            return weight * (1 + self.calls)
        if self.way == "remembers":
            self.calls = 100
        return weight


def odd(way: str) -> Odd:
    return Odd(way)


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("fails", "views.odd: it fails on 1.weight: ValueError: no such weight"),
        ("shape", r"views.odd: of 1.weight \[\d+, \d+\] it makes \[\d+, \d+\]"),
        ("draws in own", "1.weight/noise is not the same when it is made twice"),
        ("draws", "views.odd: it draws random numbers: let it say so, draws = True"),
        ("draws by numpy", "views.odd: it draws random numbers: let it say so"),
        ("draws always", "views.odd: it draws random numbers outside training"),
        ("counts", "views.odd: what it makes of 1.weight depends on more than it is given"),
        ("remembers", "views.odd: what it makes of 1.weight depends on more"),
    ],
)
def test_a_view_that_is_no_function_of_what_it_is_given_is_refused_before_training(way, words):
    view = {"_target_": "tests.test_views.odd", "way": way}
    before = torch.get_rng_state()
    with pytest.raises(LthError, match=words):
        check_views(ticket(views={"scale": SCALED, "odd": view}))
    assert way == "draws in own" or torch.equal(before, torch.get_rng_state())


def test_a_study_tries_its_views_before_it_trains_with_them(tmp_path):
    for which, way in ((None, "says it draws"), (LthError, "counts")):
        arms = {"odd": {"_target_": "tests.test_views.odd_arm", "way": way}}
        with pytest.raises(which) if which else nullcontext():
            laws.run(out=str(tmp_path), name="odd", levels=1, trials=1, rewind="to_init", arms=arms)


def odd_arm(way: str):
    view = {"_target_": "tests.test_views.odd", "way": way}
    return lambda winner, generator: replace(winner, views={"odd": view})


def test_views_that_keep_what_they_remember_in_what_they_own_pass():
    for views in VIEWS.values():
        check_views(ticket(views=views, density=0.5))
    check_views(ticket(views=VIEWS["constant"], gate=GATES["bernoulli"]))
