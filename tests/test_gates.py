"""Supermasks: a mask is trained, and the weights under it never move."""

import pytest
import torch
from torch.func import functional_call

from lth import LthError, config
from lth.arms import edge_popup as edge_popup_arm
from lth.arms import supermask
from lth.networks import masks
from lth.networks.gates import bernoulli, edge_popup
from lth.networks.ticket import draw_model
from lth.store.store import Store
from lth.train.engine import SequentialEngine
from lth.train.work import Stopped
from tests.toys import (
    MLP,
    NORM,
    OPTIMIZERS,
    PLAIN,
    SETTINGS,
    blobs,
    changed,
    job,
    recipe,
    run_study,
    ticket,
    train,
    train_member,
    train_stacked,
)  # fmt: skip
from tests.toys import same_entries as same

KEPT = {"1.weight": 50, "3.weight": 9}
GATES = {
    "bernoulli": {"_target_": "lth.networks.gates.bernoulli", "rescale": True},
    "plain": {"_target_": "lth.networks.gates.bernoulli", "rescale": False, "keep": 0.7},
    "edge_popup": {"_target_": "lth.networks.gates.edge_popup", "kept": KEPT, "seed": 5},
}


def member(name, model=MLP, **changes):
    changes = {"lr": 0.3} | changes
    made = job(model, density=1.1, **changes)
    gate = GATES[name]
    if name == "edge_popup":
        gate = gate | {"kept": {n: m.numel() // 4 for n, m in made.ticket.mask.items()}}
    return changed(made, gate=gate)


def test_a_bernoulli_gate_is_drawn_and_its_gradient_is_the_probabilitys():
    gate = bernoulli(rescale=False)
    scores = torch.full((100, 100), 1.0, requires_grad=True)
    torch.manual_seed(0)
    found = gate("w", scores, training=True)
    assert set(found.unique().tolist()) == {0.0, 1.0}
    share = 1 / (1 + torch.e**-1)
    assert found.mean().item() == pytest.approx(share, abs=0.02)
    found.sum().backward()
    torch.testing.assert_close(scores.grad, torch.full((100, 100), share * (1 - share)))
    again = gate("w", scores, training=True)
    assert not torch.equal(found, again)


def test_outside_training_the_likelier_is_taken_and_rescaling_keeps_the_sum():
    scores = torch.tensor([[-1.0, 2.0, 0.0, -0.1]])
    assert bernoulli().mask("w", scores).tolist() == [[False, True, True, False]]
    assert bernoulli()("w", scores, False).tolist() == [[0.0, 2.0, 2.0, 0.0]]
    assert bernoulli(rescale=False)("w", scores, False).tolist() == [[0.0, 1.0, 1.0, 0.0]]
    start = bernoulli(keep=0.8).start("w", torch.zeros(3))
    torch.testing.assert_close(torch.sigmoid(start), torch.full((3,), 0.8))


def test_edge_popup_keeps_exactly_the_greatest_and_its_gradient_is_straight():
    gate = edge_popup({"w": 2})
    scores = torch.tensor([[0.1, -0.9, 0.5, -0.2]], requires_grad=True)
    found = gate("w", scores, training=True)
    assert found.tolist() == [[0.0, 1.0, 1.0, 0.0]]
    (found * torch.tensor([[1.0, 2.0, 3.0, 4.0]])).sum().backward()
    assert scores.grad.tolist() == [[1.0, -2.0, 3.0, -4.0]]
    start = gate.start("w", torch.zeros(2, 16))
    assert start.abs().max() <= 0.25 and start.std() > 0.1
    assert torch.equal(start, gate.start("w", torch.zeros(2, 16)))


@pytest.mark.parametrize("compiler", [None, "aot_eager"])
@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("model", [MLP, NORM, PLAIN], ids=["mlp", "norm", "tied"])
def test_only_the_mask_is_trained(model, name, compiler, tmp_path):
    made = member(name, model, compile=compiler)
    entry = train_member(made, tmp_path)
    start, final = entry.start, entry.final
    moved = 0
    for weight, value in final.params.items():
        if weight not in made.ticket.mask:
            assert torch.equal(value, start.params[weight])  # biases and norms stay
            continue
        mask = entry.final_mask[weight]
        factor = mask.numel() / int(mask.sum()) if name == "bernoulli" else 1.0
        torch.testing.assert_close(value, start.params[weight] * mask * factor)
        moved += int((~mask).sum())
        if name == "edge_popup":
            assert int(mask.sum()) == mask.numel() // 4
    assert moved > 0
    network = draw_model(made.ticket.model, 0).eval()
    inputs = blobs().prepare(blobs().test_inputs)
    logits = functional_call(network, (final.params, final.buffers), (inputs,))
    right = (logits.argmax(1) == blobs().test_targets).double().mean()
    values = {(s, p, m): v for s, p, m, v in entry.measured}
    assert values[30, "test", "accuracy"] == pytest.approx(float(right))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_the_mask_learns(name, tmp_path):
    rule = config.load("recipe/optimizer", name) | {"weight_decay": 0.0}
    rate = 0.2 if "adam" in name else 20.0
    made = member("bernoulli", lr=rate, recipe=recipe(optimizer=rule, steps=150))
    entry = train_member(made, tmp_path)
    losses = [v for _, split, m, v in entry.curve if (split, m) == ("train", "batch_loss")]
    assert losses[-1] < losses[0]
    values = {(s, p, m): v for s, p, m, v in entry.measured}
    assert max(v for (_, p, m), v in values.items() if (p, m) == ("test", "accuracy")) > 0.6


@pytest.mark.parametrize("name", GATES)
def test_alone_in_company_stopped_or_on_a_gpu_it_is_the_same(name, tmp_path):
    jobs = [member(name, trial=t) for t in range(2)]
    together = train(jobs, tmp_path / "a")
    assert same(together[1], train(jobs[1:], tmp_path / "b")[0])
    calls = []
    with pytest.raises(Stopped):
        train(jobs[:1], tmp_path / "c", stop=lambda: bool(calls) or calls.append(1))
    assert Store(tmp_path / "c").get_partial(jobs[0].key)
    resumed = train_member(jobs[0], tmp_path / "c")
    assert same(together[0], resumed)
    assert resumed.about["weights"] == together[0].about["weights"]
    stacked = train_stacked([*jobs, job()], tmp_path / "d")
    for a, b in zip(together, stacked[:-1], strict=True):
        if name != "edge_popup":
            assert same(a, b)  # what draws trains alone
            continue
        assert [p[:3] for p in a.curve] == [p[:3] for p in b.curve]
        assert masks.kept(a.final_mask) == masks.kept(b.final_mask)
        assert masks.overlap(a.final_mask, b.final_mask) > 0.9


def test_a_gate_within_a_mask_never_leaves_it(tmp_path):
    made = ticket(density=0.4, gate=GATES["bernoulli"])
    entry = train_member(made, tmp_path, lr=0.3)
    assert masks.is_nested(entry.final_mask, made.mask)
    assert entry.final_mask["1.weight"].sum() < made.mask["1.weight"].sum()


def test_the_scores_have_an_optimizer_of_their_own(tmp_path):
    arms = {
        "winning_ticket": {},
        "supermask": {"lr": 5.0, "optimizer": {"kind": "torch.optim.SGD", "momentum": 0.5}},
        "edge_popup": {"weights": "init", "lr": 0.05, "optimizer": None},
    }
    rates = []

    class Noting(SequentialEngine):
        def __init__(self, made, dataset):
            super().__init__(made, dataset)
            rates.append((made.lr, type(self.optimizer).__name__, made.ticket.gate is not None))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lth.train.engine.SequentialEngine", Noting)
        study = run_study(
            **SETTINGS | {"out": str(tmp_path), "arms": arms, "levels": [2], "trials": 1}
        )
    assert sorted(set(rates)) == [(0.02, "Adam", False), (0.05, "Adam", True), (5.0, "SGD", True)]
    dense = study.entry(level=0).start.params["1.weight"]
    found = study.entry(arm="supermask", level=2)
    size = dense.std(correction=0)
    assert torch.equal(found.start.params["1.weight"], dense.sign() * size)
    winner = study.ticket(level=2)
    popup = study.entry(arm="edge_popup", level=2)
    assert torch.equal(popup.start.params["1.weight"], dense)
    assert masks.kept(popup.final_mask) == masks.kept(winner.mask)
    for arm, entry in (("supermask", found), ("edge_popup", popup)):
        rows = [r for r in study.records if r.arm == arm and r.step == 20]
        kept = sum(masks.kept(entry.final_mask).values())
        assert {r.density for r in rows} == {kept / 200}
        costs = {r.metric: r.value for r in rows}
        assert costs["training_flops"] == 3 * 2 * 200 * 20 * 20 and costs["search_flops"] == 0
        assert {r.lr for r in rows} == {0.02}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bernoulli(keep=1.0), "keep=1.0: a probability"),
        (lambda: supermask(weights="ones"), "weights=ones: it is one of init"),
        (lambda: supermask(lr=0), "lr=0: the learning rate of the scores"),
        (lambda: supermask(optimizer={"momentum": 0.9}), "name its kind"),
        (lambda: edge_popup_arm(optimizer={"kind": "torch.optim.SGD", "m": 1}), "unexpected"),
    ],
)
def test_bad_gates_are_refused(make, message):
    with pytest.raises(LthError, match=message):
        make()
