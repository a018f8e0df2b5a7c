"""Every YAML in conf/ that a study can be made of, held to every law.

Methods made of the same moves as another, with other values: behind ``-m slow``, and on a GPU.
"""

from functools import partial

import pytest
import torch

from lth import config
from lth.models import lenet
from tests import laws
from tests.toys import block_net

SLOW_STARTERS = {"search": {"transferred", "from_file"}}  # need another study, files
GROUPS = (
    "score",
    "search",
    "prune",
    "rewind",
    "arms",
    "method",
    "recipe/optimizer",
    "recipe/schedule",
)
SMALL = partial(lenet, widths=[12, 8])
TOGETHER = ("nested_ticket", "nested_tickets")  # all levels train as one network
CASES = [(g, n) for g in GROUPS for n in config.choices(g) if n not in SLOW_STARTERS.get(g, ())]


def again():
    """Methods that are made of the same moves as one before them, with other values."""
    seen, found = set(), set()
    for name in config.choices("method"):
        given = config.load("method", name)[name]
        moves = (given["at"], *(move["_target_"] for move in given["moves"]))
        (found if moves in seen else seen).add(name if moves in seen else moves)
    return found


AGAIN = {("method", name) for name in again()}
WANTED = [pytest.param(*c, marks=pytest.mark.slow) if c in AGAIN else c for c in CASES]


def settings_of(group, name):
    """The shortest study that has the choice in it; its own values, where steps are few."""
    if group == "arms":
        values = config.load("arms", name)[name]
        small = {k: 6 for k in ("every",) if k in values}
        return {"arms": {"winning_ticket": {}, name: small}, "model": SMALL}
    if group == "method":
        moves = str(config.load("method", name))
        small = {"model": SMALL} if "moves.student" in moves else {}
        if "lth.moves.gate" in moves:
            small = {"model": block_net}
        return {"method": [name], "rewind": {"step": 4}} | small
    if group.startswith("recipe/"):
        inner = config.load(group, name)
        inner |= {"milestones": [8, 16]} if "milestones" in inner else {}
        return {"recipe": laws.SETTINGS["recipe"] | {group.partition("/")[2]: inner}}
    values = config.load(group, name)
    small = {"length": 12, "every": 6, "step": 4, "rounds": 3, "epoch": 0.5}
    spec = values | {k: v for k, v in small.items() if k in values}
    return {group: spec}


@pytest.mark.parametrize(("group", "name"), WANTED)
def test_every_choice_keeps_every_law(group, name, tmp_path):
    study, setup = laws.run(out=str(tmp_path / "a"), **settings_of(group, name))
    laws.check(study, setup)
    again, _ = laws.run(out=str(tmp_path / "a"), **settings_of(group, name))
    assert again.provenance["trained"] == 0  # the store has it all
    assert (again.folder / "records.csv").read_bytes() == (
        study.folder / "records.csv"
    ).read_bytes()
    if group in ("score", "arms", "method"):
        levels = 2 if name in TOGETHER else 1
        laws.trials_do_not_depend_on_how_many_there_are(
            study, levels, out=str(tmp_path / "b"), **settings_of(group, name)
        )


def break_a_mask(study):
    """Make one pruned weight of a finished member live."""
    place = next(p for p in study.members if p.level == 2)
    entry = study.entry(**place._asdict())
    real = type(entry).final.fget

    def final(self):
        found = real(self)
        name = next(iter(self.mask))
        found.params[name][~self.mask[name]] = 0.5
        return found

    return property(final)


def test_the_laws_can_fail(tmp_path, monkeypatch):
    study, setup = laws.run(out=str(tmp_path), trials=1)
    laws.check(study, setup)
    from lth.store.entry import StoredMember

    with monkeypatch.context() as patch:
        patch.setattr(StoredMember, "final", break_a_mask(study))
        with pytest.raises(AssertionError):
            laws.pruned_weights_are_zero(study, setup)
    other = laws.run(out=str(tmp_path / "o"), trials=1, prune={"rate": 0.4})[1]
    with pytest.raises(AssertionError):
        laws.densities_follow_the_recursion(study, other)
    later = laws.run(out=str(tmp_path / "p"), trials=1, rewind={"step": 4})[1]
    with pytest.raises((AssertionError, LookupError)):
        laws.winners_start_where_the_rule_says(study, later)
    reseeded = laws.run(out=str(tmp_path / "q"), trials=1, seed=5)[1]
    with pytest.raises(AssertionError):
        laws.arms_are_pure_functions(study, reseeded)
    with pytest.raises(AssertionError):
        laws.trials_do_not_depend_on_how_many_there_are(study, out=str(tmp_path / "r"), seed=5)
    with pytest.raises(AssertionError):  # what was reused says nothing
        laws.trials_do_not_depend_on_how_many_there_are(study, out=str(tmp_path))
    moved = [r._replace(step=r.step - 8) if r.metric == "early_stop_step" else r
             for r in study.records]  # fmt: skip
    study.__dict__["records"] = moved
    with pytest.raises(AssertionError):
        laws.records_are_whole_and_early_stop_is_chosen_on_validation(study, setup)
    assert torch.get_num_threads() == 1
