"""The laws: what holds for every study, whatever it is made of.

``check`` takes a study that has run. It knows no choice by name, so a new criterion, arm, rule or
optimizer is held to the same laws as soon as its YAML exists. tests/test_laws.py runs it over every
YAML in conf/, and over the worked example of CONTRIBUTING.md.
"""

from __future__ import annotations

import math
from collections import defaultdict
from functools import partial

import torch
from rich.console import Console

from lth import Study, config
from lth.imp import loop, with_arms
from lth.moves.phases import with_phases
from lth.networks import masks
from lth.networks.ticket import draw_state, layers_of
from lth.packing import pack
from lth.pruning.rules import kept_by_level
from lth.pruning.turn import Turn
from lth.records.budget import is_budget
from lth.store.restore import net_of
from lth.study.budgets import is_wanted
from lth.study.progress import Display
from lth.study.run import execute, study_of
from lth.study.setup import Setup, prepare
from lth.types import WINNER, PruningChain
from tests.toys import blobs, norm_net

SETTINGS = {
    "data": partial(blobs, validation=40), "model": norm_net, "name": "law", "logger": "none",
    "recipe": {"steps": 24, "batch": 20, "lr": 0.02, "eval_every": 8}, "levels": 2, "trials": 2,
    "trainer": {"workers": 0, "device": "cpu"},
}  # fmt: skip


def run(**settings) -> tuple[Study, Setup]:
    """Run a tiny study, figures left out, and return it with its parts."""
    setup = prepare(config.compose(**SETTINGS | settings))
    execute(setup, Display(Console(), enabled=False))
    return study_of(setup), setup


def check(study: Study, setup: Setup) -> None:
    """Hold a study to every law."""
    for law in LAWS:
        law(study, setup)


def trials_do_not_depend_on_how_many_there_are(study, levels=1, **settings):
    """Law 5: one trial, and fewer levels, trained elsewhere: the same records to the last bit."""
    few = run(**settings | {"trials": 1, "levels": levels})[0]
    assert few.provenance["reused"] == 0 < few.provenance["trained"]
    shared = [r for r in study.records if r.trial == 0 and r.level <= levels]
    assert sorted(shared) == sorted(few.records)


def pruned_weights_are_zero(study, setup):
    """Law 1: at the start and at the end, exactly; but where an arm freezes them at a value."""
    for place in study.members:
        entry = study.entry(**place._asdict())
        states = [(entry.start, entry.mask)]
        states += [] if entry.diverged is not None else [(entry.final, entry.final_mask)]
        for state, mask in states:
            for name, m in mask.items():
                gone = state.params[name][~m]
                frozen = entry.frozen.get(name, torch.zeros(m.shape))[~m]
                assert torch.equal(gone, frozen), (place, name)
            assert all(t.isfinite().all() for t in state.params.values())


def densities_follow_the_recursion(study, setup):
    """Law 2: winners keep exactly as many weights as the rule's integer recursion says."""
    expected = kept_by_level(setup.parts.prune, setup.parts.layers, max(setup.parts.levels))
    for place in study.members:
        if place.arm == WINNER:
            assert study.ticket(**place._asdict()).weights == expected[place.level]


def winners_start_where_the_rule_says(study, setup):
    """Law 3: level n starts at its mask times the state that the rule rewinds to, bit for bit."""
    parts = setup.parts
    for place in study.members:
        if place.arm == WINNER and place.level:
            where = place._asdict()
            above = place.level - 1 if parts.search.iterates else 0
            dense, trained = study.entry(**where | {"level": 0}), study.entry(
                **where | {"level": above}
            ).final  # fmt: skip
            start = parts.rewind(dense.at, trained)
            entry = study.entry(**where)
            assert entry.about["step"] == start.step
            for name, value in masks.apply(start.state.params, entry.mask).items():
                assert torch.equal(entry.start.params[name], value), (place, name)
            for name, value in start.state.buffers.items():
                assert torch.equal(entry.start.buffers[name], value), (place, name)


def masks_nest(study, setup):
    """Law 4: an iterative search only ever prunes; at every level something goes."""
    for place in study.members:
        if place.arm == WINNER and place.level:
            entry = study.entry(**place._asdict())
            outer = study.entry(**place._replace(level=place.level - 1)._asdict())
            if setup.parts.search.iterates:
                assert masks.is_nested(entry.mask, outer.mask)
            assert masks.weights(entry.mask, setup.parts.layers) < masks.weights(
                outer.mask, setup.parts.layers
            )


def arms_are_pure_functions(study, setup):
    """Law 4: the same ticket and stream give the same arm; nothing that is given changes."""
    parts, level = setup.parts, max(setup.parts.levels)
    line = PruningChain(0, setup.recipe.rates[0])
    dense = study.entry(trial=0, lr=line.lr)
    above = study.entry(trial=0, lr=line.lr, level=level - 1 if parts.search.iterates else 0)
    before = torch.get_rng_state()
    tickets = []
    for _ in range(2):
        turn, winner = next_ticket(parts, line, level, above, dense)
        copy = [{n: t.clone() for n, t in p.items()} for p in (winner.mask, *winner.start)]
        tickets.append(with_arms(turn, winner))
        for now, then in zip((winner.mask, *winner.start), copy, strict=True):
            assert all(torch.equal(now[n], t) for n, t in then.items())
    assert torch.equal(torch.get_rng_state(), before)  # nothing is drawn but from streams
    for place, first in tickets[0].items():
        again, entry = tickets[1][place], study.entry(**place._asdict())
        for name, m in first.mask.items():
            assert torch.equal(m, again.mask[name]) and torch.equal(m, entry.mask[name])
        for name, value in first.start.params.items():
            assert torch.equal(value, again.start.params[name])
            assert torch.equal(value, entry.start.params[name])
        shapes = draw_state(first.model, 0)
        assert first.params.keys() == shapes.params.keys()
        assert all(v.shape == first.params[n].shape for n, v in shapes.params.items())
        assert set(first.mask) <= set(layers_of(first.model).shapes)


def moves_are_pure_functions(study, setup):
    """Law 4: a method's phases follow from what is stored; nothing that is given changes."""
    before = torch.get_rng_state()

    def look_up(tickets):
        copies = {m: t.start for m, t in tickets.items()}
        entries = {m: study.entry(**m._asdict()) for m in tickets}
        for member, entry in entries.items():
            start, mask = copies[member], tickets[member].mask
            assert all(torch.equal(mask[n], m) for n, m in entry.mask.items()), member
            assert all(torch.equal(start.params[n], p) for n, p in entry.start.params.items())
            stored = study.ticket(**member._asdict())
            assert not member.phase or all(
                torch.equal(stored.params[n], p) for n, p in tickets[member].params.items()
            ), member  # also beneath the mask
        return entries

    if setup.parts.methods:
        levels = with_phases(loop(setup.parts, look_up), setup.parts, look_up)
        assert {m for tickets, _ in levels for m in tickets} == set(study.members)
    assert torch.equal(torch.get_rng_state(), before)


def arms_are_no_larger_than_they_say(study, setup):
    """An arm ends with the winner's number of weights, or its records name its own density."""
    for place in study.members:
        entry, rows = study.entry(**place._asdict()), rows_of(study, place)
        layers = layers_of(entry.about["model"])
        kept = {entry.about["step"] + entry.about["steps"]: entry.final_mask}
        for row in rows:
            if row.step in kept and row.metric == "accuracy":
                weights = masks.weights(kept[row.step], layers)
                assert row.density == weights / setup.parts.layers.total, place


def records_are_whole_and_early_stop_is_chosen_on_validation(study, setup):
    """Law 9: early stop is the least validation loss, earliest on ties; three splits, both ends."""
    curves = defaultdict(dict)
    for r in study.curves:
        if (r.split, r.metric) == ("validation", "loss"):
            curves[*r[1:6], r.phase][r.step] = r.value
    for place in study.members:
        rows = [r for r in rows_of(study, place) if not is_budget(r)]
        metrics = {(r.split, r.metric) for r in rows}
        expected = {(s, m) for s in ("train", "validation", "test") for m in ("accuracy", "loss")}
        about = study.entry(**place._asdict()).about
        said = {
            ("validation", "early_stop_step"), ("train", "training_flops"),
            ("train", "search_flops"),
        }  # fmt: skip
        if about["ticket"]["teacher"] is not None:  # what both have seen
            said |= {("train", "teacher/labelled"), ("validation", "teacher/accuracy")}
        if about["ticket"]["teacher"] is not None or about["ticket"]["examples"]:
            said |= {("train", "labelled")}
        if "bias_shift" in about["ticket"]["origin"]:
            said |= {("validation", "bias_shift")}
        assert metrics == expected | said, place
        early = next(r.step for r in rows if r.metric == "early_stop_step")
        curve = curves[*rows[0][1:6], place.phase]
        allowed = {s: v for s, v in curve.items() if s >= early}
        assert early == min(allowed, key=lambda s: (allowed[s], s)), place
        assert all(math.isfinite(r.value) for r in rows)
        costs = {r.metric: r.value for r in rows if r.metric.endswith("_flops")}
        assert (costs["training_flops"] > 0) == (about["steps"] > 0) and costs["search_flops"] >= 0


def splits_are_disjoint(study, setup):
    """Law 9: no validation image is trained on, and trials differ."""
    from lth.train.batches import Batches
    from lth.train.job import Streams

    found = [Batches(setup.dataset, Streams(setup.parts.seed, t, 0), 1) for t in range(2)]
    for batches in found:
        assert not set(batches.train.tolist()) & set(batches.validation.tolist())
        whole = len(batches.train) + len(batches.validation)
        assert whole == len(setup.dataset.train_targets)
    assert found[0].validation.tolist() != found[1].validation.tolist()


def next_ticket(experiment, line, level, trained, dense):
    """A level's turn, and the winning ticket that it gives."""
    turn = Turn(experiment, line, level, trained, dense)
    return turn, turn.ticket(experiment.search(turn), turn.rewind())


def members(experiment, line, level, trained, dense):
    """The winning ticket of a level, and the arms that hang off it."""
    return with_arms(*next_ticket(experiment, line, level, trained, dense))


def rows_of(study, place):
    where = (place.trial, place.copy, place.lr, place.arm, place.level)
    return [r for r in study.records if r[1:6] == where and r.phase == place.phase]


def budgets_are_of_the_packed_file(study, setup):
    """Law 11: the file that is weighed is the file that is scored."""
    for place in study.members if is_wanted(setup.config) else ():
        if study.entry(**place._asdict()).diverged is not None:
            continue
        found, rows = study.budget(**place._asdict()), rows_of(study, place)
        last = max(r.step for r in rows)
        ends = {r.split: r.value for r in rows if (r.metric, r.step) == ("accuracy", last)}
        assert (found.accuracy, found.validation) == (ends["test"], ends["validation"]), place
        if place.trial == 0:  # packing takes longest; the others differ in their numbers
            packed = pack(net_of(study.entry(**place._asdict()), study.trust))
            assert found.bytes == len(packed), place
        assert found.nonzeros <= found.params and found.macs_nonzero <= found.macs
        costs = [r.value for r in rows if r.metric in ("training_flops", "search_flops")]
        assert found.search_macs == sum(costs) / 2, place


LAWS = [
    budgets_are_of_the_packed_file,
    pruned_weights_are_zero, densities_follow_the_recursion, winners_start_where_the_rule_says,
    masks_nest, arms_are_pure_functions, moves_are_pure_functions, arms_are_no_larger_than_they_say,
    records_are_whole_and_early_stop_is_chosen_on_validation, splits_are_disjoint,
]  # fmt: skip
