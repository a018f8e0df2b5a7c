"""A ticket is the same ticket in every field: out of the store, and out of its file."""

import dataclasses
from functools import partial

import pytest
import torch
from rich.console import Console

from lth import Ticket, config
from lth.models import lenet
from lth.networks import masks
from lth.networks.ticket import KINDS
from lth.networks.ticket_check import same
from lth.study.progress import Display
from lth.study.run import Journal, execute, study_of
from lth.study.setup import prepare
from tests import laws

ARMS = config.choices("arms")

DRAWN = {"random_reinit", "signed_reinit", "rescaled"}
"""Arms whose values beneath the mask are not the dense run's: the store has 0 there."""

REWINDS = {
    "to_step": {"rewind": {"_target_": "lth.pruning.rewind.to_step", "step": 4}},
    "learning_rate": {"rewind": {"_target_": "lth.pruning.rewind.learning_rate"}, "levels": 1},
}


@pytest.fixture(scope="module", params=REWINDS)
def trained(request, tmp_path_factory):
    """A study of every arm there is, and the tickets that its members really trained from."""
    arms = {"winning_ticket": {}}
    for name in ARMS:
        values = config.load("arms", name)[name]
        arms[name] = {"every": 6} if "every" in values else {}
    settings = laws.SETTINGS | {
        "model": partial(lenet, widths=[9, 7]), "arms": arms, "trials": 1, "levels": 2,
        "out": str(tmp_path_factory.mktemp("fields")),
    }  # fmt: skip
    setup = prepare(config.compose(**settings | REWINDS[request.param]))
    tickets, add = {}, Journal.add

    def keep(journal, cohort, entries):
        tickets.update(cohort)
        return add(journal, cohort, entries)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "add", keep)
        execute(setup, Display(Console(), enabled=False))
    return study_of(setup), tickets


@pytest.mark.parametrize("arm", ARMS)
def test_every_field_comes_back_from_the_store(arm, trained, tmp_path):
    study, tickets = trained
    for place, ticket in tickets.items():
        if place.arm != arm:
            continue
        back = study.ticket(**place._asdict())
        for field in dataclasses.fields(Ticket):
            now, then = getattr(back, field.name), getattr(ticket, field.name)
            if field.name == "origin":  # what finding it took, and where it is from
                assert now == {k: v for k, v in then.items() if v} | {
                    "study": study.id, **place._asdict(),
                }  # fmt: skip
            elif field.name == "params" and arm in DRAWN:
                assert same(now, masks.apply(then, ticket.mask))
            else:
                assert same(now, then), (place, field.name)
        assert same(back.start.params, ticket.start.params)
        assert list(back.params) == list(ticket.params) and list(back.mask) == list(ticket.mask)


@pytest.mark.parametrize("arm", ARMS)
def test_every_field_comes_back_from_a_file(arm, trained, tmp_path):
    study, tickets = trained
    for place, made in tickets.items():
        if place.arm == arm:
            for ticket in (made, study.ticket(**place._asdict())):
                ticket.save(tmp_path / "t")
                back = Ticket.load(tmp_path / "t")
                for field in dataclasses.fields(Ticket):
                    now, then = getattr(back, field.name), getattr(ticket, field.name)
                    assert same(now, then), (place, field.name)
                assert back == ticket
                assert list(back.params) == list(ticket.params)


def test_densities_are_those_of_the_records(trained):
    study, _ = trained
    dynamic = {p for p in study.members if study.entry(**p._asdict()).about.get("weights")}
    for place in study.members:
        rows = [r for r in study.records if r[1:6] == (
            place.trial, place.copy, place.lr, place.arm, place.level)]  # fmt: skip
        ticket = study.ticket(**place._asdict(), final_mask=place in dynamic)
        if place.arm != "supermask":
            assert rows[-1].density == ticket.density, place
        if place.arm == "small_dense":
            assert 0 < ticket.density < 1 and all(m.all() for m in ticket.mask.values())


def test_a_field_that_is_new_is_kept_too(tmp_path):
    """What ``save`` writes is every field there is, by its kind."""
    assert {f.name for f in dataclasses.fields(Ticket)} == set(KINDS)
    assert KINDS["mask"] == "mask" and KINDS["frozen"] == KINDS["params"] == "tensors"
    assert KINDS["gate"] == KINDS["sizes"] == "plain"


def test_equal_tickets_are_equal_and_others_are_not(trained):
    _, tickets = trained
    one = next(t for p, t in tickets.items() if p.level == 1 and p.arm == "winning_ticket")
    assert one == dataclasses.replace(one)
    name = next(iter(one.mask))
    hidden = one.params[name].clone()
    hidden[~one.mask[name]] += 1.0
    for change in (
        {"step": 3}, {"noise": 1}, {"searched": False}, {"stretch": 2.0}, {"total": 7},
        {"params": one.params | {name: hidden}}, {"mask": one.mask | {name: ~one.mask[name]}},
        {"frozen": {name: torch.zeros_like(hidden)}},
    ):  # fmt: skip
        assert one != dataclasses.replace(one, **change), change
