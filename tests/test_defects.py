"""Defects of prior systems, each as a test of what we do instead.

OpenLTH, by number:
  1 output layer not swapped   test_openlth_1_...
  2 options crash by command   test_openlth_2_...
  3 'even' random pruning      test_openlth_3_...
  4 masks off on many GPUs     test_openlth_4_... (two tests)
  5 mask outside the graph     test_openlth_5_... (two tests)
  6 n+1, ties, rate 1, ignored test_openlth_6_... (four tests)
  7 no seed of initialisation  test_openlth_7_...
  8 level 0 is another run     test_openlth_8_...
  9 resume, writes not atomic  test_openlth_9_... (three tests)
 10 storage                    test_openlth_10_...
 11 dense run trained again    test_openlth_11_... (two tests)
 12 provenance                 test_openlth_12_... (two tests)
 13 test set chooses           test_openlth_13_... (two tests)
 14 no loggers, no analyses    does not apply: missing features, and removed numpy names
Others:
  google LTH                   n+1: test_openlth_6; signs: test_google_lth_same_sign_...; settings
                               unlike the paper's: test_google_lth_preset_...; a folder that only
                               README knows: tests/test_readme.py; no resume: test_openlth_9
  tutorial (rahulvigneswaran)  test_tutorial_... (seven tests); best on test: test_openlth_13;
                               --resume unused: test_openlth_9; tickets of a CNN: a result;
                               a numpy round trip a step: speed, see benchmarks/
  TurboPrune                   test_turboprune_... (seven tests); nothing reused: test_openlth_11;
                               no tests, no controls: missing features; CUDA hard coded: every test
                               here runs on a CPU
  lth_diet                     masks in the forward pass: test_openlth_5; its services are gone
  lecode-official              missing features; abort gracefully: test_shrinkbench_ctrl_c_...
  jaxpruner                    untested calls an argument short: test_openlth_3, tests/test_conf.py;
                               moments of regrown weights: tests/test_dynamic.py
  shrinkbench                  test_shrinkbench_... (four tests); best on test: test_openlth_13;
                               one-shot only, removed pandas names: do not apply
  Torch-Pruning                test_torch_pruning_... (two tests); structural pruning: not here
  SynFlow                      test_synflow_... (eight tests)
  deconstructing (Zhou)        no defect is known; its criteria: tests/test_score.py
  rethinking (Liu)             test_rethinking_... (two tests)
Complaints:
  negative weights, momentum   test_tutorial_negative_weights_train, test_openlth_5
  DDP ranks with other masks   does not apply: one process trains a member
  lost masks argument          test_coursia_...
  resume without masks         test_openlth_9_a_stopped_...; reload: test_torch_pruning_428_...
  mask copies per hook         does not apply: no hooks; hooks and compile: test_pytorch_117758_...
  Lightning's ModelPruning     test_lightning_13643_..., test_lightning_8542_...
  schedule after rewinding     test_turboprune_schedule_...
  SNIP scores another network  test_snip_3_...
  workers on Windows           test_openlth_issue_9_...
  speed of pruned models, LLMs do not apply
"""

import ast
import builtins
import math
import pickle
import signal
import sys
import warnings
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn
from torch.func import functional_call

import lth
from lth import cli, config, imp
from lth.arms import random_mask
from lth.data import tensors
from lth.files import write_atomic
from lth.networks import masks
from lth.networks.layers import Layers, describe
from lth.networks.ticket import draw_model, draw_state, layers_of, network_of
from lth.pruning.probe import Probe
from lth.pruning.rules import drop_lowest, globally, kept_by_level, layerwise
from lth.pruning.score import magnitude, synflow
from lth.pruning.search import at_init
from lth.recipe.loss import cross_entropy
from lth.recipe.recipe import Recipe
from lth.spec.build import build
from lth.store.store import Store
from lth.store.study import Study
from lth.streams import stream, stream_seed
from lth.study import actions as report
from lth.study.plan import plan
from lth.study.progress import Display
from lth.study.run import execute
from lth.train.batches import Batches
from lth.train.engine import SequentialEngine
from lth.train.job import Streams
from lth.train.key import member_key
from lth.train.work import Stopped, one_thread, work
from tests import toys
from tests.toys import ToyTurn, blobs, fewer, mlp, norm_net

MLP = {"_target_": "tests.toys.mlp", "input_shape": [1, 4, 4], "classes": 4, "width": 12}
NORM = {"_target_": "tests.toys.norm_net", "input_shape": [1, 4, 4], "classes": 4}
DROPOUT = {"_target_": "tests.toys.dropout_net", "input_shape": [1, 4, 4], "classes": 4}
DATA = {"_target_": "tests.toys.blobs", "validation": 40}
LATE = {"rewind": {"_target_": "lth.pruning.rewind.to_step", "step": 5}}
SETTINGS = toys.SETTINGS | LATE


def setup_of(root, **changes):
    return toys.setup_of(**{"out": root / "out"} | LATE | changes)


def study_of(root, **changes):
    return toys.run_study(**{"out": root / "out"} | LATE | changes)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A study of two trials and two levels that no test may change."""
    return study_of(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The command, up to the study made ready."""

    def call(*arguments):
        seen = []
        monkeypatch.setitem(report.ACTIONS, "run", lambda setup, display: seen.append(setup))
        monkeypatch.setattr(sys, "argv", ["lth", "logger=none", "trainer.device=cpu", *arguments])
        cli.main()
        return seen[0]

    monkeypatch.chdir(tmp_path)
    return call


def recipe(**changes):
    return toys.recipe(**{"steps": 20} | changes)


def member(model=MLP, trial=0, density=0.5, **changes):
    """A job with a random mask."""
    return toys.job(model, trial, density, **{"recipe": recipe()} | changes)


def train(jobs, root, data=None, **options):
    make = lambda group, dataset: SequentialEngine(group[0], dataset)  # noqa: E731
    report_to = options.pop("report", lambda *_: None)
    with one_thread():
        work([[j] for j in jobs], data or blobs(), Store(root), make, report_to, **options)
    return [Store(root).get(j.key) for j in jobs]


def same(a, b):
    return list(a) == list(b) and all(torch.equal(a[n], t) for n, t in b.items())


def inputs(data=None):
    data = data or blobs()
    return data.prepare(data.test_inputs)


def ticket(density=0.4, model=MLP):
    return member(model, density=density).ticket


# --- OpenLTH ------------------------------------------------------------------------------------


def test_openlth_1_transfer_swaps_the_output_layer_for_one_of_the_new_classes(tmp_path):
    source = study_of(tmp_path, data=partial(fewer, classes=2), levels=1, trials=1)
    search = {"_target_": "lth.pruning.transfer.transferred", "study": str(source.folder)}
    moved = study_of(tmp_path, search=search, levels=1, trials=1)
    theirs, ours = source.ticket(level=1), moved.ticket(level=1)
    assert theirs.params["3.weight"].shape == theirs.mask["3.weight"].shape == (2, 10)
    assert ours.params["3.weight"].shape == ours.mask["3.weight"].shape == (4, 10)
    assert torch.equal(ours.mask["1.weight"], theirs.mask["1.weight"])
    answers = network_of(ours.model, moved.trained(level=1))(inputs()).argmax(1)
    assert ours.model["classes"] == 4 and answers.max() > 1  # what the old head cannot say


OPTIONS = {
    "random_labels share": ("mnist_random_labels", "data.share=0.5", lambda d: (
        0.2 < (d.train_targets != blobs().train_targets).float().mean() < 0.6)),
    "random_labels seed": ("mnist_random_labels", "data.seed=3", lambda d: not torch.equal(
        d.train_targets, lth.data.random_labels(blobs()).train_targets)),
    "subset images": ("mnist_subset", "data.images=100", lambda d: len(d.train_targets) == 100),
    "subset seed": ("mnist_subset", "data.seed=3", lambda d: not torch.equal(
        d.train_inputs, lth.data.subset(blobs(), 150).train_inputs)),
}  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
def test_openlth_2_every_option_of_the_data_arrives_by_the_command(option, command):
    # its blur crashed by the command only: its tests called the function
    name, override, holds = OPTIONS[option]
    inner = ["data.of._target_=tests.toys.blobs", "data.of.validation=40"]
    size = ["data.images=150"] if "images" not in override and "subset" in name else []
    dataset = command(f"data={name}", *inner, *size, override).dataset
    assert holds(dataset) and torch.equal(dataset.test_targets, blobs().test_targets)


@pytest.mark.parametrize("counts", ["uniform", "erk", "global"])
def test_openlth_3_random_masks_by_counts_run_and_mean_density(counts):
    spec = config.load("arms", f"random_mask_{counts}")[f"random_mask_{counts}"]
    winner = ticket(density=0.1)
    mask = build({k: v for k, v in spec.items() if k != "copies"})(winner, stream("x")).mask
    kept, wanted = masks.kept(mask), masks.kept(winner.mask)
    assert sum(kept.values()) == sum(wanted.values()) < 0.2 * 240
    if counts == "uniform":
        share = sum(wanted.values()) / 240
        assert all(abs(k - share * mask[n].numel()) <= 1 for n, k in kept.items())


class Replica(nn.Module):
    """Like a replica of DataParallel: it shows no parameters while it runs."""

    def __init__(self, input_shape, classes):
        super().__init__()
        self.inner = mlp(input_shape, classes)
        self.running = False

    def named_parameters(self, *args, **kwargs):
        return iter(()) if self.running else super().named_parameters(*args, **kwargs)

    def forward(self, given):
        self.running = True
        try:
            assert not list(self.named_parameters())  # where OpenLTH looks for what to mask
            return self.inner(given)
        finally:
            self.running = False


def test_openlth_4_masks_hold_for_a_module_that_hides_its_parameters():
    job = member({"_target_": "tests.test_defects.Replica", "input_shape": [1, 4, 4], "classes": 4})
    engine = SequentialEngine(job, blobs())
    engine.advance(0, 5, Tensor.backward)
    for name, mask in job.ticket.mask.items():
        leaf = engine.network.leaves[name]
        assert not leaf[~mask].any() and not torch.equal(leaf, job.ticket.start.params[name])


def test_openlth_4_several_devices_are_refused_rather_than_trained_unmasked(tmp_path):
    with pytest.raises(lth.LthError, match=r"trainer\.devices=2"):
        setup_of(tmp_path, trainer={"devices": 2})


def openlths_way(job, steps):
    """Mask the data of the weights in every forward pass, as OpenLTH does."""
    data, model = blobs(), draw_model(job.ticket.model, 0)
    leaves = {n: nn.Parameter(p.clone()) for n, p in job.ticket.start.params.items()}
    arguments = {k: v for k, v in job.recipe.optimizer.items() if k != "_target_"}
    optimizer = torch.optim.SGD(leaves.values(), lr=job.lr, **arguments)
    for rows in Batches(data, job.streams, job.recipe.batch).indices(0, steps):
        for name, mask in job.ticket.mask.items():
            leaves[name].data *= mask
        logits = functional_call(model, leaves, (data.prepare(data.train_inputs[rows]),))
        optimizer.zero_grad()
        F.cross_entropy(logits, data.train_targets[rows]).backward()
        optimizer.step()
    return leaves, optimizer


@pytest.mark.parametrize("name", ["momentum", "nesterov", "adam", "adamw"])
def test_openlth_5_no_gradient_moment_or_decay_of_a_pruned_weight(name):
    optimizer = config.load("recipe/optimizer", name) | {"weight_decay": 0.1}
    job = member(recipe=recipe(optimizer=optimizer))
    engine, norms = SequentialEngine(job, blobs()), []

    def watch(*_):
        grads = {n: engine.network.leaves[n].grad for n in job.ticket.mask}
        norms.append(max(float(g[~job.ticket.mask[n]].abs().max()) for n, g in grads.items()))

    engine.optimizer.register_step_pre_hook(watch)
    engine.advance(0, 5, Tensor.backward)  # and no evaluation, which OpenLTH needs to mask again
    for weight, mask in job.ticket.mask.items():
        leaf = engine.network.leaves[weight]
        assert not leaf[~mask].any() and leaf[mask].any()
        for slot, value in engine.optimizer.state[leaf].items():
            assert value.ndim == 0 or not value[~mask].any(), slot
    assert norms == [0.0] * 5


def test_openlth_5_its_own_way_fails_the_test_above():
    optimizer = config.load("recipe/optimizer", "momentum")
    job = member(recipe=recipe(optimizer=optimizer))
    leaves, theirs = openlths_way(job, 5)
    gone = ~job.ticket.mask["1.weight"]
    assert leaves["1.weight"][gone].any() and leaves["1.weight"].grad[gone].any()
    assert theirs.state[leaves["1.weight"]]["momentum_buffer"][gone].any()


def above_threshold(scores, rate):
    """OpenLTH's rule: keep what is above the n-th smallest."""
    return scores > scores.sort().values[round(rate * len(scores))]


def pruned(rule, scores):
    layers = Layers({"w": tuple(scores.shape), "last": (1,)}, frozenset(), "last")
    mask = {"w": torch.ones(scores.shape, dtype=torch.bool)}
    return int((~rule({"w": scores}, mask, layers)["w"]).sum())


@pytest.mark.parametrize("rule", [layerwise(0.2), globally(0.2)], ids=["layerwise", "globally"])
def test_openlth_6_exactly_round_of_the_rate_goes(rule):
    scores = torch.rand(100, generator=stream("x"))
    assert pruned(rule, scores) == 20
    assert int((~above_threshold(scores, 0.2)).sum()) == 21


@pytest.mark.parametrize("rule", [layerwise(0.2), globally(0.2)], ids=["layerwise", "globally"])
def test_openlth_6_ties_at_the_threshold_do_not_all_go(rule):
    scores = torch.tensor([1.0, 2.0] * 50)  # its 'binary' init: one magnitude per layer
    assert pruned(rule, scores) == 20
    assert int((~above_threshold(scores, 0.2)).sum()) == 50


def test_openlth_6_a_rate_of_1_is_refused_in_one_line():
    with pytest.raises(IndexError):
        above_threshold(torch.rand(10), 1.0)
    for rule in (layerwise, globally):
        with pytest.raises(lth.LthError, match=r"prune\.rate=1\.0"):
            rule(1.0)


@pytest.mark.parametrize(
    "rule", [globally(0.2, spare=["output"]), layerwise(0.2, output_rate=0.0)], ids=["g", "l"]
)
def test_openlth_6_spared_layers_do_not_count_in_what_is_pruned(rule):
    layers = layers_of(MLP)  # 16 x 12 and 12 x 4 weights
    mask = masks.full(layers, rule.prunable(layers))
    kept = rule({"1.weight": torch.rand(12, 16)}, mask, layers)
    assert masks.kept(kept) == {"1.weight": 192 - 38}
    assert kept_by_level(rule, layers, 1) == [240, 240 - 38]  # not 20 % of all 240: 48
    assert masks.density(kept, layers) == 202 / 240


def test_openlth_7_a_trial_is_drawn_from_its_names_alone(tmp_path):
    found = []
    for trials, noise in ((1, 3), (3, 4)):
        torch.manual_seed(noise)
        parts = setup_of(tmp_path, trials=trials).parts
        torch.rand(noise)
        found.append([imp.dense(parts, line).params for line in parts.lines])
    assert same(found[0][0], found[1][0])
    assert same(found[0][0], draw_state(parts.model, stream_seed("init", 0, 0)).params)
    weights = [params["1.weight"] for params in found[1]]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])
    orders = [Batches(blobs(), Streams(0, 0, 0), 16).indices(0, 9) for _ in range(2)]
    assert torch.equal(*orders)


def test_openlth_8_level_0_is_the_run_that_the_rewinding_point_comes_from(toy):
    entry = toy.entry(trial=1, level=0)
    job = toys.job_of(
        toy.ticket(trial=1, level=0), 1, recipe=Recipe(**toy.config["recipe"]), lr=0.02
    )
    engine = SequentialEngine(job, blobs())
    engine.advance(0, 5, Tensor.backward)
    assert same(engine.state(0).params, entry.at(5).params)
    engine.advance(5, 20, Tensor.backward)  # the same optimizer, momentum and data order go on
    assert same(engine.state(0).params, entry.final.params)
    start = toy.ticket(trial=1, level=2)
    assert same(start.start.params, masks.apply(entry.at(5).params, start.mask))
    assert same(start.params, entry.at(5).params)  # beneath the mask too


def test_openlth_9_a_truncated_model_file_is_not_taken_for_done(tmp_path):
    changes = {"levels": 0, "trials": 1}
    study = study_of(tmp_path, **changes)
    path = study.entry().folder / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="is damaged; its member is trained again"):
        found = plan(setup_of(tmp_path, **changes))
    assert found.to_train.total() == 1 and found.stored.total() == 0


def test_openlth_9_a_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path, monkeypatch):
    write_atomic(tmp_path / "file", b"old")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lth.files.os.fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_openlth_9_a_stopped_member_goes_on_from_its_step_masked_and_bit_for_bit(tmp_path):
    job = member(DROPOUT)  # it draws random numbers in every step
    (whole,) = train([job], tmp_path / "whole")
    with pytest.raises(Stopped):
        train([job], tmp_path / "cut", stop=lambda: True)
    steps = []
    (resumed,) = train([job], tmp_path / "cut", report=lambda _, step, done: steps.append(step))
    assert steps == [20]  # not from the start again: the first 10 were kept
    assert same(resumed.final.params, whole.final.params) and resumed.curve == whole.curve
    assert all(not resumed.final.params[n][~m].any() for n, m in job.ticket.mask.items())


def test_openlth_10_a_mask_takes_a_bit_a_weight_and_a_pruned_weight_nothing(tmp_path):
    mask = {"w": torch.rand(1000, 100, generator=stream("x")) < 0.02}
    masks.save_mask(tmp_path / "mask", mask)
    assert (tmp_path / "mask").stat().st_size < 100_000 / 8 + 500
    job = member(density=0.05)
    with pytest.raises(Stopped):
        train([job], tmp_path / "store", stop=lambda: True)
    assert list((tmp_path / "store" / "partial").iterdir())
    (entry,) = train([job], tmp_path / "store")
    names = {p.name for p in (tmp_path / "store").rglob("*") if p.is_file()}
    assert names == {"entry.json", "tensors.safetensors"}  # no checkpoint stays behind
    floats = 2 * sum(int(m.sum()) for m in job.ticket.mask.values()) + 2 * 16  # start, end; biases
    assert (entry.folder / "tensors.safetensors").stat().st_size < 4 * floats + 240 / 8 + 1200


CHANGES = {
    "rate": {"prune": {"rate": 0.3}},
    "rule": {"prune": "globally"},
    "score": {"score": "random"},
    "search": {"search": "one_shot"},
    "rewinding": {"rewind": {"_target_": "lth.pruning.rewind.to_init"}},
    "rewinding step": {"rewind": {"_target_": "lth.pruning.rewind.to_step", "step": 7}},
    "fine-tuning": {"rewind": {"_target_": "lth.pruning.rewind.fine_tune", "length": 5}},
    "arms": {"arms": ["random_mask", "noise"]},
    "levels": {"levels": [3]},
    "name": {"name": "other"},
}


@pytest.fixture(scope="module")
def dense_only(tmp_path_factory):
    root = tmp_path_factory.mktemp("dense")
    study_of(root, levels=0, trials=1)
    return root


@pytest.mark.parametrize("change", CHANGES)
def test_openlth_11_another_strategy_does_not_train_the_dense_run_again(change, dense_only):
    found = plan(setup_of(dense_only, **{"trials": 1, "levels": 1} | CHANGES[change]))
    assert found.stored == Counter(winning_ticket=1)


def test_openlth_11_what_does_change_the_dense_run_does(dense_only):
    for change in ({"seed": 1}, {"recipe": SETTINGS["recipe"] | {"lr": 0.03}}):
        found = plan(setup_of(dense_only, **{"trials": 1, "levels": 1} | change))
        assert found.stored == Counter()


def test_openlth_12_provenance_has_commit_versions_command_and_falsy_values(toy):
    found = toy.provenance
    assert found["versions"]["torch"] == torch.__version__ and found["versions"]["lth"]
    assert len(found["commit"] or "0" * 40) >= 40 and found["command"] and found["machine"]["cpu"]
    assert found["config"]["seed"] == 0 and found["config"]["prune"]["conv_rate"] is None
    assert toy.config["recipe"]["optimizer"]["weight_decay"] == 0.0
    assert toy.config["recipe"]["optimizer"]["amsgrad"] is False
    assert lth.study.setup.prepare(found["config"]).id == toy.id


def test_openlth_12_every_member_keeps_its_mask(toy):
    arms = {(p.arm, p.level) for p in toy.members}
    assert arms >= {("random_reinit", 1), ("random_reinit", 2), ("winning_ticket", 2)}
    for place in toy.members:
        kept = toy.ticket(**place._asdict())
        assert kept.density == {0: 1.0}.get(place.level, kept.density)
        assert (place.level == 0) == all(m.all() for m in kept.mask.values())


def contrary():
    """Blobs whose test labels are wrong: the better a network is, the worse it tests."""
    data = blobs()
    test = data.test_inputs, (data.test_targets + 1) % 4
    return tensors("contrary", (data.train_inputs, data.train_targets), test, 40)


def test_openlth_13_early_stop_is_chosen_on_validation_though_test_says_otherwise(tmp_path):
    job = member(recipe=recipe(lr=0.02, eval_every=2, curves=["validation", "test"]), density=1)
    (entry,) = train([job], tmp_path, contrary())
    losses = {split: {s: v for s, p, m, v in entry.curve if (p, m) == (split, "loss")}
              for split in ("validation", "test")}  # fmt: skip
    best = {split: min(values, key=values.get) for split, values in losses.items()}
    assert best["test"] == 0 < best["validation"]
    measured = {(s, m): v for s, split, m, v in entry.measured if split == "test"}
    assert {v for _, _, m, v in entry.measured if m == "early_stop_step"} == {best["validation"]}
    assert {s for s, _ in measured} == {best["validation"], 20}
    assert all(v == losses["test"][s] for (s, m), v in measured.items() if m == "loss")


def test_openlth_13_validation_is_held_out_of_training_and_train_is_measured(toy):
    batches = Batches(blobs(), Streams(0, 0, 0), 20)
    held_out = set(batches.validation.tolist())
    assert len(held_out) == 40 and not held_out & set(batches.indices(0, 99).flatten().tolist())
    for place in toy.members:
        measured = toy.entry(**place._asdict()).measured
        early = next(step for step, _, metric, _ in measured if metric == "early_stop_step")
        assert {split for _, split, *_ in measured} == {"train", "validation", "test"}
        assert {step for step, *_ in measured} == {early, 20}  # and no best of all epochs


# --- google LTH ---------------------------------------------------------------------------------


def test_google_lth_same_sign_reinit_compares_every_weight_not_the_dictionary():
    spec = config.load("arms", "signed_reinit")["signed_reinit"]
    winner = ticket()
    found = build({k: v for k, v in spec.items() if k != "copies"})(winner, stream("x"))
    for name in winner.mask:
        ours, theirs = found.params[name], winner.params[name]
        assert torch.equal(ours < 0, theirs < 0) and not (ours == theirs).any()
        assert (ours < 0).any() and (ours > 0).any()


def test_google_lth_preset_trains_as_the_paper_says():
    # Frankle & Carbin 2019, Figure 2: its own code has another learning rate
    found = config.compose(experiment="frankle2019/lenet")
    assert found["recipe"]["lr"] == 1.2e-3 and found["recipe"]["batch"] == 60
    assert found["recipe"]["optimizer"]["_target_"] == "torch.optim.Adam"
    assert found["recipe"]["steps"] == 50_000 and found["model"]["widths"] == [300, 100]
    assert found["prune"]["rate"] == 0.2 and found["prune"]["output_rate"] == 0.1


# --- the most forked tutorial -------------------------------------------------------------------


def test_tutorial_negative_weights_train():
    job = member(recipe=recipe(optimizer=config.load("recipe/optimizer", "sgd"), lr=0.1), lr=0.1)
    engine = SequentialEngine(job, blobs())
    engine.advance(0, 5, Tensor.backward)
    for name, mask in job.ticket.mask.items():
        start, now = job.ticket.start.params[name], engine.state(0).params[name]
        for sign in (start[mask] < 0, start[mask] > 0):
            assert (start[mask][sign] != now[mask][sign]).double().mean() > 0.7
    frozen = job.ticket.start.params["1.weight"] < 1e-6  # the tutorial's rule, without abs
    assert frozen[job.ticket.mask["1.weight"]].double().mean() > 0.3


def test_tutorial_biases_are_rewound_at_every_level_and_alias_nothing(toy):
    dense = toy.entry(level=0).at(5).params
    for level in (1, 2):
        trained = toy.entry(level=level).final.params
        for name in ("1.bias", "3.bias"):
            assert torch.equal(toy.ticket(level=level).params[name], dense[name])
            assert not torch.equal(trained[name], dense[name])


def test_tutorial_training_does_not_write_into_the_ticket():
    job = member(NORM)
    before = [{n: t.clone() for n, t in part.items()} for part in job.ticket.start]
    engine = SequentialEngine(job, blobs())
    state = engine.state(0)
    engine.advance(0, 3, Tensor.backward)
    for part, then, kept in zip(job.ticket.start, before, state, strict=True):
        assert same(part, then) and same(kept, then)
    assert not same(engine.state(0).params, before[0])
    assert same(job.ticket.params, draw_state(NORM, 0).params)


@pytest.mark.parametrize("rule", [layerwise(0.9), globally(0.9)], ids=["layerwise", "globally"])
def test_tutorial_batchnorm_is_never_pruned(rule):
    layers = layers_of(NORM)
    assert "1.weight" in draw_state(NORM, 0).params  # BatchNorm's, which ends in 'weight' too
    assert rule.prunable(layers) == ["0.weight", "5.weight"]
    params, mask = draw_state(NORM, 0).params, masks.full(layers, rule.prunable(layers))
    kept = masks.apply(params, drop_lowest({n: params[n].abs() for n in mask}, mask, 140))
    assert all(torch.equal(kept[n], params[n]) for n in ("1.weight", "1.bias", "5.bias"))


@pytest.mark.parametrize("name", ["blobs", "digits"])
def test_tutorial_normalisation_is_that_of_the_data_itself(name):
    data = blobs() if name == "blobs" else lth.data.digits()
    seen = data.prepare(data.train_inputs).double()  # mean and std of MNIST would not give 0 and 1
    assert abs(float(seen.mean())) < 1e-5 and abs(float(seen.std(correction=0)) - 1) < 1e-5


def test_tutorial_loss_takes_logits():
    logits, targets = torch.zeros(3, 10), torch.arange(3)
    assert float(cross_entropy()(logits, targets)) == pytest.approx(math.log(10))
    assert float(F.nll_loss(logits, targets)) == 0  # what NLL makes of logits


def test_tutorial_every_level_has_the_same_learning_rate(toy):
    assert {r.lr for r in toy.records} == {0.02}
    rates = []
    for level in (0, 1):
        engine = SequentialEngine(replace(member(lr=0.02), streams=Streams(0, 0, level)), blobs())
        engine.optimizer.register_step_pre_hook(
            lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
        )
        engine.advance(0, 2, Tensor.backward)
    assert rates == [0.02] * 4


# --- TurboPrune ---------------------------------------------------------------------------------


def test_turboprune_schedule_runs_on_from_the_rewinding_step():
    schedule = {"_target_": "lth.recipe.schedule.multistep", "milestones": [8, 15], "warmup": 4}
    job = member(recipe=recipe(schedule=schedule))
    job = replace(job, ticket=replace(job.ticket, step=6))
    engine, rates = SequentialEngine(job, blobs()), []
    engine.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    engine.advance(6, 20, Tensor.backward)
    assert job.steps == 14  # k..T, not the full budget again
    assert rates == pytest.approx([0.01] * 2 + [0.001] * 7 + [0.0001] * 5)


def test_turboprune_every_level_has_a_fresh_optimizer(toy):
    place = {"trial": 0, "level": 2}
    job = toys.job_of(
        toy.ticket(**place), recipe=Recipe(**toy.config["recipe"]), lr=0.02,
        streams=Streams(0, 0, 2),
    )  # fmt: skip
    engine = SequentialEngine(job, blobs())
    assert not engine.optimizer.state
    engine.advance(5, 20, Tensor.backward)
    assert same(engine.state(0).params, toy.entry(**place).final.params)


def test_turboprune_rewinding_is_in_steps_and_in_epochs(tmp_path):
    epochs = {
        "_target_": "lth.pruning.rewind.to_epoch",
        "epoch": 1.5,
    }  # 160 images, 8 batches of 20
    by_epoch = setup_of(tmp_path, rewind=epochs)
    by_step = setup_of(tmp_path, rewind={"_target_": "lth.pruning.rewind.to_step", "step": 12})
    assert by_epoch.parts.rewind == by_step.parts.rewind and by_epoch.snapshots == (12,)


@pytest.mark.parametrize("group", [g for g in config.GROUPS if g != "trainer"])
def test_turboprune_choices_are_enforced(group, tmp_path):
    with pytest.raises(lth.LthError, match=f"{group}=nope: no such choice; "):
        setup_of(tmp_path, **{group: "nope"})


def mobile(input_shape, classes):
    """Grouped and dilated convolutions, as in MobileNet and its like."""
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 8, 3, padding=2, dilation=2, bias=False), nn.BatchNorm2d(8),
        nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8),
        nn.ReLU(), nn.Conv2d(8, 12, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(12, classes),
    )  # fmt: skip


def test_turboprune_groups_dilation_and_given_weights_are_left_alone(tmp_path):
    study = study_of(tmp_path, model=mobile, levels=1, trials=1, prune="globally")
    dense, found = study.ticket(level=0), study.ticket(level=1)
    assert list(found.mask) == ["0.weight", "3.weight", "6.weight", "9.weight"]
    assert found.mask["3.weight"].shape == (8, 1, 3, 3)
    plain = draw_model(dense.model, stream_seed("init", 0, 0)).eval()
    assert torch.equal(dense.module().eval()(inputs()), plain(inputs()))
    network = found.module()
    assert network[0].dilation == (2, 2) and network[3].groups == 8
    assert [type(m) for m in network] == [type(m) for m in plain]  # a Linear stays a Linear


@pytest.mark.parametrize("name", config.choices("recipe/optimizer"))
def test_turboprune_the_optimizer_is_the_one_that_was_asked_for(name):
    spec = config.load("recipe/optimizer", name)
    (group,) = SequentialEngine(
        member(recipe=recipe(optimizer=spec)), blobs()
    ).optimizer.param_groups
    optimizer = SequentialEngine(member(recipe=recipe(optimizer=spec)), blobs()).optimizer
    assert type(optimizer).__name__ == spec["_target_"].rpartition(".")[2]
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in group.items()}
    assert {k: plain[k] for k in spec if k != "_target_"} == {
        k: v for k, v in spec.items() if k != "_target_"
    }


def test_turboprune_a_layer_too_small_to_prune_prunes_nothing():
    scores, mask = {"w": torch.rand(3)}, {"w": torch.ones(3, dtype=torch.bool)}
    assert drop_lowest(scores, mask, 0)["w"].all()
    layers = Layers({"w": (3,), "last": (100,)}, frozenset(), "last")
    assert layerwise(0.1)(scores, mask, layers)["w"].all()  # round(0.1 * 3) = 0


# --- shrinkbench --------------------------------------------------------------------------------


def test_shrinkbench_random_numbers_of_the_caller_change_nothing(tmp_path):
    keys = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found = study_of(tmp_path / str(seed), trials=1, score="random", arms=["random_mask"],
                         model=norm_net)  # fmt: skip
        keys.append({place: key for place, key in found.members.items()})
    assert keys[0] == keys[1]


class Impatient(Display):
    """Ctrl-C in the second level."""

    def level(self, cohort, missing, reused):
        if any(place.level == 2 for place in cohort):
            raise KeyboardInterrupt

    def step(self, *_):
        pass


def test_shrinkbench_ctrl_c_is_not_swallowed_and_deletes_nothing(tmp_path):
    setup = setup_of(tmp_path)
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGQUIT)]
    with pytest.raises(KeyboardInterrupt):
        execute(setup, Impatient(Console(), enabled=False))
    study = Study(setup.folder)
    assert {p.level for p in study.members} == {0, 1} and len(study.records) > 0
    assert all(study.entry(**p._asdict()).final for p in study.members)
    assert study_of(tmp_path).provenance["trained"] == 4  # level 2, and no more
    assert handlers == [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGQUIT)]


def test_shrinkbench_ctrl_c_inside_training_gets_through_lightning(tmp_path):
    def press(*_):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            try:
                train([member()], tmp_path, report=press)
            except SystemExit as ended:  # which would take pytest along
                raise AssertionError("swallowed") from ended
        assert signal.getsignal(signal.SIGINT) is before  # or nobody can interrupt it again
    finally:
        signal.signal(signal.SIGINT, before)


MAY_UNPICKLE = {
    "level.py": {"True", "False"},  # a checkpoint in a temporary folder of this very program's
    "rewind_point.py": {"not trusted"},  # where the user says so
}


def test_shrinkbench_evaluates_nothing_that_it_reads():
    for path in sorted((Path(lth.__file__).parent).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name, named = ast.unparse(node.func), {k.arg: k.value for k in node.keywords}
                assert name not in ("eval", "exec", "pickle.load"), path
                if name == "torch.load":  # tensors alone: nothing else is unpickled
                    allowed = MAY_UNPICKLE.get(path.name, {"True"})
                    assert ast.unparse(named["weights_only"]) in allowed, path
                assert name != "pickle.loads" or path.name == "pool.py", path  # its own jobs


# --- Torch-Pruning ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", config.choices("prune"))
def test_torch_pruning_206_a_rule_has_no_state_and_changes_no_input(name):
    rule, layers = build(config.load("prune", name)), layers_of(MLP)
    mask = masks.full(layers, layers.shapes)
    scores = {n: torch.rand(s, generator=stream(n)) for n, s in layers.shapes.items()}
    before = {n: s.clone() for n, s in scores.items()}
    first = rule(scores, mask, layers)
    assert same(rule(scores, mask, layers), first)
    assert all(m.all() for m in mask.values()) and same(scores, before)


def test_torch_pruning_428_a_ticket_comes_back_without_its_python(tmp_path, toy):
    ticket = toy.ticket(level=2)
    ticket.save(tmp_path / "ticket")
    back = lth.Ticket.load(tmp_path / "ticket", trust=["tests.toys"])
    assert same(back.mask, ticket.mask) and same(back.params, ticket.params)
    assert torch.equal(back.module()(inputs()), ticket.module()(inputs()))


# --- SynFlow ------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", ["winner", "global"])
def test_synflow_shuffle_does_shuffle(counts):
    winner = ticket()
    before = {n: m.clone() for n, m in winner.mask.items()}
    found = random_mask(counts=counts)(winner, stream("x"))
    assert all(not torch.equal(found.mask[n], m) for n, m in winner.mask.items())
    assert found.weights == winner.weights and same(winner.mask, before)


def draws_anew(command, word):
    setup = command("arms=[random_mask]", f"arms.random_mask.reinit={word}")
    winner = ticket(model=setup.parts.model)
    found = setup.parts.arms["random_mask"][0](winner, stream("x"))
    return not same(found.params, winner.params)


@pytest.mark.parametrize(("word", "redrawn"), [("False", False), ("false", False), ("true", True)])
def test_synflow_false_on_the_command_line_is_false(word, redrawn, command):
    assert bool("False")  # argparse's type=bool
    assert draws_anew(command, word) == redrawn


@pytest.mark.parametrize("word", ["no", "off"])
def test_synflow_no_on_the_command_line_is_not_taken_for_yes(word, command, capsys):
    try:
        assert not draws_anew(command, word)
    except SystemExit:
        assert "reinit" in capsys.readouterr().err


def test_synflow_scores_do_not_overflow_where_float32_does():
    spec = {"_target_": "tests.toys.deep", "depth": 60, "width": 40, "scale": 3.0}
    state, layers = draw_state(spec, 0), layers_of(spec)
    mask = masks.full(layers, layers.shapes)
    probe = Probe(spec, (1, 4, 4), 4, cross_entropy(), lambda number, generator: None)
    single = {n: p.abs() for n, p in state.params.items()}
    assert not probe.logits(single, {}, torch.ones(1, 1, 4, 4)).isfinite().all()
    found = synflow()(state.params, mask=mask, buffers={}, probe=probe)
    assert all(s.isfinite().all() and s.dtype == torch.float64 for s in found.values())


SMALL_RESNET = {"_target_": "lth.models.resnet", "input_shape": [3, 8, 8], "classes": 4,
                "depth": 8, "width": 4, "shortcut": "conv", "init": "glorot_normal"}  # fmt: skip


def synflow_case(level, rule=None):
    spec, rule = SMALL_RESNET, rule or globally(0.2)
    state, layers = draw_state(spec, 0), layers_of(spec)
    probe = Probe(spec, (3, 8, 8), 4, cross_entropy(), lambda number, generator: None)

    def score(network, mask):
        return synflow()(network.params, mask=mask, buffers=network.buffers, probe=probe)

    dense = Entries(masks.full(layers, rule.prunable(layers)), state)
    return ToyTurn(level, score, rule, layers, dense, dense, state)


class Entries:
    """A trained member that was never trained."""

    def __init__(self, mask, final):
        self.mask, self.final = mask, final


@pytest.mark.parametrize("level", [1, 7, 16])
@pytest.mark.parametrize("rounds", [1, 9, 30])
def test_synflow_12_the_count_is_exact_and_never_a_reason_to_quit(level, rounds):
    case = synflow_case(level)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="layer collapse")  # one round may collapse
        mask = at_init(rounds)(case).mask
    assert masks.weights(mask, case.layers) == kept_by_level(case.rule, case.layers, level)[-1]


def test_synflow_7_shortcuts_of_one_pixel_do_not_collapse():
    case = synflow_case(12)  # 6.9 %
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = masks.kept(at_init(100)(case).mask)
    assert len([n for n in kept if "shortcut" in n]) == 2 and all(kept.values())
    with pytest.warns(UserWarning, match="layer collapse: no weight of .*shortcut.* is left"):
        at_init(1)(case)  # where it does happen, it is said by name


def test_synflow_weights_go_back_to_their_start_at_every_level(tmp_path):
    # its iterative pruning did not reset them until 2021
    study = study_of(tmp_path, rewind="to_init", trials=1, model=norm_net)
    start = study.ticket(level=0)
    for level in (1, 2):
        found = study.ticket(level=level)
        assert same(found.start.params, masks.apply(start.params, found.mask))
        assert same(found.buffers, start.buffers) and found.step == 0
        assert not same(study.trained(level=level).buffers, start.buffers)


def test_synflow_asks_nothing_before_it_overwrites(tmp_path, monkeypatch):
    def ask(*_):
        raise AssertionError("a batch job has nobody to answer")

    monkeypatch.setattr(builtins, "input", ask)
    for _ in range(2):
        study_of(tmp_path, levels=0, trials=1)


# --- rethinking ---------------------------------------------------------------------------------


def test_rethinking_the_mask_does_not_depend_on_the_values_of_weights():
    job = member(density=0.5)
    params = {n: p.clone() for n, p in job.ticket.params.items()}
    kept = job.ticket.mask["1.weight"]
    zero = kept & (torch.rand(kept.shape, generator=stream("x")) < 0.5)
    params["1.weight"][zero] = 0.0  # kept weights that happen to be 0
    job = replace(job, ticket=replace(job.ticket, params=params))
    assert job.ticket.weights == member().ticket.weights  # still counted as kept
    engine = SequentialEngine(job, blobs())
    engine.advance(0, 5, Tensor.backward)
    now = engine.state(0).params["1.weight"]
    assert (now[zero] != 0).double().mean() > 0.8 and not now[~kept].any()  # and still trained


def test_rethinking_linear_layers_are_pruned_too():
    assert globally(0.2).prunable(layers_of(NORM)) == ["0.weight", "5.weight"]
    assert describe(mobile([1, 4, 4], 4)).output == "9.weight"


# --- complaints ---------------------------------------------------------------------------------


def test_pytorch_117758_a_compiled_network_sees_the_mask_of_its_own_member():
    # hooks that come after the first trace are ignored; a mask that is traced in would stay
    jobs = [member(trial=trial, compile="aot_eager") for trial in range(2)]
    assert not torch.equal(jobs[0].ticket.mask["1.weight"], jobs[1].ticket.mask["1.weight"])
    for job in jobs:
        engine = SequentialEngine(job, blobs())
        engine.advance(0, 3, Tensor.backward)
        for name, mask in job.ticket.mask.items():
            leaf, start = engine.network.leaves[name], job.ticket.start.params[name]
            assert not leaf[~mask].any()
            assert (leaf[mask] != start[mask]).double().mean() > 0.7  # some units are dead


def test_coursia_16192_what_trains_is_as_sparse_as_the_records_say(toy):
    for place in toy.members:
        entry = toy.entry(**place._asdict())
        nonzero = sum(int((entry.final.params[n] != 0).sum()) for n in ("1.weight", "3.weight"))
        rows = [r for r in toy.records if (r.trial, r.lr, r.arm, r.level, r.copy) == place[:5]]
        assert {r.density for r in rows} == {nonzero / 200}
        network = network_of(entry.about["model"], entry.final).requires_grad_(False)
        loss = float(F.cross_entropy(network(inputs()), blobs().test_targets))
        (measured,) = [r.value for r in rows if (r.step, r.split, r.metric) == (20, "test", "loss")]
        assert measured == pytest.approx(loss)  # and it is the network that was measured
    assert len({r.density for r in toy.records}) == 3


def test_lightning_13643_the_weights_of_a_level_are_reset(toy):
    trained = toy.trained(level=0).params
    for level in (1, 2):
        found = toy.ticket(level=level)
        kept = found.mask["1.weight"]
        assert not (found.params["1.weight"][kept] == trained["1.weight"][kept]).any()


def test_lightning_8542_several_fits_in_one_process_do_not_touch_each_other(toy, tmp_path):
    rules = ("learning_rate", "fine_tune", "to_init")
    for rule in rules:
        spec = config.load("rewind", rule) | ({"length": 5} if rule == "fine_tune" else {})
        study_of(tmp_path, rewind=spec, trials=1, levels=1, arms=["winning_ticket"])
    again = study_of(tmp_path / "again", trials=1)
    for place in again.members:
        ours, theirs = (s.trained(**place._asdict()) for s in (again, toy))
        assert same(ours.params, theirs.params)


def test_snip_3_the_network_that_is_scored_is_the_one_that_trains(tmp_path, monkeypatch):
    seen = []

    def spying(*args, **kwargs):
        seen.append({n: p.clone() for n, p in args[0].items()})
        return magnitude()(*args, **kwargs)

    setup = setup_of(tmp_path, search="at_init", score="snip", trials=1, levels=1,
                     rewind="to_init", arms=["winning_ticket"])  # fmt: skip
    setup = replace(setup, parts=replace(setup.parts, score=spying))
    execute(setup, Display(Console(), enabled=False))
    assert len(seen) == 1 and same(seen[0], Study(setup.folder).entry(level=0).start.params)


def test_openlth_issue_9_a_job_crosses_to_a_worker_as_plain_bytes():
    job = member(NORM, density=0.3)
    back = pickle.loads(pickle.dumps(job))  # Windows and macOS spawn, and pickle everything
    assert member_key(back, blobs()) == job.key and same(back.ticket.mask, job.ticket.mask)
