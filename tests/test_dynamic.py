"""Dynamic sparse training: schedules by hand, and what training makes of them."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call

from lth import LthError, config
from lth.arms import equal_flops
from lth.arms import gradual as gradual_arm
from lth.arms import grow_then_prune as grow_arm
from lth.arms import rigl as rigl_arm
from lth.networks import masks
from lth.networks.cost import forward_flops
from lth.networks.ticket import draw_model, draw_state
from lth.pruning.dynamic import MaskUpdate, gradual, grow_then_prune, rigl, sparse_evolution
from lth.results.analysis.histories import History, histories
from lth.results.figures import draw_over_steps
from lth.results.figures.over_steps import over_steps_figure
from lth.spec.build import build, spec_of
from lth.store.store import Store
from lth.streams import stream
from lth.train.batches import Batches
from lth.train.engine import SequentialEngine
from lth.train.work import Stopped
from lth.types import WINNER, MemberId
from tests.toys import (
    MLP,
    NORM,
    OPTIMIZERS,
    SETTINGS,
    blobs,
    changed,
    job,
    recipe,
    run_study,
    train,
    train_member,
    train_stacked,
)  # fmt: skip
from tests.toys import same_entries as same

RIGL = {"_target_": "lth.pruning.dynamic.rigl", "every": 6, "fraction": 0.4, "seed": 3}
SET = RIGL | {"_target_": "lth.pruning.dynamic.sparse_evolution"}
FINAL = {"1.weight": 40, "3.weight": 11}
GRADUAL = {"_target_": "lth.pruning.dynamic.gradual", "every": 6, "final": FINAL}
GROW = {"_target_": "lth.pruning.dynamic.grow_then_prune", "every": 4, "final": FINAL,
        "start": {"1.weight": 60, "3.weight": 20}, "peak": {"1.weight": 130, "3.weight": 40},
        "regrow": 0.3, "seed": 5}  # fmt: skip
SCHEDULES = {"rigl": RIGL, "set": SET, "gradual": GRADUAL, "grow": GROW}


def look(weights, mask, gradient=None, step=100, steps=1000):
    named = {"w": torch.tensor(weights)}, {"w": torch.tensor(mask, dtype=torch.bool)}
    slopes = None if gradient is None else {"w": torch.tensor(gradient)}
    return MaskUpdate(step, steps, *named, stream("x"), slopes)


def member(name, model=MLP, **changes):
    """A member under a schedule; a gradual one starts dense."""
    made = job(model, density=1.1 if name == "gradual" else 0.4, **changes)
    return changed(made, dynamics=SCHEDULES[name])


def test_rigl_drops_the_smallest_and_grows_where_the_gradient_is_greatest():
    rule = rigl(fraction=0.25, decay="constant")
    weights, kept = [5.0, -1.0, 4.0, 2.0, 0.0, 0.0], [1, 1, 1, 1, 0, 0]
    assert rule(look(weights, kept, [9.0, 0.1, 9.0, 9.0, 3.0, -7.0]))["w"].tolist() == [
        True, False, True, True, False, True,
    ]  # fmt: skip
    again = rule(look(weights, kept, [0.0, 8.0, 0.0, 0.0, 3.0, -7.0]))  # what was dropped, grows
    assert again["w"].tolist() == [bool(k) for k in kept]


def test_the_share_replaced_falls_along_half_a_cosine():
    rule = rigl(every=10, fraction=0.3, until=0.8)
    for step in (0, 200, 400, 799):
        expected = 0.15 * (1 + math.cos(math.pi * step / 800))
        assert rule.share(step, 1000) == pytest.approx(expected)
    assert rigl(decay="constant").share(500, 1000) == 0.3
    assert rule.updates(100) == tuple(range(10, 80, 10))
    assert rule.settled(100) == 0


@settings(max_examples=60, deadline=None)
@given(
    kept=st.integers(0, 40), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 99),
    step=st.integers(1, 700), by_gradient=st.booleans(),
)  # fmt: skip
def test_the_count_is_kept_whatever_is_replaced(kept, fraction, seed, step, by_gradient):
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.randperm(40, generator=generator) < kept).reshape(5, 8)
    weights = torch.randn(5, 8, generator=generator) * mask
    slopes = {"w": torch.randn(5, 8, generator=generator)} if by_gradient else None
    rule = (rigl if by_gradient else sparse_evolution)(fraction=fraction)
    seen = MaskUpdate(step, 1000, {"w": weights}, {"w": mask}, stream("x"), slopes)
    found = rule(seen)["w"]
    assert int(found.sum()) == kept
    count = min(round(rule.share(step, 1000) * kept), 40 - kept)
    assert int((found & mask).sum()) >= kept - count
    assert torch.equal(seen.mask["w"], mask)  # the input is unchanged
    lost = weights[mask & ~found].abs()
    if len(lost) and (mask & found).any() and not by_gradient:
        assert lost.max() <= weights[mask].abs().sort().values[count - 1]


def test_set_grows_by_its_own_generator():
    rule, case = sparse_evolution(), look(list(range(50)), [1] * 20 + [0] * 30)
    first, other = rule(case), rule(replace(case, generator=stream("y")))
    assert not torch.equal(first["w"], other["w"])
    assert torch.equal(first["w"], rule(replace(case, generator=stream("x")))["w"])


def test_gradual_pruning_follows_the_cube():
    rule = gradual({"w": 10}, every=5, begin=0.1, until=0.5)
    assert rule.updates(100) == (*range(10, 50, 5), 50)
    for step in rule.updates(100):
        expected = 10 + 90 * (1 - (step - 10) / 40) ** 3
        assert abs(rule.count("w", 100, step, 100) - expected) <= 0.5
    mask = torch.ones(100, dtype=torch.bool)
    weights = torch.arange(100).float() - 50
    for step in rule.updates(100):
        seen = MaskUpdate(step, 100, {"w": weights * mask}, {"w": mask}, stream("x"))
        new = rule(seen)["w"]
        assert masks.is_nested({"w": new}, {"w": mask})
        if bool((mask & ~new).any()):
            assert weights[new].abs().min() >= weights[mask & ~new].abs().max()
        mask = new
    assert int(mask.sum()) == 10
    assert rule.settled(100) == 51  # evaluated after the last pruning
    short = gradual({"w": 1}, until=1.0)
    assert short.updates(3)[-1] == 2 and short.settled(3) == 3


def growing(**changes):
    counts = {"start": {"w": 10}, "peak": {"w": 60}, "final": {"w": 5}}
    return grow_then_prune(**counts | {"every": 5, "turn": 0.2, "until": 0.6} | changes)


def test_connections_grow_to_the_turn_and_shrink_to_the_end_along_two_cubes():
    rule = growing()
    assert rule.updates(100) == (*range(5, 60, 5), 60) and 20 in rule.updates(100)
    for step in range(100):
        if step < 20:
            expected = 60 - 50 * (1 - step / 20) ** 3
        else:
            expected = 5 + 55 * (1 - min(1, (step - 20) / 40)) ** 3
        assert abs(rule.count("w", 100, step, 100) - expected) <= 0.5, step
    assert rule.settled(100) == 61
    assert [rule.by_gradient(s, 100) for s in (5, 20, 21, 60)] == [True, True, False, False]
    assert growing(regrow=0.5).by_gradient(60, 100)
    for steps in range(1, 12):  # few steps, the last of which still trains
        updates = growing(until=1.0).updates(steps)
        assert updates[-1] == steps - 1 and growing().count("w", 100, updates[-1], steps) == 5


@pytest.mark.parametrize("regrow", [0.0, 0.5])
def test_growth_is_by_the_gradient_and_pruning_by_magnitude(regrow):
    rule, generator = growing(regrow=regrow), torch.Generator().manual_seed(2)
    mask, replaced = torch.randperm(100, generator=generator) < 10, False
    for step in rule.updates(100):
        weights = torch.randn(100, generator=generator) * mask
        slope = torch.randn(100, generator=generator)
        needs = rule.by_gradient(step, 100)
        seen = MaskUpdate(
            step, 100, {"w": weights}, {"w": mask}, stream("x"), {"w": slope} if needs else None
        )
        new = rule(seen)["w"]
        assert int(new.sum()) == rule.count("w", 100, step, 100)
        lost, grown = mask & ~new, new & ~mask
        if step <= 20:
            assert not lost.any() and slope[grown].abs().min() > slope[~new].abs().max()
        elif not regrow:
            assert not grown.any()
            assert not lost.any() or weights[lost].abs().max() <= weights[new].abs().min()
        elif grown.any():  # what comes has the greatest slope of all that are without
            assert slope[grown].abs().min() > slope[~new].abs().max()
        replaced |= step > 20 and bool(grown.any())
        mask = new
    assert replaced == (regrow > 0)
    assert int(mask.sum()) == 5


@pytest.mark.parametrize("regrow", [0.0, 0.4])
def test_an_arm_grows_then_shrinks_to_the_ticket_and_costs_its_gradients(regrow, tmp_path):
    arms = {
        "winning_ticket": {}, "grow_then_prune": {"every": 3, "regrow": regrow, "start": 0.5},
        "gradual": {"every": 5}, "rigl": {"every": 5},
    }  # fmt: skip
    study = run_study(**SETTINGS | {"out": str(tmp_path), "arms": arms, "levels": [2], "trials": 1})
    winner, found = study.ticket(level=2), study.entry(arm="grow_then_prune", level=2)
    wanted = sum(masks.kept(winner.mask).values())
    kept = [(step, sum(counts.values())) for step, counts in found.about["kept"]]
    assert kept[0] == (0, pytest.approx(wanted / 2, abs=1)) and kept[-1][1] == wanted
    peak = max(n for _, n in kept)
    assert dict(kept)[5] == peak == pytest.approx(wanted + (200 - wanted) / 2, abs=2)
    assert [s for s, _ in kept] == [0, 3, 5, 6, 9, 12, 15]
    sizes = [n for _, n in kept]
    assert sizes == sorted(sizes[:3]) + sorted(sizes[3:], reverse=True)
    assert found.about["gradients"] == (6 if regrow else 2)
    rows = [r for r in study.records if r.arm == "grow_then_prune"]
    assert {r.density for r in rows} == {winner.density}  # measured once it has settled
    cost = next(r.value for r in rows if r.metric == "training_flops")
    assert cost == expected_cost(found.about, winner.model)
    lines = histories(study)
    assert {h.place.arm for h in lines} == set(arms)
    grown = next(h for h in lines if h.place.arm == "grow_then_prune")
    assert grown.points == (*((s, n / 200) for s, n in kept), (20, wanted / 200))
    (ticket,) = (h for h in lines if h.place.arm == WINNER)
    assert {d for _, d in ticket.points} == {winner.density}
    figure = over_steps_figure(lines)
    assert [line.get_label() for line in figure.axes[0].get_lines()] == [
        "winning ticket", "grow then prune", "gradual", "rigl"]  # fmt: skip
    assert draw_over_steps(study) == [study.folder / "figures" / "over_steps.png"]


def test_long_trainings_have_a_panel_of_their_own_that_ends_soon_after_the_changes():
    def history(arm, *points):
        return History(MemberId(0, 0.1, arm, 1, 0), points)

    short = [history(WINNER, (0, 0.1), (60, 0.1)), history("rigl", (0, 0.1), (70, 0.1))]
    assert len(over_steps_figure(short).axes) == 1
    grown = history("grown", (0, 0.1), (100, 0.5), (200, 0.1), (600, 0.1))
    figure = over_steps_figure([*short, grown, history("longer", (0, 0.1), (9000, 0.1))])
    left, right = figure.axes
    labels = [[line.get_label() for line in ax.get_lines()] for ax in figure.axes]
    assert labels == [["winning ticket", "rigl"], ["grown", "longer"]]
    assert 70 <= left.get_xlim()[1] < 75 and 250 <= right.get_xlim()[1] < 260


def test_where_no_mask_changes_nothing_is_drawn(tmp_path):
    study = run_study(**SETTINGS | {"out": str(tmp_path), "levels": 1, "trials": 1})
    assert histories(study) == [] and draw_over_steps(study) == []


def test_trained_at_equal_flops_an_arm_costs_what_the_dense_network_does(tmp_path):
    recipe = SETTINGS["recipe"] | {"steps": 120, "eval_every": 60}
    of = {n: {"_target_": f"lth.arms.{n}", "every": 6} for n in ("rigl", "gradual")}
    of["grow_then_prune"] = {"_target_": "lth.arms.grow_then_prune", "every": 6, "regrow": 0.2}
    of["random_mask"] = {"_target_": "lth.arms.random_mask"}
    arms = {"winning_ticket": {}} | {
        f"{n}_long": {"_target_": "lth.arms.equal_flops", "of": o} for n, o in of.items()
    }
    arms["short"] = {"_target_": "lth.arms.equal_flops", "of": of["rigl"], "longest": 1.5}
    study = run_study(
        **SETTINGS | {"out": str(tmp_path), "arms": arms, "levels": [6], "trials": 1,
                      "recipe": recipe}
    )  # fmt: skip
    cost = {r.arm: r.value for r in study.records if r.metric == "training_flops" and r.level == 6}
    dense = next(r.value for r in study.records if r.metric == "training_flops" and r.level == 0)
    for name in of:
        assert cost[f"{name}_long"] == pytest.approx(dense, rel=0.005), name
    assert study.entry(arm="short", level=6).about["steps"] == 180
    assert study.entry(arm="gradual_long", level=6).about["steps"] > 130
    with pytest.raises(LthError, match=r"longest=0\.5"):
        equal_flops(rigl_arm(), longest=0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: growing(turn=0.7), "turn=0.7, until=0.6: shares"),
        (lambda: growing(regrow=1.0), "regrow=1.0: the share"),
        (lambda: growing(every=0), "every=0"),
        (lambda: grow_arm(peak=0), "peak=0: a share"),
        (lambda: grow_arm(start=1.5), "start=1.5: a share"),
        (lambda: grow_arm(counts="all"), "counts=all"),
        (lambda: rigl(every=0), "every=0: a number of steps"),
        (lambda: rigl(fraction=1.0), "fraction=1.0: the share"),
        (lambda: sparse_evolution(until=1.5), "set: until=1.5"),
        (lambda: rigl(decay="linear"), "decay=linear: it is one of cosine"),
        (lambda: gradual({}, begin=0.6), "begin=0.6, until=0.5"),
        (lambda: rigl_arm(counts="all"), "counts=all: it is one of"),
        (lambda: gradual_arm(every=True), "every=True"),
    ],
)
def test_bad_schedules_are_refused(make, message):
    with pytest.raises(LthError, match=message):
        make()


class Watched(SequentialEngine):
    """Holds the laws after every change of the mask, and after every block."""

    changed = 0

    def set_mask(self, member, mask):
        before = {n: leaf.detach().clone() for n, leaf in self.network.leaves.items()}
        moments = self.optimizer_state(0)
        old = self.mask
        super().set_mask(member, mask)
        for name, new in mask.items():
            stays, leaf = old[name] & new, self.network.leaves[name].detach()
            assert torch.equal(leaf[stays], before[name][stays])
            assert bool((leaf[~stays] == 0).all())
            self.changed += int((old[name] != new).sum())
            for slot, value in self.optimizer.state[self.network.leaves[name]].items():
                if isinstance(value, torch.Tensor) and value.shape == leaf.shape:
                    assert torch.equal(value[stays], moments[f"{name}/{slot}"][stays])
                    assert bool((value[~stays] == 0).all())

    def advance(self, *block):
        found = super().advance(*block)
        for name, mask in self.mask.items():
            leaf = self.network.leaves[name]
            assert bool((leaf[~mask] == 0).all())
            for value in self.optimizer.state[leaf].values():
                if isinstance(value, torch.Tensor) and value.shape == leaf.shape:
                    assert bool((value[~mask] == 0).all())
        return found


@pytest.mark.parametrize("compiler", [None, "aot_eager"])
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_is_pruned_stays_zero_and_what_grows_starts_at_zero(
    optimizer, name, compiler, tmp_path
):
    rule = config.load("recipe/optimizer", optimizer) | {"weight_decay": 0.1}
    made = member(name, recipe=recipe(optimizer=rule), compile=compiler)
    engines = []

    def watched(jobs, dataset):
        engines.append(Watched(jobs[0], dataset))
        return engines[-1]

    entry = train_member(made, tmp_path, make=watched)
    assert engines[0].changed > 20
    for weight, mask in entry.final_mask.items():
        assert bool((entry.final.params[weight][~mask] == 0).all())
        assert bool((entry.final.params[weight][mask] != 0).any())
    wanted = FINAL if name in ("gradual", "grow") else masks.kept(made.ticket.mask)
    assert masks.kept(entry.final_mask) == wanted
    assert all(torch.equal(entry.mask[n], m) for n, m in made.ticket.mask.items())
    assert torch.equal(entry.start.params["1.weight"], made.ticket.start.params["1.weight"])


def by_hand(made):
    """Train under RigL by a bare loop: masks by multiplication, growth by a full sort."""
    data, ticket, r = blobs(), made.ticket, made.recipe
    model = draw_model(ticket.model, 0)
    weights = {n: p.clone() for n, p in ticket.start.params.items()}
    mask = {n: m.clone() for n, m in ticket.mask.items()}
    moments = {n: torch.zeros_like(p) for n, p in weights.items()}
    for step, rows in enumerate(Batches(data, made.streams, r.batch).indices(0, r.steps)):
        x, y = data.prepare(data.train_inputs[rows]), data.train_targets[rows]
        leaves = {n: w.clone().requires_grad_() for n, w in weights.items()}
        F.cross_entropy(functional_call(model, leaves, (x,)), y).backward()
        slopes = {n: leaf.grad for n, leaf in leaves.items()}
        if step in (6, 12, 18):
            for name, m in mask.items():
                kept = int(m.sum())
                share = 0.2 * (1 + math.cos(math.pi * step / (0.75 * r.steps)))
                count = min(round(share * kept), m.numel() - kept)
                size = torch.where(m, weights[name].abs(), math.inf).flatten()
                stays = m.clone()
                stays.view(-1)[size.argsort()[:count]] = False
                merit = torch.where(stays, -1.0, slopes[name].abs()).flatten()
                new = stays.clone()
                new.view(-1)[merit.argsort(descending=True)[:count]] = True
                for tensors in (weights, moments):
                    tensors[name] = tensors[name] * (m & new)
                mask[name] = new
            leaves = {n: w.clone().requires_grad_() for n, w in weights.items()}
            F.cross_entropy(functional_call(model, leaves, (x,)), y).backward()
            slopes = {n: leaf.grad for n, leaf in leaves.items()}
        for name in weights:
            slope = slopes[name] * mask[name] if name in mask else slopes[name]
            moments[name] = 0.9 * moments[name] + slope
            weights[name] = weights[name] - made.lr * moments[name]
    return weights, mask


def test_rigl_is_that_of_a_bare_loop(tmp_path):
    momentum = config.load("recipe/optimizer", "momentum") | {"weight_decay": 0.0}
    made = member("rigl", lr=0.05, recipe=recipe(optimizer=momentum))
    entry = train_member(made, tmp_path)
    weights, mask = by_hand(made)
    for name, m in mask.items():
        assert torch.equal(entry.final_mask[name], m)
        assert not torch.equal(made.ticket.mask[name], m)
    for name, value in weights.items():
        torch.testing.assert_close(entry.final.params[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "model"),
    [("rigl", MLP), ("set", MLP), ("grow", MLP), ("rigl", NORM), ("set", NORM)],
    ids=["rigl-mlp", "set-mlp", "grow-mlp", "rigl-norm", "set-norm"],
)
def test_alone_in_company_stopped_or_stacked_it_is_the_same(name, model, tmp_path):
    jobs = [member(name, model, trial=t) for t in range(3)]
    together = train(jobs, tmp_path / "a")
    assert same(together[2], train(jobs[2:], tmp_path / "b")[0])
    calls = []

    def stop():
        calls.append(1)
        return len(calls) > 3

    with pytest.raises(Stopped):
        train(jobs[:1], tmp_path / "c", stop=stop)
    kept = Store(tmp_path / "c").get_partial(jobs[0].key)
    assert kept is not None and kept[1]["kept"][1:]  # the mask has changed by then
    resumed = train_member(jobs[0], tmp_path / "c")
    assert same(together[0], resumed)
    assert resumed.about["kept"] == together[0].about["kept"]
    for entry, other in zip(together, train_stacked(jobs, tmp_path / "d"), strict=True):
        assert all(torch.equal(other.final_mask[n], m) for n, m in entry.final_mask.items())
        for key, value in entry.final.params.items():
            torch.testing.assert_close(other.final.params[key], value, rtol=1e-3, atol=1e-4)
        assert [p[:3] for p in entry.curve] == [p[:3] for p in other.curve]


def test_a_stopped_gradual_member_goes_on_bit_for_bit(tmp_path):
    made, calls = member("gradual"), []
    whole = train_member(made, tmp_path / "whole")
    with pytest.raises(Stopped):
        train_member(made, tmp_path / "cut", stop=lambda: bool(calls) or calls.append(1))
    assert Store(tmp_path / "cut").get_partial(made.key)
    resumed = train_member(made, tmp_path / "cut")
    assert same(whole, resumed)
    assert resumed.about == whole.about | {"seconds": resumed.about["seconds"]}


def test_early_stop_waits_until_gradual_pruning_is_over(tmp_path):
    # a rate this high only makes it worse, so that the dense start would win
    made = member("gradual", lr=3.0, recipe=recipe(eval_every=5))
    entry = train_member(made, tmp_path)
    losses = {s: v for s, split, metric, v in entry.curve
              if (split, metric) == ("validation", "loss")}  # fmt: skip
    allowed = {s: v for s, v in losses.items() if s >= 16}
    assert min(losses.values()) < min(allowed.values())
    early = int(entry.measured[0][0])
    assert early == min(allowed, key=lambda s: (allowed[s], s))
    assert entry.about["weights"]["0"] == 16 * 12 + 12 * 4
    assert entry.about["weights"][str(early)] == sum(FINAL.values())


def test_a_dynamic_member_that_diverges_is_recorded_as_such(tmp_path):
    made = member("rigl", lr=1e25, recipe=recipe(optimizer=config.load("recipe/optimizer", "sgd")))
    entry = train_member(made, tmp_path)
    assert entry.diverged is not None and entry.measured == []


def test_schedules_are_part_of_what_determines_a_member():
    plain, made = job(density=0.4), member("rigl")
    assert len({plain.key, made.key, member("set").key}) == 3
    assert changed(made, dynamics=RIGL | {"every": 7}).key != made.key


def test_in_a_study_they_end_as_dense_as_the_ticket_and_cost_what_they_trained(tmp_path):
    arms = {
        "winning_ticket": {}, "rigl": {"every": 5}, "set": {"every": 5, "counts": "winner"},
        "gradual": {"every": 5},
    }  # fmt: skip
    study = run_study(**SETTINGS | {"out": str(tmp_path), "arms": arms, "levels": [2], "trials": 1})
    winner = study.ticket(level=2)
    for arm in ("rigl", "set", "gradual"):
        found = study.entry(arm=arm, level=2)
        kept = masks.kept(found.final_mask)
        assert sum(kept.values()) == sum(masks.kept(winner.mask).values())
        assert arm == "rigl" or kept == masks.kept(winner.mask)
        rows = [r for r in study.records if r.arm == arm]
        assert {r.density for r in rows} == {winner.density}
        costs = {r.metric: r.value for r in rows if r.metric.endswith("_flops")}
        assert costs["search_flops"] == 0
        assert costs["training_flops"] == expected_cost(found.about, winner.model)
        start = study.entry(level=0).start.params
        ticket = study.ticket(arm=arm, level=2)
        for name, m in ticket.mask.items():
            assert torch.equal(ticket.start.params[name], m * start[name])
        ended = study.ticket(arm=arm, level=2, final_mask=True)
        assert masks.kept(ended.mask) == kept
    curve = {r.step: r.density for r in study.curves if r.arm == "gradual"}
    assert curve[0] == 1.0 and curve[max(curve)] == winner.density
    assert {p.arm for p in study.members if p.level == 1} == {WINNER}


def expected_cost(about, model):
    """Add the cost up step by step."""

    def forward(kept):
        mask = {n: torch.arange(size) < kept[n] for n, size in
                (("1.weight", 16 * 10), ("3.weight", 40))}  # fmt: skip
        return forward_flops(model, (1, 4, 4), mask)

    cost, now, taken = 0, None, 0
    batch = SETTINGS["recipe"]["batch"]
    for step in range(about["steps"]):
        for at, kept in about["kept"]:
            if at == step:
                if now is not None and about["gradients"] > taken:  # Evci et al. 2020, Appendix H
                    cost += (2 * 200 - forward(now)) * batch
                    taken += 1
                now = kept
        cost += 3 * forward(now) * batch  # with the line above: 2 f_S + f_D
    return cost


def test_the_arms_name_their_schedules_in_full():
    winner = job(density=0.4).ticket
    initial = draw_state(MLP, 9)
    initial = type(winner.start)(*initial)
    found = rigl_arm()(winner, stream("x"), initial=initial)
    assert found.step == 0 and not found.searched and found.changes == {}
    assert build(found.dynamics) == rigl(seed=found.dynamics["seed"])
    assert spec_of(found.dynamics) == found.dynamics
    other = rigl_arm()(winner, stream("y"), initial=initial)
    assert other.dynamics["seed"] != found.dynamics["seed"]
    assert torch.equal(found.params["1.weight"], initial.params["1.weight"])
