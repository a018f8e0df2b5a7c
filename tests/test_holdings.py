"""A study keeps what it has: a later command adds, and takes nothing away."""

import dataclasses
import json
import os
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

import lth
from lth.config import compose
from lth.data import Dataset, tensors
from lth.study.actions import analyse_study, plot_study, run_study
from lth.study.holdings import outdated
from lth.study.progress import Display
from lth.study.run import execute
from lth.study.setup import prepare
from lth.types import MemberId
from tests.toys import blobs, mlp

SETTINGS = {
    "data": partial(blobs, validation=40), "model": partial(mlp, width=8), "name": "held",
    "recipe": {"steps": 12, "batch": 20, "lr": 0.02, "eval_every": 6}, "trials": 2, "levels": 2,
    "logger": "none", "trainer": {"workers": 0, "device": "cpu"}, "rewind": "to_init",
}  # fmt: skip
TABLES = ("records.csv", "curves.csv", "members.csv")


def study_of(out, **changes):
    """Run a study, figures left out."""
    setup = prepare(compose(**SETTINGS | {"out": str(out)} | changes))
    execute(setup, Display(Console(), enabled=False))
    return lth.Study(setup.folder)


@pytest.fixture
def run(tmp_path):
    return lambda **changes: study_of(**{"out": tmp_path / "out"} | changes)


@pytest.fixture
def say(tmp_path, capsys):
    """What the command says."""

    def call(action=run_study, **changes):
        setup = prepare(compose(**SETTINGS | {"out": str(tmp_path / "out")} | changes))
        capsys.readouterr()
        action(setup, Display(Console(width=200)))
        return capsys.readouterr().out

    return call


def tables(study):
    return {name: (study.folder / name).read_bytes() for name in TABLES}


def arms_of(study):
    return list(dict.fromkeys(r.arm for r in study.records))


ALL = ["winning_ticket", "random_reinit", "random_mask"]
NARROWER = [
    {"trials": 1}, {"levels": 1}, {"levels": [2]}, {"levels": 0}, {"arms": ["winning_ticket"]},
    {"arms": ["random_mask"]}, {"arms": {"random_reinit": {"copies": 1}}},
    {"trials": 1, "levels": 1, "arms": ["random_mask", "winning_ticket"]},
]  # fmt: skip


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    arms = {"winning_ticket": {}, "random_reinit": {"copies": 2}, "random_mask": {}}
    return study_of(tmp_path_factory.mktemp("wide") / "out", arms=arms)


@pytest.mark.parametrize("narrower", NARROWER, ids=str)
def test_a_narrower_command_changes_no_byte(narrower, wide):
    before, dates = tables(wide), [(wide.folder / n).stat().st_mtime_ns for n in TABLES]
    again = lth.run(**SETTINGS | {"out": str(wide.folder.parents[1]), "progress": False} | narrower)
    assert again.folder == wide.folder and again.provenance["trained"] == 0
    assert tables(again) == before
    assert dates == [(wide.folder / n).stat().st_mtime_ns for n in TABLES]
    assert len(again.provenance["commands"]) == 1  # those that have added nothing are not named
    config = again.config
    assert (config["trials"], config["levels"]) == (2, 2)
    assert config["arms"]["random_reinit"]["copies"] == 2 and set(config["arms"]) == set(ALL)


def test_commands_add_up_to_the_one_that_asks_for_all(run, tmp_path):
    run(arms=["winning_ticket"], levels=1)
    run(arms=["random_reinit"], trials=1)
    run(arms=["random_mask"], levels=[2])
    study = run(arms=["random_reinit"], trials=2, levels=2)
    assert [c["trained"] for c in study.provenance["commands"]] == [4, 3, 3, 2]
    whole = run(arms=ALL, out=str(tmp_path / "whole"))
    assert set(study.records) < set(whole.records)
    lacking = {MemberId(t, 0.02, "random_mask", 1, 0) for t in range(2)}
    assert set(whole.members) - set(study.members) == lacking
    run(arms=["random_mask"])
    full = lth.Study(study.folder)
    assert tables(full) == tables(whole)  # in the same order, too
    assert full.config | {"out": ""} == whole.config | {"arms": full.config["arms"], "out": ""}


def test_the_end_of_a_run_says_what_its_table_is_of(say):
    assert "from other commands" not in say(arms=ALL)
    out = say(arms=["winning_ticket"], trials=1)
    assert "the study holds 14 members, 11 of them from other commands" in out
    assert "random masks" in out  # the verdict is of all


@pytest.mark.parametrize(("first", "second"), [(3, 1), (1, 3)], ids=str)
def test_arms_of_unlike_trials_are_shown_together(first, second, say):
    say(arms=["winning_ticket"], trials=first)
    out = say(arms=["winning_ticket", "random_mask"], trials=second)
    assert "random masks" in out and "tickets" in out
    say(action=plot_study)
    say(action=analyse_study)


def test_an_arm_that_is_defined_otherwise_is_never_mixed(say, run, tmp_path):
    arms = {"winning_ticket": {}, "noise": {"scale": 0.5}, "random_mask": {}}
    study = run(arms=arms)
    old = [r for r in study.records if r.arm == "noise"]
    out = say(arms={"winning_ticket": {}, "noise": {"scale": 2.0}})
    (aside,) = study.folder.glob("records-replaced-*.csv")
    assert out.count("noise: defined otherwise than when") == 1 and aside.name in out
    assert lth.records.record.read_csv(aside) == old
    assert len(list(study.folder.glob("*-replaced-*.csv"))) == 3
    study = lth.Study(study.folder)
    assert arms_of(study) == ["winning_ticket", "noise", "random_mask"]
    fresh = run(arms=arms | {"noise": {"scale": 2.0}}, out=str(tmp_path / "fresh"))
    assert tables(fresh) == tables(study)
    assert "otherwise" not in say(arms={"winning_ticket": {}, "noise": {"scale": 2.0}})
    assert "otherwise" not in say(arms={"winning_ticket": {}})
    assert "otherwise" in say(arms=arms)  # and back: nothing to train, yet not mixed
    assert lth.Study(study.folder).provenance["trained"] == 0


def test_the_code_of_an_arm_is_its_definition(run, tmp_path, monkeypatch):
    module = tmp_path / "mine_arms.py"
    text = "def own():\n    def arm(winner, generator):\n        return winner\n    return arm\n"
    module.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    arms = {"winning_ticket": {}, "own": {"_target_": "mine_arms.own"}}
    run(arms=arms)
    module.write_text(text.replace("return winner", "return 0 or winner"))
    study = run(arms=arms)
    assert list(study.folder.glob("records-replaced-*.csv"))
    assert "own" in arms_of(study)


def rooted(root: str) -> Dataset:
    """Data that are wherever ``root`` says."""
    whole = blobs(validation=40)
    flipped = whole.train_targets.flip(0) if root == "cats" else whole.train_targets
    given = (whole.train_inputs, flipped), (whole.test_inputs, whole.test_targets)
    return tensors("rooted", *given, 40)


def test_rows_of_other_data_are_never_mixed(run, tmp_path):
    data = {"_target_": "tests.test_holdings.rooted"}
    cats = run(data=data | {"root": "cats"})
    dogs = run(data=data | {"root": "dogs"}, trials=1)
    fresh = run(data=data | {"root": "dogs"}, trials=1, out=tmp_path / "fresh")
    assert tables(dogs) == tables(fresh)
    if cats.folder == dogs.folder:  # nor thrown away
        assert list(dogs.folder.glob("records-replaced-*.csv"))


def test_a_folder_of_before_says_its_arms_by_its_configuration(run):
    study = run(arms=["winning_ticket", "random_mask"])
    before = tables(study)
    (study.folder / "arms.json").unlink()
    assert tables(run(arms=["winning_ticket"])) == before
    (study.folder / "arms.json").unlink()
    (study.folder / "config.yaml").write_text("arms: [")  # and one of which nothing is known
    assert arms_of(run(arms=["winning_ticket"])) == ["winning_ticket"]
    assert list(study.folder.glob("records-replaced-*.csv"))


@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_table_is_kept_aside_and_written_anew(name, run):
    study = run(trials=1)
    before, path = tables(study), study.folder / name
    path.write_text(path.read_text()[:-5] + "\nrubbish,1\n")
    assert tables(run(trials=1)) == before
    assert list(study.folder.glob("records-damaged-*.csv"))


def test_killed_between_two_files_the_next_command_makes_them_agree(run, monkeypatch):
    study = run(levels=1)
    expected = tables(run(levels=2))
    for name in TABLES[:2]:  # the index is written last: without its line a member is not held
        run(levels=2)
        index = study.folder / "members.csv"
        kept = [line for line in index.read_text().splitlines() if line.split(",")[3] != "2"]
        index.write_text("\n".join(kept) + "\n")
        (study.folder / name).write_bytes(expected[name])
        again = run(levels=1)
        assert {p.level for p in again.members} == {0, 1} == {r.level for r in again.records}
        assert tables(run(levels=2)) == expected


def test_what_is_older_than_the_records_is_named(say, run):
    study = run(trials=1)
    say(action=analyse_study, trials=1)
    assert outdated(study.folder) == []
    assert "older than" not in say(trials=1)  # nothing new
    assert "older than" not in say(action=plot_study)
    out = say(trials=2)
    assert "analysis.csv, matching.csv, paths.csv, " in out and out.count("older than") == 1
    assert "are older than records.csv: action=analyse makes them anew" in out
    assert "analysis.csv" in say(action=plot_study)
    assert "older than" not in say(action=analyse_study)
    (study.folder / "levels.csv").write_text("")
    os.utime(study.folder / "levels.csv", (0, 0))
    assert "levels.csv is older than records.csv: logger=csv makes it anew" in say()
    assert "older than" not in say(logger="csv")


@dataclasses.dataclass
class Telling:
    """A logger that writes down what it is told."""

    path: str

    def start(self, name, group, config, folder):
        self.note(["start", name])

    def log(self, records, curves):
        self.note(["log", len(records), len(curves)])

    def finish(self, records, curves, figures, tickets=()):
        self.note(["finish", len(records)])
        return []

    def abort(self):
        self.note(["abort"])

    def note(self, words):
        with Path(self.path).open("a") as file:
            file.write(json.dumps(words) + "\n")


def telling(path: str) -> Telling:
    return Telling(path)


def test_a_logger_asked_for_later_is_told_of_all_once(run, say, tmp_path):
    logger = {"_target_": "tests.test_holdings.telling", "path": str(tmp_path / "told")}
    study = run()

    def told():
        path = tmp_path / "told"
        found = [json.loads(line) for line in path.read_text().splitlines()]
        path.unlink()
        return found

    def everything():
        found = lth.Study(study.folder)
        n, m = len(found.records), len(found.curves)
        return [["start", study.id], ["log", n, m], ["finish", n]]

    out = say(logger=logger)
    assert told() == everything()
    assert "nothing new" not in out and "trained 0 members" in out
    assert "logged:  nothing new; telling was told of all of it" in say(logger=logger)
    assert not (tmp_path / "told").exists()
    say(logger=logger, trials=1)  # narrower: the records are as they were
    assert not (tmp_path / "told").exists()
    run(trials=3)  # what another command added, without a logger
    say(logger=logger)
    assert told() == everything()
    # and what this one trains: levels 0 and 1 at once, 2; each as all commands have it
    say(logger=logger, trials=1, levels=[1], arms=["winning_ticket", "random_mask"])
    begun, first, second, last = told()
    begin, (_, n, m), end = everything()
    assert (begun, last) == (begin, end)
    assert ["log", first[1] + second[1], first[2] + second[2]] == ["log", n, m]


def test_the_csv_logger_and_wandb_log_what_is_stored(run, say):
    study = run(trials=1)
    out = say(logger="csv", trials=1)
    rows = (study.folder / "levels.csv").read_text().splitlines()
    assert len(rows) == 1 + 5 and "levels:" in out
    assert "nothing new" in say(logger="csv", trials=1)
