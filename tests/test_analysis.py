"""Analysis: by hand on small things, and over a whole study."""

import csv
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from lth import LthError
from lth.config import compose
from lth.networks import masks
from lth.networks.ticket import State, draw_state
from lth.recipe.loss import cross_entropy
from lth.records.intervals import Interval, bootstrap_interval
from lth.records.matching import Match, is_matching, matching
from lth.records.statistics import Cell, paired_difference, paired_values
from lth.records.verdict import verdict
from lth.results.analysis import members as members_module
from lth.results.analysis import structure
from lth.results.analysis.connectivity import Path, interpolate, path
from lth.results.analysis.evaluate import Evaluator, measure, rows_of
from lth.results.analysis.lines import Line, Point, lines, neighbours
from lth.results.analysis.members import Member, Members, read
from lth.results.analysis.summary import summary
from lth.results.analysis.table import Analysis, Row
from lth.results.analysis.tickets import reads_pictures, spread_out, tickets
from lth.study.actions import ACTIONS
from lth.study.progress import Display
from lth.study.setup import prepare
from lth.types import MemberId
from tests import toys
from tests.synthetic import REINIT, WINNER
from tests.synthetic import study as made_up
from tests.test_verdict import member as record_of
from tests.toys import blobs, norm_net, run_study

SETTINGS = toys.SETTINGS | {
    "recipe": {"steps": 60, "batch": 20, "lr": 0.02, "eval_every": 20},
    "arms": {
        "winning_ticket": {}, "sgd_noise": {"copies": 2}, "dense_child": {}, "random_mask": {},
    },
}  # fmt: skip
LR = 0.02


@pytest.fixture(autouse=True, scope="module")
def _no_figures_of_the_runs():
    """What is tested here is looked at, not drawn by the runs that train it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lth.results.figures.draw", lambda *_: [])
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return str(tmp_path_factory.mktemp("analysis"))


@pytest.fixture(scope="module")
def study(out):
    return run_study(**SETTINGS, out=out)


@pytest.fixture(scope="module")
def found(study):
    """Every row, by place, layer and measure; every point."""
    members = list(Analysis(study))
    rows = [r for m in members for r in m.rows]
    values = {(r.trial, r.copy, r.arm, r.level, r.layer, r.measure): r.value for r in rows}
    return values, [p for m in members for p in m.points], rows


def mask(*rows):
    return {"w": torch.tensor(rows, dtype=torch.bool)}


def test_the_barrier_is_the_highest_error_over_the_mean_of_the_ends():
    found = Path([0, 0.5, 1], [0.1, 0.4, 0.2], [0, 0, 0])
    assert found.barrier == pytest.approx(0.25)
    assert Path([0, 0.5, 1], [0, 0, 0], [0.5, 2.5, 1.5]).loss_barrier == pytest.approx(1.5)


def test_interpolation_is_exact_at_its_ends_and_leaves_integers():
    a = State({"w": torch.randn(5)}, {"mean": torch.randn(3), "count": torch.tensor(3)})
    b = State({"w": torch.randn(5)}, {"mean": torch.randn(3), "count": torch.tensor(9)})
    for alpha, end in ((0.0, a), (1.0, b)):
        assert torch.equal(interpolate(a, b, alpha).params["w"], end.params["w"])
        assert torch.equal(interpolate(a, b, alpha).buffers["mean"], end.buffers["mean"])
    torch.testing.assert_close(
        interpolate(a, b, 0.25).params["w"], 0.75 * a.params["w"] + 0.25 * b.params["w"]
    )
    assert interpolate(a, b, 0.5).buffers["count"] == 3
    with pytest.raises(LthError, match="different models"):
        interpolate(a, State({"v": torch.zeros(5)}, {}), 0.5)


def test_measuring_gives_what_the_records_say(study):
    data = blobs(validation=40)
    entry = study.entry(trial=1, level=2)
    for split in ("test", "validation", "train"):
        found = measure(entry.about["model"], entry.final, data, rows_of(data, split, 0, 1))
        values = {m: v for step, s, m, v in entry.measured if s == split and step == 60}
        assert found == {
            "loss": pytest.approx(values["loss"], rel=1e-5), "accuracy": values["accuracy"],
        }  # fmt: skip


def test_a_network_and_its_permuted_twin_are_equal_and_far_apart(study):
    data, entry = blobs(validation=40), study.entry(level=0)
    order = torch.arange(9, -1, -1)
    p = entry.final.params
    twin = State({"1.weight": p["1.weight"][order], "1.bias": p["1.bias"][order],
                  "3.weight": p["3.weight"][:, order], "3.bias": p["3.bias"]}, {})  # fmt: skip
    rows = rows_of(data, "test", 0, 0)
    found = path(entry.about["model"], entry.final, twin, data, rows, alphas=11)
    assert found.errors[0] == found.errors[-1]
    assert found.barrier == max(found.errors) - found.errors[0] > 0.1
    same = path(entry.about["model"], entry.final, entry.final, data, rows, alphas=5)
    assert same.barrier == 0 and len(same.errors) == 5


def test_recalibration_takes_the_statistics_of_the_data():
    spec = {"_target_": "tests.toys.norm_net", "input_shape": [1, 4, 4], "classes": 4}
    data, state = blobs(), draw_state(spec, 0)
    inputs = data.train_inputs[:100]
    state.buffers["1.num_batches_tracked"].fill_(7)  # what was counted before does not count
    state.buffers["1.running_mean"].fill_(3.0)
    found = Evaluator(spec, data).recalibrate(state, inputs)
    seen = torch.nn.functional.conv2d(
        data.prepare(inputs), state.params["0.weight"], padding=1
    )  # fmt: skip
    torch.testing.assert_close(found.buffers["1.running_mean"], seen.mean((0, 2, 3)))
    torch.testing.assert_close(found.buffers["1.running_var"], seen.var((0, 2, 3)))
    assert torch.equal(state.buffers["1.running_mean"], torch.full((6,), 3.0))
    assert found.buffers["1.num_batches_tracked"] == 1
    evaluator = Evaluator(spec, data)  # used again, it is as new
    again = [evaluator.recalibrate(state, inputs) for _ in range(2)]
    for name, value in found.buffers.items():
        assert all(torch.equal(a.buffers[name], value) for a in again), name
    assert evaluator.has_norms and not evaluator.network.training
    rows = data.test_inputs, data.test_targets
    assert evaluator.measure(state, rows) == measure(spec, state, data, rows)
    plain = draw_state({**spec, "_target_": "tests.toys.mlp"}, 0)
    without = Evaluator({**spec, "_target_": "tests.toys.mlp"}, data)
    assert without.recalibrate(plain, inputs) is plain and not without.has_norms


@pytest.mark.parametrize("anew", [False, True], ids=["interpolated", "recalibrated"])
def test_a_network_has_no_barrier_to_itself(anew):
    """Whatever its running statistics are: far off, as early in training, or right."""
    spec = {"_target_": "tests.toys.norm_net", "input_shape": [1, 4, 4], "classes": 4}
    data, state = blobs(), draw_state(spec, 0)
    state.buffers["1.running_mean"].fill_(3.0)
    inputs = data.train_inputs[:100] if anew else None
    rows = data.test_inputs, data.test_targets
    found = path(spec, state, state, data, rows, alphas=7, calibrate_on=inputs)
    assert found.barrier == found.loss_barrier == 0
    assert len({*found.errors}) == len({*found.losses}) == 1
    if inputs is not None:
        recalibrated = Evaluator(spec, data).recalibrate(state, inputs)
        at = measure(spec, recalibrated, data, rows)
        assert found.losses[0] == at["loss"]
        assert 1 - found.errors[0] == pytest.approx(at["accuracy"])


def test_losses_are_the_studys_own(tmp_path):
    loss = {"_target_": "lth.recipe.loss.cross_entropy", "label_smoothing": 0.3}
    study = run_study(
        **SETTINGS | {"trials": 1, "levels": 1, "arms": {"winning_ticket": {}, "sgd_noise": {}},
                      "recipe": SETTINGS["recipe"] | {"loss": loss}},
        out=tmp_path,
    )  # fmt: skip
    points = [p for m in Analysis(study) for p in m.points if p.split == "test"]
    for entry, point in ((study.entry(level=1), points[0]), (study.entry(level=0), points[29])):
        measured = {m: v for step, s, m, v in entry.measured if s == "test" and step == 60}
        assert point.loss == pytest.approx(measured["loss"], rel=1e-5)
    assert [p.kind for p in points[:30]] == ["level"] * 30
    data, model = blobs(validation=40), study.entry().about["model"]
    ends = study.entry(level=1).final, study.entry().final
    rows = rows_of(data, "test", 0, 0)
    smooth = path(model, *ends, data, rows, loss=cross_entropy(0.3)).losses
    assert smooth == [p.loss for p in points[:30]] != path(model, *ends, data, rows).losses


def test_chance_overlap_is_what_random_masks_overlap():
    generator = torch.Generator().manual_seed(0)
    a, b = ({"x": torch.rand(3000, generator=generator) < d, "y": torch.rand(50, 40,
             generator=generator) < e} for d, e in ((0.3, 0.7), (0.2, 0.5)))  # fmt: skip
    assert masks.overlap(a, b) == pytest.approx(structure.chance_overlap(a, b), abs=0.02)
    assert structure.chance_overlap(mask([1, 1]), mask([1, 1])) == 1.0


def test_signs_and_distances_are_of_the_kept_weights_alone():
    before = {"w": torch.tensor([[1.0, -1.0, 2.0, 5.0]])}
    after = {"w": torch.tensor([[4.0, 3.0, 2.0, -5.0]])}
    kept = mask([1, 1, 1, 0])
    assert structure.sign_agreement(before, after, kept) == pytest.approx(2 / 3)
    assert structure.distance(before, after, kept) == {"w": 5.0, "": 5.0}


def test_movement_is_per_weight_and_growth_is_away_from_zero():
    before = {"w": torch.tensor([[1.0, -1.0, 2.0, 5.0]]), "v": torch.tensor([[1.0, 1.0]])}
    after = {"w": torch.tensor([[4.0, 3.0, 2.0, -5.0]]), "v": torch.tensor([[0.5, 3.0]])}
    kept = mask([1, 1, 0, 0]) | {"v": torch.tensor([[True, False]])}
    assert structure.movement(before, after, kept) == {"w": 3.5, "v": 0.5, "": 7.5 / 3}
    assert structure.growth(before, after, kept) == {"w": 2.5, "v": -0.5, "": 1.5}
    none = {"w": torch.zeros(1, 4, dtype=torch.bool), "v": torch.ones(1, 2, dtype=torch.bool)}
    assert structure.movement(before, after, none) == {"v": 1.25, "": 1.25}


def test_units_and_pixels_are_counted_by_hand():
    kept = mask([1, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0])
    into, out = structure.connections(kept)["w"]
    assert into.tolist() == [2, 0, 1] and out.tolist() == [2, 0, 0, 1]
    assert structure.dead_units(kept) == {"w": (1, 2)}
    assert structure.layer_density(kept) == {"w": 0.25}
    picture = structure.connections_per_pixel(kept, "w", (1, 2, 2))
    assert picture.tolist() == [[2, 0], [0, 1]]
    with pytest.raises(LthError, match="does not read pictures"):
        structure.connections_per_pixel(kept, "w", (1, 3, 2))
    conv = {"c": torch.zeros(2, 3, 2, 2, dtype=torch.bool)}
    conv["c"][0, 1] = True
    assert structure.dead_units(conv) == {"c": (1, 2)}


def test_units_of_grouped_and_transposed_convolutions_are_counted_by_what_reaches_them():
    """Every weight is traced by a network that holds ones where the mask keeps, else zeroes."""
    layers = {
        "plain": torch.nn.Conv2d(4, 6, 1, bias=False),
        "grouped": torch.nn.Conv2d(4, 6, 1, groups=2, bias=False),
        "up": torch.nn.ConvTranspose2d(4, 6, 1, bias=False),
        "up_grouped": torch.nn.ConvTranspose2d(4, 6, 1, groups=2, bias=False),
    }
    wirings = structure.wirings(torch.nn.ModuleDict(layers))
    assert wirings["up_grouped.weight"] == (2, True) and wirings["plain.weight"] == (1, False)
    generator = torch.Generator().manual_seed(3)
    for name, layer in layers.items():
        kept = torch.rand(layer.weight.shape, generator=generator) < 0.5
        layer.weight.data = kept.float()
        reach = torch.stack([layer(x)[:, 0, 0] for x in torch.eye(4).reshape(4, 4, 1, 1)])
        full = {f"{name}.weight": kept}
        into, out = structure.connections(full, wirings)[f"{name}.weight"]
        assert into.tolist() == reach.sum(0).tolist(), name
        assert out.tolist() == reach.sum(1).tolist(), name
    up = {"up.weight": torch.ones(4, 6, 1, 1, dtype=torch.bool)}
    up["up.weight"][0] = False
    assert structure.dead_units(up, wirings) == {"up.weight": (0, 1)}


def test_survivors_are_histogrammed_over_the_whole_layers_range():
    initial = {"w": torch.tensor([[-1.0, -0.5, 0.0, 0.6, 1.0]])}
    counts, edges = structure.survivors(initial, mask([1, 0, 0, 1, 1]), bins=4)["w"]
    assert counts.tolist() == [1, 0, 0, 2] and edges.tolist() == [-1, -0.5, 0, 0.5, 1]


def test_the_bootstrap_is_a_paired_percentile_interval():
    records, _ = made_up(trials=6)
    a, b = Cell(records[0].lr, WINNER, 3), Cell(records[0].lr, REINIT, 3)
    values = paired_values(records, a, b)
    found, again = bootstrap_interval(values), bootstrap_interval(values)
    assert found == again and found.n == 6
    assert found.mean == pytest.approx(np.mean(values))
    assert min(values) <= found.low <= found.mean <= found.high <= max(values)
    student = paired_difference(records, a, b)
    assert found.high - found.low < student.high - student.low


def test_the_verdict_on_matching_can_be_that_it_cannot_tell():
    assert is_matching(Interval(0.0, -0.001, 0.001, 5), tolerance=0.002) is True
    assert is_matching(Interval(-0.01, -0.02, -0.005, 5), tolerance=0.002) is False
    assert is_matching(Interval(0.0, -0.02, 0.02, 5), tolerance=0.002) is None


DENSE = (0.90, 0.92, 0.94)  # standard deviation 0.02


def judged(accuracies, dense=DENSE):
    records = [m for t, a in enumerate(dense) for m in record_of(t, WINNER, 0, a)]
    records += [m for t, a in enumerate(accuracies) for m in record_of(t, WINNER, 1, a)]
    return list(matching(records))


def test_matching_is_within_one_standard_deviation_by_students_interval():
    (found,) = judged((0.895, 0.92, 0.945))
    assert found[:7] == ("s", 0.1, WINNER, 1, 0.5, 3, 0)
    half = 4.302653 * 0.005 / 3**0.5  # t(2) at 97.5 %, differences -0.005, 0, 0.005
    assert [found.difference, found.student_low, found.student_high, found.tolerance] == (
        pytest.approx([0, -half, half, 0.02], abs=1e-7)
    )
    assert (found.bootstrap_low, found.bootstrap_high) == pytest.approx((-0.005, 0.005))
    assert found.verdict == "matches"
    assert judged((0.84, 0.87, 0.88))[0].verdict == "falls short"
    assert judged((0.88, 0.91, 0.93))[0].verdict == "undecided"  # -0.013, but -0.028 to 0.001


def test_matching_with_one_trial_or_with_trials_that_diverged():
    (one,) = judged((0.99,), dense=(0.90,))
    assert one.verdict == "undecided" and one.trials == 1
    assert one.student_high == one.bootstrap_high == float("inf")
    (some,) = judged((0.92, 0.94, None))
    assert (some.trials, some.diverged, some.verdict) == (2, 1, "undecided")
    assert judged((0.92, 0.94))[0].verdict == "undecided"  # the third's line ended above
    copies = [r._replace(copy=1) for r in record_of(2, REINIT, 1, None)]  # its sibling did not
    alike = [m for t, a in enumerate(DENSE) for arm, level in ((WINNER, 0), (REINIT, 1))
             for m in record_of(t, arm, level, a + level * t / 1000)]  # fmt: skip
    assert [m.verdict for m in matching(alike)] == ["matches"]
    assert [m.verdict for m in matching([*alike, *copies])] == ["undecided"]
    (none,) = judged((None, None, None))
    assert (none.trials, none.diverged, none.verdict) == (0, 3, "diverged")
    assert judged((0.9, 0.9, 0.9), dense=(None, None, None)) == []
    assert judged((), dense=DENSE) == []


def test_children_start_alike_and_see_other_batches(study):
    winner = study.entry(level=1)
    children = [study.entry(level=1, arm="sgd_noise", copy=c) for c in (0, 1)]
    for child in children:
        assert torch.equal(child.start.params["1.weight"], winner.start.params["1.weight"])
        assert not torch.equal(child.final.params["1.weight"], winner.final.params["1.weight"])
    weights = [c.final.params["1.weight"] for c in children]
    assert not torch.equal(*weights)
    dense = study.entry(level=1, arm="dense_child")
    assert dense.mask["1.weight"].all()
    assert torch.equal(
        dense.start.params["1.weight"], study.entry(level=0).start.params["1.weight"]
    )


def test_the_table_holds_every_measure_of_every_member(study, found):
    values, _, _ = found
    kept, first = (study.ticket(trial=t, level=2).mask for t in (1, 0))
    assert values[1, 0, WINNER, 2, "1.weight", "density"] == kept["1.weight"].float().mean()
    assert values[1, 0, WINNER, 2, "", "overlap_with_trial_0"] == masks.overlap(kept, first)
    assert (0, 0, WINNER, 2, "", "overlap_with_trial_0") not in values
    for measured in ("test_level_barrier", "train_level_barrier", "test_level_barrier_loss"):
        assert (0, 0, WINNER, 2, "", measured) in values
        assert (0, 0, WINNER, 0, "", measured) not in values
    assert (0, 0, "sgd_noise", 1, "", "test_instability") in values
    assert not [key for key in values if "recalibrated" in key[-1]]  # the network has no norms
    data, entry = blobs(validation=40), study.entry(level=1)
    untrained = measure(entry.about["model"], entry.start, data, rows_of(data, "test", 0, 0))
    assert values[0, 0, WINNER, 1, "", "untrained_test_accuracy"] == untrained["accuracy"]


def test_every_arm_is_overlaid_with_its_own_ticket(study, found):
    values, _, _ = found
    ticket, other = (study.entry(trial=1, level=2, arm=a).mask for a in (WINNER, "random_mask"))
    at = (1, 0, "random_mask", 2, "")
    assert values[*at, "overlap_with_ticket"] == masks.overlap(ticket, other) < 1
    chance = structure.chance_overlap(ticket, other)
    assert values[*at, "chance_overlap_with_ticket"] == chance
    assert values[1, 1, "sgd_noise", 2, "", "overlap_with_ticket"] == 1
    assert not [key for key in values if key[2] == WINNER and "with_ticket" in key[-1]]


def test_the_dense_network_moves_the_weights_that_will_be_kept_by_so_much(study, found):
    values, _, _ = found
    dense, kept = study.entry(trial=1), study.entry(trial=1, level=2).mask["3.weight"]
    moved = (dense.final.params["3.weight"] - dense.start.params["3.weight"]).abs()
    grown = dense.final.params["3.weight"].abs() - dense.start.params["3.weight"].abs()
    for which, where in (("kept", kept), ("pruned", ~kept)):
        at = (1, 0, WINNER, 2, "3.weight")
        assert values[*at, f"distance_of_{which}"] == pytest.approx(float(moved[where].mean()))
        assert values[*at, f"growth_of_{which}"] == pytest.approx(float(grown[where].mean()))
    assert (1, 0, WINNER, 0, "", "distance_of_kept") not in values


def test_a_mask_that_training_changed_counts_as_it_ended(study):
    entry = study.entry(trial=1, level=2)
    analysis = Analysis(study)
    place, member = MemberId(1, LR, WINNER, 2, 0), read(entry)
    name, ended = "1.weight", {n: m.clone() for n, m in entry.mask.items()}
    ended[name][:] = False
    ended[name][0, 0] = True
    changed = Member(member.model, member.mask, ended, member.start, member.final)
    evaluator = Evaluator(member.model, analysis.dataset)
    rows = {m[:2]: m[2] for m in analysis._structure(place, changed, evaluator)}
    assert rows[name, "density"] == 1 / ended[name].numel()
    assert rows[name, "dead_units"] == 9
    assert rows["", "overlap_with_trial_0"] < masks.overlap(entry.mask, study.entry(level=2).mask)
    kept = masks.intersect(entry.mask, ended)
    rows = {m[:2]: m[2] for m in analysis._training(place, changed, evaluator)}
    before, after = member.start.params, member.final.params
    assert rows[name, "distance"] == structure.distance(before, after, kept)[name]


def test_every_line_is_a_table_of_points(study, found):
    values, points, _ = found
    child = [p for p in points if (p.trial, p.arm, p.level, p.copy) == (1, "sgd_noise", 2, 1)]
    assert {p.to for p in child} == {WINNER, "sgd_noise 0"}
    line = [p for p in child if (p.to, p.split) == ("sgd_noise 0", "test")]
    assert [p.alpha for p in line] == [i / 29 for i in range(30)]
    assert {(p.kind, p.norms) for p in points} == {("instability", ""), ("level", "")}
    for end, copy in ((line[0], 1), (line[-1], 0)):
        entry = study.entry(trial=1, level=2, arm="sgd_noise", copy=copy)
        measured = {m: v for step, s, m, v in entry.measured if s == "test" and step == 60}
        assert end.error == 1 - measured["accuracy"]
        assert end.loss == pytest.approx(measured["loss"], rel=1e-5)
    rise = max(p.error for p in line) - (line[0].error + line[-1].error) / 2
    assert values[1, 1, "sgd_noise", 2, "", "test_instability"] == pytest.approx(rise)
    levels = {(p.level, p.to) for p in points if p.kind == "level"}
    assert levels == {(1, "level 0"), (2, "level 1")}
    assert {p.to for p in points if p.arm == "dense_child"} == {"dense_child 0"}


def test_norms_are_measured_with_and_without_recalibration(tmp_path):
    study = run_study(
        **SETTINGS | {"model": partial(norm_net), "trials": 1, "levels": 1, "arms":
                      {"winning_ticket": {}, "sgd_noise": {}}},
        out=tmp_path,
    )  # fmt: skip
    found = list(Analysis(study))
    values = {r.measure: r.value for m in found for r in m.rows if r.arm == "sgd_noise"}
    data = blobs(validation=40)
    child, winner = (study.entry(level=1, arm=a) for a in ("sgd_noise", WINNER))
    test, train = (rows_of(data, split, 0, 0) for split in ("test", "train"))
    ends = child.about["model"], child.final, winner.final, data, test
    for name, calibrate_on in (("", None), ("_recalibrated", train[0][: len(test[0])])):
        expected = path(*ends, calibrate_on=calibrate_on)
        assert values[f"test_instability{name}"] == expected.barrier
        assert values[f"test_instability_loss{name}"] == expected.loss_barrier
    points = [p for m in found for p in m.points if (p.arm, p.split) == ("sgd_noise", "test")]
    plain, anew = (
        [p.loss for p in points if p.norms == n] for n in ("interpolated", "recalibrated")
    )
    assert plain == path(*ends).losses
    assert len(plain) == len(anew) == 30
    assert all(a != b for a, b in zip(plain, anew, strict=True))  # the ends too


def test_threads_find_the_same(study, found):
    _, points, rows = found
    again = list(Analysis(study, threads=3))
    assert [r for m in again for r in m.rows] == rows
    assert [p for m in again for p in m.points] == points
    assert torch.get_num_threads() == 1


def test_members_are_read_once_while_there_is_room(study, monkeypatch):
    monkeypatch.setattr(members_module, "ROOM", 1)
    asked, entry = [], study.entry

    class Counted:
        members = study.members

        def entry(self, **place):
            asked.append(place)
            return entry(**place)

    members = Members(Counted())
    first, second = (MemberId(0, LR, WINNER, n, 0) for n in (0, 1))
    assert members[first] is members[first] and len(asked) == 1
    assert members[second] is members[second] and len(asked) == 2
    assert members[first].final is not None and len(asked) == 3
    assert members.get(first._replace(level=7)) is None


def test_of_an_arm_that_trains_in_phases_the_last_is_looked_at():
    first, last = (MemberId(0, LR, WINNER, 1, 0, n) for n in (0, 2))
    members = Members(type("Phases", (), {"members": dict.fromkeys((last, first))})())
    assert members.places == [last] and members.get(first._replace(level=2)) is None


def test_the_level_above_is_the_one_that_was_trained_last():
    def place(level, arm=WINNER):
        return MemberId(0, LR, arm, level, 0)

    members = Members(type("Chain", (), {"members": dict.fromkeys(map(place, (13, 0, 7)))})())
    assert members.above(place(13)) == place(7) and members.above(place(0)) is None
    assert members.above(place(13, "sgd_noise")) == place(7)
    assert list(neighbours(place(7), members)) == [("level", "level 0", place(0))]


def test_no_line_is_drawn_to_a_network_that_diverged_or_is_missing(study):
    place = MemberId(0, LR, "sgd_noise", 1, 1)  # its line to the ticket, and to its sibling
    members, data = Members(study), blobs(validation=40)
    member = members[place]
    splits = {s: rows_of(data, s, 0, 0) for s in ("test", "train")}
    evaluator = Evaluator(member.model, data)

    def drawn():
        return [x.to for x in lines(place, member, members, evaluator, splits) if x.split == "test"]

    assert drawn() == [WINNER, "sgd_noise 0"]
    winner, read_from = place._replace(arm=WINNER, copy=0), members._read
    gone = replace(members[winner], final=None)
    members._read = lambda at: gone if at == winner else read_from(at)
    assert drawn() == ["sgd_noise 0"]
    members._last = {winner[:5]: winner}
    assert drawn() == []


def test_measures_are_named_by_split_kind_and_norms():
    flat = Path([0, 1], [0.1, 0.1], [1, 1])
    assert list(Line("level", "level 3", "", "test", flat).measures()) == [
        ("test_level_barrier", 0), ("test_level_barrier_loss", 0)
    ]  # fmt: skip
    names = [n for n, _ in Line("instability", WINNER, "recalibrated", "train", flat).measures()]
    assert names == ["train_instability_recalibrated", "train_instability_loss_recalibrated"]


def test_the_tickets_drawn_are_spread_over_the_densities(study):
    assert spread_out({n: 0.8**n for n in range(16)}) == [0, 4, 8, 11, 15]
    assert spread_out({3: 0.1, 1: 0.9}) == [1, 3]
    found = tickets(Analysis(study))
    assert [round(d.density, 3) for d in found.drawn] == [
        round(study.ticket(level=n).density, 3) for n in (1, 2)
    ]
    assert (found.trial, found.lr, found.pixels) == (0, LR, "1.weight")
    assert torch.equal(found.initial["1.weight"], study.entry().start.params["1.weight"])
    shapes = {"a": (5, 16), "b": (16, 16)}
    kept = {n: torch.ones(s) for n, s in shapes.items()}
    assert reads_pictures(shapes, kept, (1, 4, 4)) == "a"
    assert reads_pictures(shapes, {"b": kept["b"]}, (1, 4, 4)) is None
    assert reads_pictures({"a": (5, 16, 3, 3)}, kept, (16, 1, 1)) is None
    assert reads_pictures(shapes, kept, (16,)) is None


def test_the_summary_gives_the_runs_verdict_and_names_the_worst_instability():
    records = [m for t, a in enumerate(DENSE) for m in record_of(t, WINNER, 0, a)]
    records += [m for t, a in enumerate(DENSE) for m in record_of(t, WINNER, 1, a + t / 1000)]
    rows = [
        Row("s", trial, 0, 0.1, "sgd_noise", level, 0.5**level, "", "test_instability", value)
        for trial, level, value in ((0, 1, 0.01), (1, 1, 0.02), (0, 2, 0.03), (1, 2, 0.01))
    ]
    assert summary(rows, records) == [
        *verdict(records),
        "sgd_noise: test_instability at most 2.00 points, at 25 %, over 2 pairs: not stable "
        "(below 2)",
    ]
    assert verdict(records)[0].startswith("tickets match the dense network down to 50 %")


def test_the_action_writes_the_tables_and_the_figures(study, out, capsys):
    from rich.console import Console

    setup = prepare(compose(**SETTINGS, out=out, action="analyse"))
    ACTIONS["analyse"](setup, Display(Console()))
    said = capsys.readouterr().out.replace("\n", "")
    headers = {"analysis": Row, "matching": Match, "paths": Point}
    for name, row in headers.items():
        assert f"{name}.csv" in said
        with open(study.folder / f"{name}.csv") as file:
            table = list(csv.DictReader(file))
        assert tuple(table[0]) == row._fields and table[0]["study"] == study.id
    assert said.endswith(f"trained 0 members, reused {len(study.members)}")
    drawn = {"analysis", "connectivity", "layers", "connections", "survivors"}
    assert {p.stem for p in (study.folder / "figures").glob("*.png")} >= drawn
