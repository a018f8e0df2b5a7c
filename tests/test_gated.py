"""Networks that choose for every input what of themselves they run."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lth import LthError, models, moves
from lth.models.blocks import GatedBlock, Switch
from lth.models.channels import GatedChannels
from lth.models.gated import gated
from lth.networks.net import Net
from lth.networks.rewrites import always
from lth.networks.rewrites.carry import carried, full_mask
from lth.networks.ticket import Ticket, draw_model, draw_state, network_of
from lth.recipe import loss as losses
from lth.results.analysis.policies import policies, said
from lth.store.store import Store
from lth.train.stacked import trains_alone
from lth.train.work import Stopped
from lth.types import Batch
from tests import toys
from tests.toys import counts, run_study

REWRITES = "lth.networks.rewrites"
RESNET = {"_target_": "lth.models.resnet", "input_shape": [1, 8, 8], "classes": 4, "depth": 14,
          "width": 4, "shortcut": "pad"}  # fmt: skip
BLOCKS = [f"stage{s}.block{b}" for s in (1, 2, 3) for b in (1, 2)]
WAYS = ["blocks", "channels", "policy"]


def spec(**more):
    return {"_target_": f"{REWRITES}.gated", "model": RESNET, **more}


def net_of(model, seed=1):
    """A net whose norms have seen something."""
    state = draw_state(model, seed)
    generator = torch.Generator().manual_seed(seed)
    odd = {
        n: torch.rand(b.shape, generator=generator) + 0.5 if b.ndim else b
        for n, b in state.buffers.items()
    }
    return Net(model=model, mask=full_mask(model), params=state.params, buffers=odd)


def made(seed=1, **more):
    """A gated network, half of whose gates are open, by what they see."""
    net = carried(net_of(RESNET, seed), spec(**more))
    network = network_of(net.model, net.start).eval()
    generator = torch.Generator().manual_seed(9)
    heads = (
        [g.gate.linear for g in network.gates] if network.policy is None else [network.policy[-1]]
    )
    x, seen = examples(24), []
    for head in heads:
        head.weight.data = torch.randn(head.weight.shape, generator=generator)
        hook = head.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
        with torch.no_grad():
            network(x)
        hook.remove()
        head.bias.data -= seen[-1][1].median(0).values  # some rows on either side
    return network


def examples(count=24, seed=5):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(count, 1, 1, 1, generator=generator) * 3
    return torch.randn(count, 1, 8, 8, generator=generator) * scale


def macs(network, inputs):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(inputs)
    return counter.get_total_flops() // 2


def shut(network, logit):
    """Every gate at this logit, whatever it sees."""
    heads = [g.gate.linear for g in network.gates if g.gate is not None]
    for head in heads or [network.policy[-1]]:
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, logit)
    return network


@pytest.mark.parametrize("by", WAYS)
def test_with_all_gates_open_it_is_the_plain_network_bit_for_bit(by):
    plain, x = net_of(RESNET), examples()
    net = carried(plain, spec(by=by))
    network, alone = net.module().eval(), plain.module().eval()
    assert torch.equal(network(x), alone(x))
    decided = network.decide(x)
    assert bool(decided.open.all()) and decided.open.shape == (24, 24 if by == "channels" else 6)
    logits, share = network.train()(x)
    assert torch.equal(logits, alone.train()(x)) and torch.equal(share, torch.ones(24))
    shapes = sorted(tuple(m.shape) for m in net.mask.values())
    assert shapes == sorted(tuple(m.shape) for m in plain.mask.values())
    assert not any("gate" in n or "policy" in n for n in net.mask)


@pytest.mark.parametrize("by", WAYS)
def test_an_answer_does_not_depend_on_the_batch_it_comes_in(by):
    network, x = made(by=by), examples()
    with torch.no_grad():
        whole, each = network(x), torch.cat([network(x[[n]]) for n in range(len(x))])
        decided, alone = network.decide(x), [network.decide(x[[n]]) for n in range(len(x))]
    assert torch.equal(decided.open, torch.cat([d.open for d in alone]))
    assert 1 < len(torch.unique(decided.open, dim=0)) and 0.2 < decided.open.float().mean() < 0.8
    torch.testing.assert_close(whole, each, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("by", WAYS)
def test_what_is_executed_is_what_is_open_and_training_computes_the_same(by):
    network, x = made(by=by), examples()
    with torch.no_grad():
        decided, answers = network.decide(x), network(x)
        for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.momentum = 0.0
        dense = answers_without_skipping(network, x)
    torch.testing.assert_close(answers, dense, atol=1e-5, rtol=1e-5)
    closed = macs(shut(made(by=by), -1.0), x)
    wanted = int((decided.open.double() * decided.macs).sum())
    assert macs(network, x) - closed == wanted > 0
    assert macs(shut(made(by=by), 1.0), x) - closed == int(len(x) * decided.macs.sum())


def answers_without_skipping(network, x):
    """What the formulas give that training uses, norms on their running statistics."""
    for module in network.modules():
        module.training = isinstance(module, GatedBlock | GatedChannels)
    found = network.model(x) if network.policy is None else network._run(x)[0]
    network.eval()
    return found


def test_a_closed_block_costs_nothing_but_its_gate():
    x = examples(3)
    plain = network_of(RESNET, draw_state(RESNET, 0)).eval()
    kept = macs(always(draw_model(RESNET, 0), []), x)  # stem and output alone
    network = shut(made(), -1.0)
    widths = [g.gate.linear.in_features for g in network.gates]
    assert macs(network, x) == kept + 3 * sum(widths)
    conv = plain.stage1.block1.first.conv
    assert kept == 3 * (4 * 9 * 64 + 16 * 4) and conv.weight.numel() * 64 * 2 == int(
        network.decide(x).macs[0]
    )
    around = examples(3).abs()
    assert torch.equal(network.gates[0](around.expand(3, 4, 8, 8)), around.expand(3, 4, 8, 8))


def test_gates_learn_through_a_hard_choice():
    for estimator in ("straight_through", "gumbel"):
        switch, logits = Switch(estimator, 0.5), torch.zeros(1000, 1, requires_grad=True)
        torch.manual_seed(0)
        opened = switch(logits + 0.5, True)
        assert set(opened.tolist()[0]) <= {0.0, 1.0} and bool(((opened == 0) | (opened == 1)).all())
        opened.sum().backward()
        assert bool((logits.grad >= 0).all()) and logits.grad.mean() > 0.01
        assert opened.mean() == 1.0 if estimator == "straight_through" else (
            abs(opened.mean() - torch.sigmoid(torch.tensor(0.5))) < 0.05)  # fmt: skip
    drawn = Switch("reinforce")(torch.full((1000, 1), 0.5, requires_grad=True), True)
    assert not drawn.requires_grad and abs(drawn.mean() - 0.62) < 0.05
    assert Switch("gumbel")(torch.tensor([[0.1, -0.1]]), False).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("estimator", ["straight_through", "gumbel"])
def test_the_share_is_what_was_run_and_has_a_gradient(by, estimator):
    network = made(by=by, estimator=estimator).train()
    torch.manual_seed(0)
    logits, share = network(examples())
    assert logits.shape == (24, 4) and share.shape == (24,) and 0 < share.min() < share.max() <= 1
    share.mean().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for n, p in network.named_parameters()
               if "gate" in n or "policy" in n)  # fmt: skip
    torch.manual_seed(0)
    assert torch.equal(network(examples())[1], share)  # a function of the seed
    torch.manual_seed(1)
    assert torch.equal(network(examples())[1], share) == (estimator == "straight_through")


def test_norms_see_one_pass_of_a_policy_gradient_step():
    """The greedy pass that a draw is held against leaves no trace in running statistics."""
    network = made(by="policy", estimator="reinforce").train()
    seen = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [(int(m.num_batches_tracked), m.running_mean.clone()) for m in seen]
    torch.manual_seed(3)
    network(examples())
    after = [m.running_mean.clone() for m in seen]
    assert all(int(m.num_batches_tracked) == n + 1 for m, (n, _) in zip(seen, before, strict=True))
    for m, (_, mean) in zip(seen, before, strict=True):
        m.running_mean.copy_(mean)
    torch.manual_seed(3)
    network._run(examples())  # the drawn pass alone
    assert all(torch.equal(m.running_mean, a) for m, a in zip(seen, after, strict=True))
    assert all(m.track_running_stats for m in seen)


# losses, by hand


def test_computation_is_paid_for():
    z, y = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    share, plain = torch.tensor([0.25, 0.75]), nn.functional.cross_entropy(z, y)
    batch = Batch(z, y)
    paid = losses.with_computation(losses.cross_entropy(), 0.2)
    assert paid((z, share), batch).item() == pytest.approx(plain.item() + 0.2 * 0.5)
    aimed = losses.with_computation(losses.cross_entropy(), 2.0, target=0.2)
    assert aimed((z, share), batch).item() == pytest.approx(plain.item() + 2 * 0.3**2)
    assert paid(z, batch) == aimed(z, batch) == plain
    chance = torch.tensor([-1.0, -3.0], requires_grad=True)
    greedy = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    rewarded = losses.policy_gradient(losses.cross_entropy(), 0.5, wrong=2.0)
    value = rewarded((z, share, chance, greedy, torch.tensor([0.5, 0.5])), batch)
    gains = [(1 - 0.25**2) + 2.0, -2.0 - (1 - 0.5**2)]  # right against wrong, and the reverse
    assert value.item() == pytest.approx(plain.item() - 0.5 * (-gains[0] - 3 * gains[1]) / 2)
    value.backward()
    assert chance.grad.tolist() == pytest.approx([-0.25 * g for g in gains])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: losses.with_computation(losses.cross_entropy(), -1), "weight=-1"),
        (lambda: losses.with_computation(losses.cross_entropy(), target=2), "target=2: a share"),
        (lambda: losses.with_computation(losses.cross_entropy())((torch.ones(1),), None),
         "gives 2 outputs in training"),
        (lambda: gated(draw_model(RESNET, 0), by="layers"), "by='layers': choose from blocks"),
        (lambda: gated(draw_model(RESNET, 0), estimator="x"), "estimator='x'"),
        (lambda: gated(draw_model(RESNET, 0), temperature=0), "temperature=0"),
        (lambda: gated(draw_model(RESNET, 0), by="channels", groups=5), "a block has 4 channels"),
        (lambda: gated(draw_model(RESNET, 0), blocks=["stage9"]), "stage9: no such block"),
        (lambda: gated(draw_model(toys.NORM, 0)), "no residual block"),
        (lambda: gated(draw_model(toys.NORM, 0), by="channels", blocks=["0"]), "no block of two"),
        (lambda: always(draw_model(RESNET, 0), ["x"]), "x: no such block; there are"),
        (lambda: always(gated(draw_model(RESNET, 0), by="channels"), ["stage1.block1"]),
         "stage1.block1: no such block; there are stage1.block1:0"),
        (lambda: moves.gate(by="x"), "by"),
        (lambda: moves.gate(estimator="reinforce", target=0.5), "takes a penalty alone"),
        (lambda: moves.always(blocks=True), "blocks=True"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(make, words):
    with pytest.raises(LthError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_block_of_ones_own_is_skipped_by_name():
    network = gated(nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.Linear(16, 4)), blocks=["1"])
    x = torch.randn(5, 16)
    shut(network, -1.0).eval()
    assert torch.equal(network(x), network.model[2](x))


class Block(nn.Module):
    """A residual block of somebody else's."""

    def __init__(self, kind="plain", pads="zeros", **norm):
        super().__init__()
        self.kind, self.shortcut = kind, nn.Identity()
        self.conv1, self.norm1 = nn.Conv2d(4, 4, 3, 1, 1, padding_mode=pads), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 4, 3, 1, 1), nn.BatchNorm2d(4, **norm)

    def forward(self, x):
        f = nn.functional
        if self.kind == "preactivated":
            return self.conv2(f.relu(self.norm2(self.conv1(f.relu(self.norm1(x)))))) + x
        activate = f.gelu if self.kind == "gelu" else f.relu
        inner = activate(self.norm1(self.conv1(x)))
        inner = f.dropout(inner, 0.5, self.training and self.kind == "dropout")
        return f.relu(self.norm2(self.conv2(inner)) + x)


@pytest.mark.parametrize(
    "block",
    [{"kind": "gelu"}, {"kind": "preactivated"}, {"kind": "dropout"}, {"pads": "circular"},
     {"track_running_stats": False}],
    ids=str,
)  # fmt: skip
def test_channels_are_not_gated_where_that_would_make_another_network(block):
    with pytest.raises(LthError, match="a Block is no block of two convolutions with norms"):
        gated(nn.Sequential(Block(**block)), by="channels")
    assert gated(nn.Sequential(Block()), by="channels").names == [f"0:{g}" for g in range(4)]


@pytest.mark.parametrize("kind", ["plain", "preactivated"])
def test_around_a_block_of_somebody_elses_is_its_shortcut(kind):
    network, x = nn.Sequential(Block(kind)), torch.randn(3, 4, 8, 8)
    wanted = x if kind == "preactivated" else x.relu()
    assert torch.equal(always(nn.Sequential(Block(kind)), [])(x), wanted)
    assert torch.equal(shut(gated(network), -1.0).eval()(x), wanted)


def test_a_policy_looks_at_what_the_network_takes():
    class Block1(nn.Sequential):
        shortcut = nn.Identity()

    rows = gated(nn.Sequential(Block1(nn.Conv1d(3, 3, 3, padding=1))), by="policy").eval()
    assert rows(torch.randn(2, 3, 9)).shape == (2, 3, 9)
    flat = nn.Sequential(nn.Unflatten(1, (4, 8, 8)), Block())
    with pytest.raises(LthError, match=r"the network takes \[256\], its first layer \[4, "):
        gated(flat, by="policy").eval()(torch.randn(2, 256))


def test_the_static_rival_of_gated_channels_computes_what_they_do_when_they_never_move():
    x, made_so = examples(), spec(by="channels")
    net = carried(net_of(RESNET), made_so)
    network, kept = net.module().eval(), []
    for block, gate in zip(BLOCKS, network.gates, strict=True):
        nn.init.zeros_(gate.gate.linear.weight)
        gate.gate.linear.bias.data = torch.tensor([1.0, -1.0, -1.0, 1.0])
        kept += [f"{block}:0", f"{block}:3"]
    form = {"_target_": f"{REWRITES}.always", "model": made_so, "blocks": kept}
    static = carried(net, form).module().eval()
    torch.testing.assert_close(static(x), network(x), atol=1e-5, rtol=1e-5)
    gates = 24 * sum(g.gate.linear.weight.numel() for g in network.gates)
    assert macs(static, x) == macs(network, x) - gates
    assert not any("gate" in name for name, _ in static.named_parameters())
    everything = always(gated(draw_model(RESNET, 0), by="channels"), gated_names())
    assert torch.equal(everything.eval()(x), draw_model(RESNET, 0).eval()(x))
    nothing = always(gated(draw_model(RESNET, 0), by="channels"), [])
    assert macs(nothing, x) == macs(always(draw_model(RESNET, 0), []), x)


def gated_names():
    return [f"{block}:{group}" for block in BLOCKS for group in range(4)]


def test_a_gated_ticket_is_saved_and_loaded(tmp_path):
    model = {
        "_target_": "lth.models.gated_resnet",
        **{n: v for n, v in RESNET.items() if n[0] != "_"},
    }
    state = draw_state(model, 0)
    ticket = Ticket(model=model, mask=full_mask(model), **state._asdict())
    other = carried(net_of(RESNET), spec(by="channels", groups=2))
    for n, each in enumerate((ticket, dataclasses.replace(ticket, **fields(other)))):
        each.save(tmp_path / f"{n}.safetensors")
        again = Ticket.load(tmp_path / f"{n}.safetensors")
        assert again == each
        assert torch.equal(again.module().eval()(examples()), each.module().eval()(examples()))
    plain = draw_state(RESNET, 0)  # the gates are drawn behind: the weights are a plain ResNet's
    assert torch.equal(state.params["model.stem.conv.weight"], plain.params["stem.conv.weight"])


def fields(net):
    return {"model": net.model, "mask": net.mask, "params": net.params, "buffers": net.buffers,
            "sizes": {}}  # fmt: skip


def test_a_fixed_policy_is_a_plain_network():
    net = carried(net_of(RESNET), spec())
    kept = [BLOCKS[0], BLOCKS[3]]
    fixed = carried(net, {"_target_": f"{REWRITES}.always", "model": net.model, "blocks": kept})
    from_plain = carried(net_of(RESNET), {
        "_target_": f"{REWRITES}.always", "model": RESNET, "blocks": kept})  # fmt: skip
    network = network_of(net.model, net.start).eval()
    for path, gate in zip(BLOCKS, network.gates, strict=True):
        nn.init.constant_(gate.gate.linear.bias, 1.0 if path in kept else -1.0)
    x = examples()
    assert torch.equal(fixed.module().eval()(x), network(x))
    assert torch.equal(from_plain.module().eval()(x), network(x))
    assert fixed.params.keys() == from_plain.params.keys()
    assert {n.rpartition(".block")[0] for n in fixed.params if n.startswith("stage2")} == {
        "stage2"} and not any(n.startswith("stage2.block1") for n in fixed.params)  # fmt: skip


# in a study

TINY = {**RESNET, "input_shape": [1, 4, 4], "depth": 8}
TRAIN = {"_target_": "lth.moves.train", "steps": 6}


def tiny(input_shape, classes, gates=None):
    made = models.resnet(input_shape=input_shape, classes=classes, depth=8, width=4, shortcut="pad")
    return made if gates is None else gated(made, gates, "gumbel", groups=2)


def gate(**more):
    return {"_target_": "lth.moves.gate", **more}


def standing(*listed):
    return {"at": "dense", "repeat": 1, "moves": list(listed)}


@pytest.mark.parametrize(
    ("estimator", "by"),
    [("straight_through", "channels"), ("gumbel", "blocks"), ("reinforce", "policy")],
)
def test_gates_are_trained_in_a_study(estimator, by, tmp_path):
    first = gate(by=by, estimator=estimator, penalty=0.5, groups=2)
    method = {"m": standing(first, TRAIN)}
    study = run_study(tmp_path, model=tiny, levels=0, trials=1, method=method)
    assert counts(study) == (2, 0)
    entry = study.entry(arm="m", level=1)
    start, final = entry.start.params, entry.final.params
    gates = [n for n in start if "gate" in n or "policy.4" in n]
    assert gates and all(not torch.equal(start[n], final[n]) for n in gates)
    assert start["model.stem.conv.weight"].equal(study.entry().final.params["stem.conv.weight"])
    again = run_study(tmp_path / "b", model=tiny, levels=0, trials=1, method=method)
    assert toys.same_entries(again.entry(arm="m", level=1), entry)


def test_a_static_network_of_equal_computation_follows(tmp_path):
    fixed = {"_target_": "lth.moves.always", "blocks": None}
    method = {
        "static": standing(gate(penalty=0.0), TRAIN, fixed, TRAIN),
        "two": standing({**fixed, "blocks": 2}, TRAIN),
        "named": standing({**fixed, "blocks": ["stage3.block1"], "weights": "drawn"}),
    }
    study = run_study(tmp_path, model=tiny, levels=0, trials=1, method=method)
    kept = {arm: study.entry(arm=arm, level=1).about["model"]["blocks"] for arm in method}
    assert kept["static"] == [f"stage{s}.block1" for s in (1, 2, 3)]  # all gates are still open
    assert kept["two"] == ["stage1.block1", "stage2.block1"]
    assert kept["named"] == ["stage3.block1"]


def test_a_gated_network_is_a_study_of_its_own(tmp_path):
    loss = {"_target_": "lth.recipe.loss.with_computation", "weight": 0.1,
            "of": {"_target_": "lth.recipe.loss.cross_entropy"}}  # fmt: skip
    recipe = toys.SETTINGS["recipe"] | {"loss": loss}
    whole = run_study(
        tmp_path, model=tiny_gated, levels=1, trials=1, recipe=recipe, trainer={"workers": 0}
    )
    assert counts(whole)[0] > 1
    with pytest.raises(LthError, match="two examples give a tuple in training"):
        toys.setup_of(tmp_path, model=tiny_gated)
    with pytest.raises(LthError, match=r"method.m: moves.gate: the network is gated already"):
        toys.setup_of(tmp_path, model=tiny, method={"m": standing(gate(), gate(), TRAIN)})


def tiny_gated(input_shape, classes):
    return tiny(input_shape, classes, "blocks")


def test_what_gates_do_is_analysed_and_a_collapse_is_said_as_one(tmp_path):
    from lth.results.analysis.summary import summary
    from lth.results.analysis.table import Analysis

    study = run_study(
        tmp_path, model=tiny, levels=0, trials=1, arms=["winning_ticket"],
        method={"gates": standing(gate(penalty=0.0), TRAIN)},
    )  # fmt: skip
    rows = [row for member in Analysis(study) for row in member.rows]
    found = {r.measure: r.value for r in rows if r.arm == "gates"}
    assert (found["policies"], found["usage_mean"], found["usage_std"]) == (1, 1, 0)
    assert "usage_difficulty" not in found  # nothing varies
    assert not any(r.measure == "policies" for r in rows if r.arm == "winning_ticket")
    (line,) = [text for text in summary(rows, study.records) if "gated" in text]
    assert line == ("gates: 100.0 % of what is gated runs; collapsed: one policy for every input, "
                    "so that it is a static network")  # fmt: skip


def test_policies_and_difficulty_by_hand():
    network, x = made(), examples()
    targets = torch.arange(24) % 4
    with torch.no_grad():
        open_, macs_ = network.decide(x)[1:]
        share = (open_.double() @ macs_.double()) / macs_.sum()
        hard = {0: share, 1: 0.6 - share}
        for sign in (0, 1):  # a static network whose loss falls, or rises, with what is run
            logits = torch.zeros(24, 4)
            logits[torch.arange(24), targets] = (0.3 - hard[sign].float()) * 9
            found = policies(network, x, targets, lambda part, z=logits: z)
            assert found.policies == len({tuple(row) for row in open_.tolist()}) > 1
            assert found.usage_mean == pytest.approx(share.mean().item())
            assert found.usage_std == pytest.approx(share.std(correction=0).item())
            assert (found.usage_difficulty > 0.7) == (sign == 0)
        wrong = logits.argmax(1) != targets
        assert found.usage_right == pytest.approx(share[~wrong].mean().item())
    words = said("m", [dict(found.measures()), {"policies": 1.0, "usage_mean": 0.5}])
    assert "collapsed in 1 of 2 trials" in words and f"{found.policies} policies" in words


def test_members_whose_gates_go_by_their_inputs_are_not_stacked():
    recipe = toys.recipe(loss={"_target_": "lth.recipe.loss.with_computation",
                               "of": {"_target_": "lth.recipe.loss.cross_entropy"}})  # fmt: skip
    small = {**RESNET, "input_shape": [1, 4, 4], "depth": 8}
    job = toys.job(spec() | {"model": small}, density=2, recipe=recipe)
    assert trains_alone(job, toys.blobs())
    assert not trains_alone(toys.job(small, density=2), toys.blobs())


@pytest.mark.parametrize("name", ["gumbel", "sandwich"])
def test_a_member_that_draws_in_training_goes_on_bit_for_bit(name, tmp_path):
    inner = {"_target_": "lth.recipe.loss.cross_entropy"}
    models_ = {
        "gumbel": ({"_target_": f"{REWRITES}.gated", "model": TINY, "estimator": "gumbel"},
                   {"_target_": "lth.recipe.loss.with_computation", "of": inner}),
        "sandwich": ({"_target_": f"{REWRITES}.slimmable", "model": toys.NORM,
                      "widths": [0.25, 0.5, 0.75, 1.0], "sandwich": 1},
                     {"_target_": "lth.recipe.loss.per_output", "of": inner}),
    }  # fmt: skip
    model, loss = models_[name]
    job, calls = toys.job(model, density=2, recipe=toys.recipe(loss=loss)), []
    (whole,) = toys.train([job], tmp_path / "a")
    with pytest.raises(Stopped):
        toys.train([job], tmp_path / "b", stop=lambda: bool(calls) or calls.append(1))
    assert Store(tmp_path / "b").get_partial(job.key)
    (resumed,) = toys.train([job], tmp_path / "b")
    assert toys.same_entries(whole, resumed)
