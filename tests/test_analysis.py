"""Analysis: by hand on small things, and over a whole study."""

import csv
from functools import partial

import numpy as np
import pytest
import torch

import lth
from lth import LthError, masks
from lth.analysis import structure
from lth.analysis.connectivity import Path, interpolate, mean_path, path
from lth.analysis.evaluate import measure, recalibrate, rows_of
from lth.analysis.matching import bootstrap, is_matching
from lth.analysis.table import Analysis
from lth.config import compose
from lth.progress import Display
from lth.report import ACTIONS
from lth.setup import prepare
from lth.statistics import Cell, Interval, paired_difference, paired_values
from lth.ticket import State, draw_state
from tests.conftest import blobs
from tests.synthetic import REINIT, WINNER
from tests.synthetic import study as made_up
from tests.toys import mlp

SETTINGS = {
    "data": partial(blobs, validation=40), "model": partial(mlp, width=10), "logger": "none",
    "recipe": {"steps": 60, "batch": 20, "lr": 0.02, "eval_every": 20}, "trials": 2, "levels": 2,
    "trainer": {"workers": 0, "device": "cpu"}, "name": "toy",
    "arms": {"winning_ticket": {}, "sgd_noise": {"copies": 2}, "dense_child": {}},
}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return str(tmp_path_factory.mktemp("analysis"))


@pytest.fixture(scope="module")
def study(out):
    return lth.run(**SETTINGS, out=out, progress=False)


def mask(*rows):
    return {"w": torch.tensor(rows, dtype=torch.bool)}


def test_the_barrier_is_the_highest_error_over_the_mean_of_the_ends():
    found = Path([0, 0.5, 1], [0.1, 0.4, 0.2], [0, 0, 0])
    assert found.barrier == pytest.approx(0.25)
    other = Path([0, 0.5, 1], [0.3, 0.2, 0.2], [1, 1, 1])
    assert mean_path([found, other]).errors == pytest.approx([0.2, 0.3, 0.2])
    assert mean_path([found, other]).losses == pytest.approx([0.5, 0.5, 0.5])


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
        assert found == (pytest.approx(values["loss"], rel=1e-5), values["accuracy"])


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
    found = recalibrate(spec, state, data, inputs)
    seen = torch.nn.functional.conv2d(
        data.prepare(inputs), state.params["0.weight"], padding=1
    )  # fmt: skip
    torch.testing.assert_close(found.buffers["1.running_mean"], seen.mean((0, 2, 3)))
    torch.testing.assert_close(found.buffers["1.running_var"], seen.var((0, 2, 3)))
    assert torch.equal(state.buffers["1.running_mean"], torch.zeros(6))
    plain = draw_state({**spec, "_target_": "tests.toys.mlp"}, 0)
    assert recalibrate({**spec, "_target_": "tests.toys.mlp"}, plain, data, inputs) is plain


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


def test_survivors_are_histogrammed_over_the_whole_layers_range():
    initial = {"w": torch.tensor([[-1.0, -0.5, 0.0, 0.6, 1.0]])}
    counts, edges = structure.survivors(initial, mask([1, 0, 0, 1, 1]), bins=4)["w"]
    assert counts.tolist() == [1, 0, 0, 2] and edges.tolist() == [-1, -0.5, 0, 0.5, 1]


def test_the_bootstrap_is_a_paired_percentile_interval():
    records, _ = made_up(trials=6)
    a, b = Cell(records[0].lr, WINNER, 3), Cell(records[0].lr, REINIT, 3)
    values = paired_values(records, a, b)
    found, again = bootstrap(records, a, b), bootstrap(records, a, b)
    assert found == again and found.n == 6
    assert found.mean == pytest.approx(np.mean(values))
    assert min(values) <= found.low <= found.mean <= found.high <= max(values)
    student = paired_difference(records, a, b)
    assert found.high - found.low < student.high - student.low


def test_the_verdict_on_matching_can_be_that_it_cannot_tell():
    assert is_matching(Interval(0.0, -0.001, 0.001, 5), tolerance=0.002) is True
    assert is_matching(Interval(-0.01, -0.02, -0.005, 5), tolerance=0.002) is False
    assert is_matching(Interval(0.0, -0.02, 0.02, 5), tolerance=0.002) is None


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


def test_the_table_holds_every_measure_of_every_member(study):
    rows = [r for found in Analysis(study).rows() for r in found]
    found = {(r.trial, r.copy, r.arm, r.level, r.layer, r.measure): r.value for r in rows}
    kept = study.ticket(trial=1, level=2).mask
    assert found[1, 0, WINNER, 2, "1.weight", "density"] == kept["1.weight"].float().mean()
    first = study.ticket(trial=0, level=2).mask
    assert found[1, 0, WINNER, 2, "", "overlap_with_trial_0"] == masks.overlap(kept, first)
    assert (0, 0, WINNER, 2, "", "overlap_with_trial_0") not in found
    for measured in ("test_level_barrier", "train_level_barrier"):
        assert (0, 0, WINNER, 2, "", measured) in found
        assert (0, 0, WINNER, 0, "", measured) not in found
    assert (0, 0, "sgd_noise", 1, "", "test_instability") in found
    data, entry = blobs(validation=40), study.entry(level=1)
    untrained = measure(entry.about["model"], entry.start, data, rows_of(data, "test", 0, 0))[1]
    assert found[0, 0, WINNER, 1, "", "untrained_test_accuracy"] == untrained


def test_the_action_writes_the_table_and_the_figure(study, out, capsys):
    from rich.console import Console

    setup = prepare(compose(**SETTINGS, out=out, action="analyse"))
    ACTIONS["analyse"](setup, Display(Console()))
    said = capsys.readouterr().out
    assert "analysis.csv" in said.replace("\n", "")
    assert said.rstrip().endswith(f"trained 0 members, reused {len(study.members)}")
    with open(study.folder / "analysis.csv") as file:
        assert {row["measure"] for row in csv.DictReader(file)} >= {"sign_agreement", "distance"}
    assert (study.folder / "figures" / "analysis.png").stat().st_size > 10_000
