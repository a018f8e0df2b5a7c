"""What studies there are, what of the store can go by rule, and what never goes."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

import lth
from lth import LthError
from lth.config import compose
from lth.store.store import Store
from lth.study import cleaning
from lth.study.cleaning import clean_store, find, needed_by, rules_of
from lth.study.inventory import read_study, studies_in
from lth.study.listing import list_studies, member_sizes, state_of, told_apart
from lth.study.progress import Display
from lth.study.run import locked
from tests.toys import SETTINGS, run_study

ROOT = Path(__file__).parents[1]
FEW = {"trials": 1, "levels": 1, "arms": ["winning_ticket"], "recipe": SETTINGS["recipe"] | {
    "steps": 6, "eval_every": 3}}  # fmt: skip


def study(out, **changes):
    return run_study(out, **FEW | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two studies that share their dense network, one of another learning rate."""
    out = tmp_path_factory.mktemp("kept") / "out"
    recipe = FEW["recipe"] | {"lr": 0.05}
    return study(out), study(out, prune={"rate": 0.5}), study(out, recipe=recipe, name="other")


@pytest.fixture
def out(made, tmp_path):
    """A copy of their root."""
    shutil.copytree(made[0].folder.parent.parent, tmp_path / "out")
    return tmp_path / "out"


def keys(out):
    return set(member_sizes(Store(out / "store")))


def clean(out, **rules):
    console = Console(record=True, width=200)
    clean_store(compose(out=str(out), action="clean", clean=rules), Display(console))
    return console.export_text()


def old(*paths):
    for path in paths:
        os.utime(path, (1e9, 1e9))


def test_a_study_is_told_by_what_it_is(made, out):
    assert [s.id for s in studies_in(out)] == [s.id for s in reversed(made)]
    first = read_study(out / "studies" / made[0].id)
    assert (first.name, first.model, first.trials, first.level) == ("toy", "mlp", 1, 1)
    assert first.data == "blobs" and first.arms == ["winning_ticket"] and not first.running
    told = told_apart(studies_in(out))
    assert "prune.rate=0.5" in told[made[1].id] and told[made[2].id] == ""
    console = Console(record=True, width=80)
    list_studies(compose(out=str(out), action="list"), Display(console))
    text = console.export_text()
    assert f"\n{made[0].id}  complete, " in "\n" + text and "[" not in text
    assert text.count("complete, ") == 3 and "3 studies; 5 members in the store" in text
    with pytest.raises(LthError, match="matches none; there are"):
        list_studies(compose(out=str(out), action="list", studies=["nope"]), Display(console))
    with pytest.raises(LthError, match="no studies there"):
        list_studies(compose(out=str(out / "x"), action="list"), Display(console))


def test_what_is_lacking_damaged_or_gone_is_said(made, out):
    folder = out / "studies" / made[0].id
    sizes = member_sizes(Store(out / "store"))
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("trials: 1", "trials: 3"))
    assert state_of(read_study(folder), sizes) == "4 to train"
    sizes.pop(next(iter(made[0].members.values())))
    assert state_of(read_study(folder), sizes) == "1 not in the store"
    with FileLock(folder / ".lock"):
        assert state_of(read_study(folder), sizes) == "running"
    (folder / "members.csv").write_text("nothing\n1\n")
    assert state_of(read_study(folder), sizes) == "damaged"
    assert "it is kept" not in clean(out) and "cannot be read" in clean(out, age=0)


def test_nothing_goes_in_a_dry_run_and_then_only_what_no_kept_study_needs(made, out):
    shared = set(made[0].members.values()) & set(made[1].members.values())
    assert len(shared) == 1  # the dense network
    before = keys(out)
    text = clean(out, studies=[made[0].id])
    assert "nothing was deleted: add clean.delete=true" in text and made[0].id in text
    assert keys(out) == before and (out / "studies" / made[0].id).is_dir()
    assert "freed" in clean(out, studies=[made[0].id], delete=True)
    kept = set(made[1].members.values()) | set(made[2].members.values())
    assert keys(out) == kept and not (out / "studies" / made[0].id).exists()
    assert not [p for p in out.rglob("*.tmp")]
    other = lth.Study(out / "studies" / made[1].id, trust=["tests.toys"])
    assert other.entry(level=1).mask and other.entry(level=0).final


def test_studies_go_by_name_age_and_never_those_that_are_kept(made, out):
    names = lambda **rules: {s.id for s in find(out, rules_of(rules)).studies}  # noqa: E731
    one, two, three = (s.id for s in made)
    assert names() == set() and names(studies=["toy*"]) == {one, two}
    assert names(studies=["toy"], keep=[two]) == {one} and names(older=1) == set()
    folder = out / "studies" / one
    old(*folder.iterdir(), folder)
    assert names(older=1) == {one} and names(older=1, studies=["other"]) == set()
    config = out / "studies" / three / "config.yaml"
    config.write_text(config.read_text() + f"\n# tickets of out/studies/{one}\n")
    found = find(out, rules_of({"studies": ["toy*"]}))
    assert {s.id for s in found.studies} == {two}
    assert f"{one}: {three} takes tickets or a teacher of it; it stays" in found.notes


def test_members_of_no_study_go_when_they_are_old_enough(made, out):
    shutil.rmtree(out / "studies" / made[2].id)
    gone = set(made[2].members.values())
    text = clean(out)
    assert "younger than clean.age=1 days" in text and "nothing to free" in text
    assert clean(out, age=0, unreachable=False).startswith("nothing to free")
    old(*(Store(out / "store").folder(key) for key in gone))
    clean(out, delete=True)
    assert not gone & keys(out) and keys(out) >= set(made[0].members.values())


def test_states_of_finished_members_and_of_killed_writers_go(made, out):
    store, key = Store(out / "store"), next(iter(made[0].members.values()))
    partial = store.root / "partial"
    partial.mkdir(exist_ok=True)
    left, going = partial / f"{key}.safetensors", partial / f"{'0' * 64}.safetensors"
    killed, writing = (store.root / "members" / f".{n}.tmp" for n in ("killed", "now"))
    for path in (left, going, killed, writing):
        path.write_bytes(b"x")
    old(killed)
    assert set(find(out, rules_of({"partial": False})).files) == set()
    clean(out, delete=True)
    assert [p.exists() for p in (left, going, killed, writing)] == [False, True, False, True]
    old(going)
    clean(out, delete=True)
    assert going.exists()  # a study may go on with it, unless it is said how old is too old
    clean(out, older=30, delete=True)
    assert not going.exists()


def test_teachers_of_what_is_kept_are_kept(made, out):
    store = Store(out / "store")
    key = next(iter(made[0].members.values()))
    path = store.folder(key) / "entry.json"
    teacher = next(iter(made[2].members.values()))
    about = json.loads(path.read_text())
    assert about["ticket"]["teacher"] is None  # so it is called
    about["ticket"]["teacher"] = teacher
    path.write_text(json.dumps(about))
    kept = read_study(out / "studies" / made[0].id)
    assert teacher in needed_by(store, [kept]) and len(needed_by(store, [kept])) == 3


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"oldr": 3}, "clean.oldr: no such setting; did you mean older?"),
        ({"older": "30d"}, "clean.older=30d: a number of days from 0"),
        ({"delete": 1}, "clean.delete=1: true or false"),
        ({"studies": 3}, "clean.studies=3: a list of names or patterns"),
    ],
)
def test_a_bad_rule_is_one_line(rules, words):
    with pytest.raises(LthError) as caught:
        rules_of(rules)
    assert words in str(caught.value)


def test_what_matches_no_study_is_refused(out):
    for rules in ({"studies": ["nope*"]}, {"keep": ["nope*"]}):
        with pytest.raises(LthError, match=r"nope\* matches no study; there are"):
            clean(out, delete=True, **rules)
    with pytest.raises(LthError, match="no store there"):
        clean(out / "nowhere")


RUNS = """
import sys, time
from lth.store.store import Store
from lth.study import run
from tests.toys import SETTINGS, run_study
from tests.test_cleaning import FEW
held = run.with_phases
def slowly(*given):
    for level in held(*given):
        print("level", flush=True)
        sys.stdin.readline()
        yield level
run.with_phases = slowly
run_study(sys.argv[1], **FEW | {"prune": {"rate": 0.3}})
print("over", flush=True)
"""


def test_two_jobs_at_once_neither_takes_what_the_other_needs(made, out):
    """One trains a third study of the shared dense network, the other would clean all away."""
    running = subprocess.Popen(
        [sys.executable, "-c", RUNS, str(out)], cwd=ROOT, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert running.stdout.readline() == "level\n"
    before = keys(out)
    text = clean(out, studies=["*"], age=0, delete=True)
    assert "it is running; it stays" in text and "no member of the store goes" in text
    assert keys(out) == before
    assert len(studies_in(out)) == 1  # the folders of the others went
    running.stdin.write("\n\n\n")
    running.stdin.flush()
    *_, last = running.communicate(timeout=300)[0].splitlines()
    assert last == "over" and running.returncode == 0
    (left,) = studies_in(out)
    assert not left.running and left.lacking == 0
    clean(out, age=0, delete=True)
    assert keys(out) == set(left.members.values())


def test_a_study_that_begins_waits_for_the_cleaning(made, out, monkeypatch):
    store, notes, began = Store(out / "store"), [], threading.Event()

    def begin():
        with locked(out / "studies" / "new"):
            store.wait_for_cleaning(notes.append)
            began.set()

    with store.cleaning() as mine:
        assert mine
        with Store(out / "store").cleaning() as second:
            assert not second
        with pytest.raises(LthError, match="another command is cleaning it"):
            clean(out)
        thread = threading.Thread(target=begin)
        thread.start()
        time.sleep(0.2)
        assert not began.is_set()
    thread.join(30)
    assert began.is_set() and "another command is cleaning it" in notes[0]


def test_a_study_that_began_since_keeps_all(made, out, monkeypatch):
    """Between the look and the deletion a command takes the folder: it stays, and all members."""
    before, real = keys(out), cleaning.find

    def found(*given):
        result = real(*given)
        lock.acquire()
        return result

    lock = FileLock(out / "studies" / made[0].id / ".lock")
    monkeypatch.setattr(cleaning, "find", found)
    try:
        assert "it has begun to run" in clean(out, studies=["toy"], delete=True)
    finally:
        lock.release()
    assert keys(out) == before and (out / "studies" / made[0].id).is_dir()
