"""Distillation: the loss, teachers of every kind, students, few labels, the digit never shown."""

from dataclasses import replace
from functools import partial as part

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lth import LthError, data, moves
from lth.data.dataset import split
from lth.data.seen import UNLABELLED, seen
from lth.moves.shift_bias import best_shift
from lth.networks import masks
from lth.recipe import loss as losses
from lth.recipe import measures
from lth.recipe.evaluation import Measures
from lth.records.teachers import teachers
from lth.store.store import Store
from lth.streams import stream
from lth.train.batches import Batches
from lth.train.engine import SequentialEngine
from lth.train.job import Streams
from lth.types import WINNER, Batch
from tests.toys import (
    DROPOUT,
    NORM,
    blobs,
    changed,
    counts,
    job,
    recipe,
    run_study,
    setup_of,
    small_net,
    train,
    train_member,
    train_stacked,
)

DISTIL = {"_target_": "lth.recipe.loss.distillation", "temperature": 2.0, "soft_weight": 0.7}
SMALL = {"model": small_net, "arms": [WINNER], "levels": 2}


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# -- the loss


def by_numpy(z, t, y, temperature, soft_weight):
    """The formula, example by example."""

    def softmax(values):
        e = np.exp(values - values.max())
        return e / e.sum()

    soft, hard = [], []
    for row, wanted, label in zip(z, t, y, strict=True):
        p, q = softmax(wanted / temperature), softmax(row / temperature)
        soft.append((p * (np.log(p) - np.log(q))).sum())
        hard += [] if label == UNLABELLED else [-np.log(softmax(row)[label])]
    told = np.mean(hard) if hard else 0.0
    return (1 - soft_weight) * told + soft_weight * temperature**2 * np.mean(soft)


@pytest.mark.parametrize("y", [[0, 3, 1], [0, UNLABELLED, 1], [UNLABELLED] * 3])
@pytest.mark.parametrize("settings", [(1.0, 0.0), (4.0, 0.9), (20.0, 1.0)])
def test_the_loss_is_that_of_numpy_whoever_has_a_label(settings, y):
    z, t = drawn(3, 4), drawn(3, 4, seed=1)
    found = losses.distillation(*settings)(z, Batch(z, torch.tensor(y), teacher=t))
    assert found.item() == pytest.approx(by_numpy(z.numpy(), t.numpy(), y, *settings), rel=1e-9)


def test_soft_weight_weighs_the_teacher_and_none_of_it_is_the_labels_alone():
    z, t, y = drawn(5, 4), drawn(5, 4, seed=1), torch.tensor([0, 1, 2, 3, 0])
    batch = Batch(z, y, teacher=t)
    assert losses.distillation(3.0, 0.0)(z, batch).item() == F.cross_entropy(z, y).item()
    other = batch._replace(targets=(y + 1) % 4)
    whole = losses.distillation(3.0, 1.0)
    assert torch.equal(whole(z, batch), whole(z, other))  # labels have no say


def test_an_example_without_a_label_has_no_part_in_the_hard_term():
    z, t = drawn(4, 3).requires_grad_(), drawn(4, 3, seed=1)
    y = torch.tensor([2, UNLABELLED, 0, UNLABELLED])
    losses.distillation(2.0, 0.0)(z, Batch(z, y, teacher=t)).backward()
    assert z.grad is not None and bool((z.grad[[1, 3]] == 0).all())
    few = z.detach()[[0, 2]].requires_grad_()
    F.cross_entropy(few, y[[0, 2]]).backward()
    torch.testing.assert_close(z.grad[[0, 2]], few.grad)


def test_at_a_great_temperature_logits_are_matched():
    """Hinton et al. 2015, Section 2.1: the gradient becomes (z - t) / K, of centred logits."""
    z, t, y = drawn(6, 5).requires_grad_(), drawn(6, 5, seed=1), torch.zeros(6, dtype=torch.long)
    apart = []
    for temperature in (1.0, 10.0, 1000.0):
        (slope,) = torch.autograd.grad(
            losses.distillation(temperature, 1.0)(z, Batch(z, y, teacher=t)), z
        )
        gap = z.detach() - t
        matched = (gap - gap.mean(1, keepdim=True)) / 5 / 6  # the mean over six examples
        apart.append(float((slope - matched).norm() / matched.norm()))
    assert apart[0] > 0.1 > apart[1] > apart[2] and apart[2] < 1e-3


@pytest.mark.parametrize("model", [NORM, DROPOUT], ids=["norm", "dropout"])
def test_a_teacher_gets_no_gradient_and_stays_as_it_is(model, tmp_path):
    taught = train_member(job(model, trial=5, density=1.1), tmp_path)
    made = changed(job(model, recipe=recipe(loss=DISTIL)), teacher=taught.key)
    engines = []

    def watched(jobs, dataset):
        engines.append(SequentialEngine(jobs[0], dataset))
        return engines[-1]

    train_member(made, tmp_path, make=watched)
    teacher = engines[0].teacher
    assert not any(m.training for m in teacher.modules())
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    named = dict(teacher.named_parameters()) | dict(teacher.named_buffers())
    for name, value in (taught.final.params | taught.final.buffers).items():
        assert torch.equal(named[name], value), name


# -- the bias shifted


def accuracy_at(logits, targets, labels, shift):
    moved = logits.clone()
    moved[:, labels] += shift
    return float((moved.argmax(1) == targets).double().mean())


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 999), size=st.integers(1, 30), several=st.booleans())
def test_the_shift_is_the_best_there_is_and_the_nearest_to_none(seed, size, several):
    logits, labels = 2 * drawn(size, 4, seed=seed), [1, 3] if several else [2]
    targets = torch.randint(4, (size,), generator=torch.Generator().manual_seed(seed))
    found = best_shift(logits, targets, labels)
    best = accuracy_at(logits, targets, labels, found)
    others = [s for s in torch.linspace(-9, 9, 181).tolist()]
    at = {s: accuracy_at(logits, targets, labels, s) for s in others}
    assert best >= max(at.values())
    assert found == 0 or best > accuracy_at(logits, targets, labels, 0.0)


def test_the_shift_by_hand():
    logits = torch.tensor([[3.0, 0.0], [2.0, 0.0], [0.5, 0.0]])
    assert best_shift(logits, torch.tensor([1, 1, 0]), [1]) == 4.0  # past 3, costs the third
    assert best_shift(logits, torch.tensor([1, 0, 0]), [1]) == 0.0  # nothing is won
    assert best_shift(logits, torch.tensor([0, 0, 1]), [1]) == 1.25  # between 0.5 and 2
    assert best_shift(logits, torch.tensor([1, 1, 1]), [0, 1]) == 0.0  # all classes: no matter


def test_recall_is_of_one_class_and_none_where_there_is_none_of_it():
    z, y = torch.eye(3)[[0, 1, 1, 2]], torch.tensor([0, 1, 2, 2])
    of = Measures(losses.cross_entropy, {"recall": measures.recall(2)})
    top, count = measures.recall(2)(z, Batch(z, y))
    assert (float(top), float(count)) == (1, 2)
    assert of.values({"recall": (1.0, 2.0), "loss": (1.0, 2.0)}) == {"recall": 0.5, "loss": 0.5}
    assert of.values({"recall": (0.0, 0.0), "loss": (1.0, 2.0)}) == {"loss": 0.5}
    with pytest.raises(LthError, match=r"label=3: the classes are 0\.\.2"):
        measures.recall(3)(z, Batch(z, y))
    with pytest.raises(LthError, match="label=True"):
        measures.recall(True)


# -- which examples are seen


def test_labels_are_spread_over_the_classes_and_nested():
    targets = torch.tensor([0] * 50 + [1] * 30 + [2] * 3 + [3] * 17)
    train = torch.arange(100)
    few, more = (seen(targets, train, {"labels": n}, stream("x")) for n in (8, 20))
    assert torch.equal(few.rows, train) and {*few.labelled.tolist()} < {*more.labelled.tolist()}
    assert targets[few.labelled].bincount().tolist() == [2, 2, 2, 2]
    assert sorted(targets[more.labelled].bincount().tolist()) == [3, 5, 6, 6]
    without = seen(targets, train, {"without": [0, 2], "labels": 4}, stream("x"))
    assert {*targets[without.rows].tolist()} == {1, 3} and len(without.labelled) == 4


def test_who_is_taught_sees_the_pool_and_who_is_not_the_labels():
    held, examples = Streams(0, 0, 0), {"labels": 12, "without": [3]}
    whole = Batches(blobs(), held, 16)
    taught, alone = (Batches(blobs(), held, 16, examples, taught=t) for t in (True, False))
    truth = blobs().train_targets
    assert torch.equal(taught.validation, whole.validation)
    assert torch.equal(taught.labelled, alone.train) and len(alone.train) == 12
    assert {*taught.train.tolist()} == {r for r in whole.train.tolist() if truth[r] != 3}
    rows = taught.indices(0, 8).flatten()
    told = taught.take(rows, 0).targets
    labelled = torch.isin(rows, alone.train)
    assert torch.equal(told[labelled], truth[rows][labelled]) and bool(labelled.any())
    assert bool((told[~labelled] == UNLABELLED).all()) and bool((~labelled).any())
    assert torch.equal(alone.take(alone.indices(0, 3).flatten(), 0).targets,
                       truth[alone.indices(0, 3).flatten()])  # fmt: skip
    for split_ in ("validation", "test"):
        assert all(torch.equal(a, b) for a, b in
                   zip(taught.rows(split_), whole.rows(split_), strict=True))  # fmt: skip
    other = Batches(blobs(), Streams(0, 1, 0), 16, examples)
    assert {*other.labelled.tolist()} != {*alone.labelled.tolist()}  # drawn anew in every trial


def test_alone_and_stacked_students_see_the_same(tmp_path):
    taught = train_member(job(trial=5, density=1.1), tmp_path)
    jobs = [
        changed(job(trial=1, recipe=recipe(loss=DISTIL)), teacher=taught.key, examples=e)
        for e in ({"labels": 12}, {"without": [1]}, {})
    ]
    assert len({made.key for made in jobs}) == 3
    turn = train(jobs, tmp_path)
    for made in jobs:
        Store(tmp_path).folder(made.key).rename(tmp_path / made.key)
    turn = [replace(e, folder=tmp_path / e.key) for e in turn]
    stacked = train_stacked(jobs, tmp_path)
    for mine, other in zip(turn, stacked, strict=True):
        for name, value in mine.final.params.items():
            torch.testing.assert_close(value, other.final.params[name], rtol=1e-3, atol=1e-4)
    first, second = (e.final.params["1.weight"] for e in turn[1:])
    assert not torch.equal(first, second)


def test_data_with_few_labels_or_without_a_class(tmp_path):
    few, gone = data.partly_labelled(blobs(), 12), data.without(blobs(), 3)
    both = data.partly_labelled(gone, labels=9)
    assert both.examples == {"labels": 9, "without": [3]}
    assert len({d.digest for d in (blobs(), few, gone, both)}) == 4
    assert few.mean == blobs().mean and torch.equal(few.train_targets, blobs().train_targets)
    for train_, validation in (split(d, stream("s")) for d in (few, blobs())):
        assert len(train_) + len(validation) == 200
    study = run_study(
        tmp_path, data=part(part_labels, labels=12), method=["distil"], levels=1, trials=1
    )
    rows = {(r.arm, r.phase): r.value for r in study.records if r.metric == "labelled"}
    assert rows == {(WINNER, 0): 12, ("random_reinit", 0): 12, ("distil", 1): 12}
    shown = study.entry().about["examples"]
    assert shown == {"data": "blobs-12-labels", "training": 160, "labelled": 12}


def part_labels(labels, validation=40):
    return data.partly_labelled(blobs(validation), labels)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: data.partly_labelled(blobs(), 0), "data.labels=0: a whole number"),
        (lambda: data.partly_labelled(blobs(), 161), "data.labels=161: the training split has 160"),
        (lambda: data.without(blobs(), 4), r"data.without=\[4\]: the classes are 0..3"),
        (lambda: data.without(blobs(), [0, 1, 2, 3]), "leaves nothing to train on"),
        (lambda: data.without(blobs(), "3"), "data.without='3'"),
        (lambda: moves.show(), "say labels, without, or all"),
        (lambda: moves.show(labels=3, all=True), "leaves nothing to say"),
        (lambda: moves.student(widths=[]), r"widths=\[\]: a list"),
        (lambda: moves.student(model={"kind": "x"}, widths=[3]), "a model or widths"),
        (lambda: moves.student(draw=-1), "draw=-1"),
        (lambda: moves.shift_bias(label=[]), r"label=\[\]: a class"),
        (lambda: moves.distil(teacher="best"), "teacher='best': it is dense"),
        (lambda: moves.distil(teacher=nn.Linear(2, 2)), "is a stored member: train a network of y"),
        (lambda: moves.distil(teacher={"_target_": "mine.net"}), "is a stored member"),
        (lambda: moves.distil(teacher={"levels": 3}), "teacher.levels: no such setting"),
        (lambda: moves.distil(teacher={"level": -1}), "teacher.level=-1"),
        (lambda: moves.distil(teacher={"study": "x", "trial": "next"}), "teacher.trial='next'"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_said(make, message):
    with pytest.raises(LthError, match=message):
        make()


# -- teachers and students in a study


def student_of(*before, **given):
    return [*before, part(moves.student, **given)] if given else [*before, moves.student]


METHODS = {
    "taught": {"moves": student_of(moves.distil)},
    "alone": {"moves": student_of()},
    "below": {"moves": student_of(part(moves.distil, teacher={"level": 2}))},
    "by_ticket": {"moves": student_of(part(moves.distil, teacher="trained"))},
    "other": {"moves": [part(moves.distil, teacher={"trial": "next"}), moves.rewind]},
    "reinit": {
        "moves": [part(moves.distil, teacher={"arm": "random_reinit", "level": 2}), moves.fine_tune]
    },
    "fair": {"at": "dense", "repeat": 1, "moves": [
        part(moves.show, labels=16), part(moves.student, widths=(9, 6), draw=1),
        part(moves.distil, teacher="trained"), part(moves.student, widths=(9, 6)),
    ]},
    "digit": {"at": "dense", "repeat": 1, "moves": [
        moves.distil, part(moves.show, without=3), part(moves.student, model={
            "kind": "tests.toys.mlp", "width": 9}), part(moves.shift_bias, label=3),
        moves.measure,
    ]},
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    wanted = SMALL | {"arms": [WINNER, "random_reinit"]}
    return run_study(tmp_path_factory.mktemp("study"), method=METHODS, **wanted)


def value(study, metric, **place):
    (found,) = {
        r.value for r in study.records
        if r.metric == metric and all(getattr(r, k) == v for k, v in place.items())
    }  # fmt: skip
    return found


def test_teachers_are_the_members_that_are_named(study):
    keys = {n: study.ticket(arm=n, level=1, trial=1).teacher for n in METHODS}
    members = {k: study.entry(trial=1, **k_) .key for k, k_ in {
        "taught": {}, "below": {"level": 2}, "by_ticket": {"level": 1},
        "reinit": {"arm": "random_reinit", "level": 2},
        "fair": {"arm": "fair", "level": 1, "phase": 1},
    }.items()}  # fmt: skip
    members["other"] = study.entry(trial=0).key
    assert {n: keys[n] for n in members} == members and keys["alone"] is None
    assert study.ticket(arm="digit", level=1, trial=1, phase=1).teacher == members["taught"]
    assert keys["digit"] is None  # the bias is shifted of what is there


def test_students_with_and_without_a_teacher_are_pairs(study):
    for level in (1, 2):
        one, two = (study.entry(arm=n, level=level) for n in ("taught", "alone"))
        assert all(torch.equal(p, two.start.params[n]) for n, p in one.start.params.items())
        assert one.about["steps"] == two.about["steps"] == 20 and one.about["step"] == 0
        assert one.about["place"]["level"] == two.about["place"]["level"]  # so the same batches
        wanted = study.ticket(level=level).weights
        assert abs(study.ticket(arm="taught", level=level).weights - wanted) < 0.2 * wanted
        assert not torch.equal(one.final.params["1.weight"], two.final.params["1.weight"])
    first, second = (study.entry(arm="fair", level=1, phase=p) for p in (1, 2))
    assert not torch.equal(first.start.params["1.weight"], second.start.params["1.weight"])
    starts = [study.entry(arm="alone", level=1, trial=t).start.params["1.weight"] for t in (0, 1)]
    assert not torch.equal(*starts)


def test_what_a_teacher_saw_is_in_the_record(study):
    said = study.ticket(arm="taught", level=2).origin["teacher"]
    dense = study.entry()
    accuracy = next(v for s, sp, m, v in dense.measured
                    if (s, sp, m) == (20, "validation", "accuracy"))  # fmt: skip
    assert (said["data"], said["labelled"], said["accuracy"]) == ("blobs", 160, accuracy)
    assert said["key"] == dense.key
    where = {"arm": "taught", "level": 2, "trial": 0}
    assert value(study, "teacher/labelled", **where) == 160
    assert value(study, "teacher/accuracy", **where) == accuracy
    assert value(study, "teacher/labelled", arm="fair", phase=2) == 16
    assert value(study, "labelled", arm="fair") == 16
    assert not any(r.metric.startswith("teacher") for r in study.records if r.arm == "alone")
    lines = {line.partition(":")[0]: line for line in teachers(study.records)}
    assert lines.keys() == METHODS.keys() - {"alone"}
    assert "trained on 16 labelled examples" in lines["fair"]
    assert lines["fair"].endswith("its student on 16")
    shown = [study.entry(arm="digit", level=1, trial=t, phase=1) for t in (0, 1)]
    low, high = sorted(e.about["examples"]["labelled"] for e in shown)  # those without the class
    assert 100 < low <= high < 140 and lines["digit"].endswith(
        f"its student on {low}" + (f" to {high}" if low < high else "")
    )


def test_students_cost_their_teacher_and_nothing_of_what_they_hang_off(study):
    spent = {(r.arm, r.level, r.phase): r.value for r in study.records
             if r.metric == "training_flops" and r.trial == 0}  # fmt: skip
    search = {(r.arm, r.level, r.phase): r.value for r in study.records
              if r.metric == "search_flops" and r.trial == 0}  # fmt: skip
    dense, one, two = (spent[WINNER, n, 0] for n in (0, 1, 2))
    assert search["alone", 2, 1] == 0
    assert search["taught", 2, 1] == dense
    assert search["by_ticket", 1, 1] == dense + one
    assert search["below", 1, 1] == search["below", 2, 1] == dense + one + two
    assert search["fair", 1, 2] == spent["fair", 1, 1]
    # one of another trial has a chain of its own; an arm's mask is this chain's, found once
    other = value(study, "training_flops", arm=WINNER, level=0, trial=1)
    assert search["other", 1, 1] == dense + one + other
    assert search["other", 2, 1] == dense + one + two + other
    assert search["reinit", 1, 1] == dense + one + spent["random_reinit", 2, 0]
    assert search["reinit", 2, 1] == dense + one + two + spent["random_reinit", 2, 0]
    looks = dense / 3  # a teacher's forward passes
    assert spent["taught", 1, 1] == pytest.approx(spent["alone", 1, 1] + looks)


def test_a_student_of_a_class_never_shown_knows_it_only_by_its_teacher(tmp_path):
    show, same = part(moves.show, without=3), part(moves.student, model={
        "kind": "tests.toys.mlp", "width": 10})  # fmt: skip
    soft = {"kind": "lth.recipe.loss.distillation", "temperature": 8.0, "soft_weight": 1.0}
    shift = [part(moves.shift_bias, label=3), moves.measure]
    methods = {
        "taught": {"at": "dense", "repeat": 1, "moves": [
            part(moves.distil, loss=soft), show, same, *shift]},
        "alone": {"at": "dense", "repeat": 1, "moves": [show, same, *shift]},
    }  # fmt: skip
    measured = {n: {"_target_": f"lth.recipe.measures.{n}"} | k for n, k in
                {"accuracy": {}, "recall": {"label": 3}}.items()}  # fmt: skip
    settings = {"steps": 200, "batch": 20, "lr": 0.02, "eval_every": 100, "measures": measured}
    study = run_study(tmp_path, method=methods, arms=[WINNER], levels=1, trials=1, recipe=settings)

    def recall(arm, phase):
        return value(study, "recall", arm=arm, phase=phase, split="test", step=200)

    assert recall("alone", 1) == 0
    assert recall("taught", 2) >= 0.7 and recall("taught", 2) >= recall("taught", 1)
    before, after = (study.entry(arm="taught", level=1, phase=p).final.params for p in (1, 2))
    apart = after["3.bias"] - before["3.bias"]
    shift = value(study, "bias_shift", arm="taught", phase=2)
    torch.testing.assert_close(apart, torch.tensor([0, 0, 0, shift]), rtol=1e-5, atol=1e-5)
    assert all(torch.equal(v, before[n]) for n, v in after.items() if n != "3.bias")
    assert not [r for r in study.records if (r.arm, r.metric, r.split) == (
        "alone", "recall", "train")]  # fmt: skip


def test_a_member_of_another_study_teaches_and_what_does_not_fit_is_refused(tmp_path):
    wide = run_study(tmp_path / "a", name="wide", model=part(small_net, widths=(20, 12)),
                     arms=[WINNER], levels=1)  # fmt: skip
    named = {"study": str(wide.folder), "level": 1}
    method = {"m": {"moves": student_of(part(moves.distil, teacher=named))}}
    study = run_study(tmp_path / "b", method=method, **SMALL)  # another store
    for trial in (0, 1):
        assert study.ticket(arm="m", level=1, trial=trial).teacher == wide.entry(
            trial=trial, level=1
        ).key  # fmt: skip
    assert value(study, "teacher/labelled", arm="m") == 160
    assert value(study, "search_flops", arm="m", level=2, trial=1) == cost(wide, level=1, trial=1)
    assert counts(run_study(tmp_path / "b", method=method, **SMALL))[0] == 0
    key = wide.entry(level=1).key
    method = {"m": {"moves": student_of(part(moves.distil, teacher=key))}}
    here = run_study(tmp_path / "a", method=method, **SMALL | {"trials": 1})
    assert here.ticket(arm="m", level=2).teacher == key
    assert value(here, "search_flops", arm="m", level=2) == cost(wide, level=1)
    own = part(moves.distil, teacher=here.entry().key)  # this chain's own: its run, counted once
    own = run_study(tmp_path / "a", method={"m": {"moves": [own, moves.rewind]}}, arms=[WINNER],
                    **{n: v for n, v in SMALL.items() if n != "arms"} | {"trials": 1})  # fmt: skip
    assert value(own, "search_flops", arm="m", level=1) == cost(here, level=1)  # no run is twice
    with pytest.raises(LthError, match=f"teacher={key[:12]}: no such member in this store"):
        setup_of(tmp_path / "b", method=method, **SMALL)
    five = run_study(tmp_path / "a", name="five", data=five_classes, levels=0, arms=[WINNER])
    large = run_study(tmp_path / "a", name="large", data=larger, levels=0, arms=[WINNER])
    for other, message in (
        (five, r"it gives \[2, 5\] for two examples, this study's network \[2, 4\]"),
        (large, r"it does not take this data's input_shape \[1, 4, 4\]"),
    ):
        method = {"m": {"moves": [part(moves.distil, teacher={"study": str(other.folder)}),
                                  moves.fine_tune]}}  # fmt: skip
        with pytest.raises(
            LthError, match="method.m: moves.distil.teacher=tests.toys.mlp: " + message
        ):
            setup_of(tmp_path / "b", method=method, **SMALL)


def cost(study, trial=0, **place):
    return sum(value(study, f"{n}_flops", arm=WINNER, trial=trial, **{"level": 0} | place)
               for n in ("training", "search"))  # fmt: skip


def five_classes():
    made = blobs()
    parts = ((made.train_inputs, made.train_targets), (made.test_inputs, made.test_targets))
    return data.tensors("five", *parts, 40, classes=5)


def larger():
    return data.tensors("larger", (torch.rand(60, 1, 5, 5), torch.arange(60) % 4),
                        (torch.rand(20, 1, 5, 5), torch.arange(20) % 4), 10)  # fmt: skip


def teach(**place):
    return part(moves.distil, teacher=place)


def learn(kind, **given):
    return part(moves.student, model={"kind": kind} | given)


def other_shape(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3, classes))


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ([part(moves.student, widths=[30, 20])], "has 1,160 weights, the study's network 222"),
        ([teach(level=7), moves.rewind], "teacher.level=7: there is 0, 1, 2"),
        ([teach(trial=5), moves.rewind], "teacher.trial=5: there is 0, 1"),
        ([teach(arm="set"), moves.rewind], "teacher.arm=set: there is winn"),
        ([teach(arm="m"), moves.rewind], "teaches from another study"),
        ([teach(study="gone"), moves.rewind], "gone: not a study's folder"),
        ([part(moves.show, labels=500), moves.rewind], "labels=500: the training split has 160"),
        ([part(moves.show, without=9), moves.rewind], r"without=\[9\]: the classes are 0..3"),
        ([learn("tests.test_distil.other_shape")], "does not take this data"),
        ([learn("tests.toys.mlp", width=3), part(moves.shift_bias, label=4), moves.measure],
         r"shift_bias.label=\[4\]: the network"),
        ([moves.distil], "distil leaves nothing to train"),
    ],
)  # fmt: skip
def test_methods_that_cannot_be_are_refused_before_work(listed, message, tmp_path):
    with pytest.raises(LthError, match=message):
        setup_of(tmp_path, method={"m": {"moves": listed}}, **SMALL)
    assert not (tmp_path / "store" / "members").exists()


def test_a_teacher_in_one_trial_alone_is_refused(tmp_path):
    listed = [part(moves.distil, teacher={"trial": "next"}), moves.rewind]
    with pytest.raises(LthError, match="the study has one trial"):
        setup_of(tmp_path, method={"m": {"moves": listed}}, trials=1)


def test_a_method_whose_teacher_diverged_ends_there(tmp_path):
    blow_up = part(moves.fine_tune, steps=3, lr=1e29)
    blown = {"at": "dense", "repeat": 1, "moves": [blow_up, moves.distil, moves.fine_tune]}
    study = run_study(tmp_path, method={"m": blown, "n": {"moves": [
        part(moves.distil, teacher="trained"), moves.fine_tune]}}, arms=[WINNER], trials=1,
        recipe={"steps": 6, "batch": 20, "lr": 0.02, "eval_every": 5})  # fmt: skip
    assert {p.phase for p in study.members if p.arm == "m"} == {1}
    assert {p.level for p in study.members if p.arm == "n"} == {1, 2}


# -- pruned and fine-tuned, as many weights as pruned and rewound


def test_prune_and_fine_tune_keeps_as_many_weights_in_every_layer_as_rewinding(tmp_path):
    study = run_study(tmp_path, method=["prune_fine_tune"], arms=[WINNER], levels=3, trials=1)
    start = study.entry().final
    for level in (1, 2, 3):
        rewound, tuned = (study.entry(level=level, arm=a) for a in (WINNER, "prune_fine_tune"))
        assert masks.kept(rewound.mask) == masks.kept(tuned.mask)
        for name, mask in tuned.mask.items():
            assert torch.equal(tuned.start.params[name], start.params[name] * mask)
        start = tuned.final
