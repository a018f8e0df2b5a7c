"""Jobs side by side, in processes of their own, that share a store or a study."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch

import lth
from lth import LthError
from lth.store.store import Store
from tests.test_store import KEY, outcome, same, state
from tests.toys import blobs, mlp

ROOT = Path(__file__).parents[1]

# the modules are imported once, then all begin at the same moment
MANY = """
import json, os, sys, warnings
from functools import partial
import torch, pytorch_lightning, rich.console, lth.train.module, lth.study.actions
import lth.results.figures
torch.set_num_threads(1)
from tests.toys import blobs, mlp
import lth

out, everyone = sys.argv[1], json.loads(sys.argv[2])
begin, go = os.pipe()
children = []
for number, changes in enumerate(everyone):
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(begin, 1)
        code = 1
        try:
            study = lth.run(**{
                "data": partial(blobs, validation=40), "model": partial(mlp, width=8),
                "name": "side",
                "recipe": {"steps": 12, "batch": 20, "lr": 0.02, "eval_every": 6}, "trials": 2,
                "levels": 1, "arms": ["winning_ticket"], "logger": "none", "progress": False,
                "trainer": {"workers": 0, "device": "cpu"}, "out": out,
            } | changes)
            said = json.dumps([number, str(study.folder), study.provenance["trained"]])
            os.write(1, (said + "\\n").encode())  # a line whole, whoever else writes
            code = 0
        finally:
            os._exit(code)
    children.append(child)
os.close(go)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
sys.exit(any(codes))
"""


def side_by_side(out, everyone):
    """Run a study per mapping of settings at the same time; return (folder, trained) of each."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", MANY, str(out),
         json.dumps(everyone)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, text=True,
        capture_output=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return [(Path(folder), trained) for _, folder, trained in sorted(found)]


def alone(out, **changes):
    return lth.run(**{
        "data": partial(blobs, validation=40), "model": partial(mlp, width=8), "name": "side",
        "recipe": {"steps": 12, "batch": 20, "lr": 0.02, "eval_every": 6}, "trials": 2,
        "levels": 1, "arms": ["winning_ticket"], "logger": "none", "progress": False,
        "trainer": {"workers": 0, "device": "cpu"}, "out": str(out),
    } | changes)  # fmt: skip


@pytest.mark.parametrize(
    "steps", [(2, 3, 5, 7), pytest.param(tuple(range(1, 9)), marks=pytest.mark.slow)], ids=len
)
def test_studies_that_need_other_states_of_one_dense_run_do_not_meet(steps, tmp_path):
    found = side_by_side(tmp_path / "out", [{"rewind": {"step": step}} for step in steps])
    assert len({folder for folder, _ in found}) == len(steps)
    studies = [lth.Study(folder) for folder, _ in found]
    for trial in range(2):  # one dense member for all, with every state that any of them needs
        assert len({s.entry(trial=trial, level=0).folder for s in studies}) == 1
        assert set(studies[0].entry(trial=trial).snapshots) >= set(steps)
    assert not list((tmp_path / "out" / "store").rglob("*.tmp"))
    for study, step in list(zip(studies, steps, strict=True))[:2]:
        expected = alone(tmp_path / f"alone{step}", rewind={"step": step})
        assert expected.id == study.id
        for name in ("records.csv", "curves.csv", "members.csv"):
            assert (expected.folder / name).read_bytes() == (study.folder / name).read_bytes()


def test_commands_of_one_study_wait_for_each_other_and_add_up(tmp_path):
    everyone = [{"trials": 1}, {"trials": 2}, {"arms": ["random_mask"]}, {"levels": 2}]
    found = side_by_side(tmp_path / "out", everyone)
    (folder,) = {folder for folder, _ in found}
    study = lth.Study(folder)
    counts = Counter((p.arm, p.level) for p in study.members)
    assert counts == {("winning_ticket", n): 2 for n in range(3)} | {("random_mask", 1): 2}
    assert {r[1:6] for r in study.records} == {
        (p.trial, p.copy, p.lr, p.arm, p.level) for p in study.members
    }
    assert len(study.provenance["commands"]) <= 4
    assert study.config["trials"] == 2 and study.config["levels"] == 2
    assert set(study.config["arms"]) == {"winning_ticket", "random_mask"}


def test_a_state_comes_to_the_entry_that_was_first(tmp_path):
    first = Store(tmp_path).publish(KEY, outcome(snapshots={}))
    assert first.snapshots == ()
    second = Store(tmp_path).publish(KEY, outcome(snapshots={4: state(4.0)}))
    assert second.snapshots == (4,) and same(first.at(4).params, state(4.0).params)
    # one that is not the same to the last bit (a GPU's) keeps its states to itself
    third = Store(tmp_path).publish(KEY, outcome(7.0, snapshots={5: state(5.0)}))
    assert third.snapshots == (4,) and same(third.start.params, first.start.params)


def test_a_damaged_entry_gives_way_to_a_whole_one(tmp_path):
    store = Store(tmp_path)
    path = store.publish(KEY, outcome()).folder / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="is damaged"):
        entry = store.publish(KEY, outcome())
    assert same(entry.start.params, outcome().start.params)
    assert store.get(KEY) is not None


def test_who_reads_while_an_entry_is_replaced_finds_one_of_the_two(tmp_path):
    store, over, seen = Store(tmp_path), threading.Event(), []
    store.publish(KEY, outcome(1.0))

    def read():
        while not over.is_set():
            entry = Store(tmp_path).get(KEY)
            seen.append(None if entry is None else float(entry.final.params["a.bias"][0]))
            entry.at(4)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(30):
        store.publish(KEY, outcome(float(2 + turn % 2)), replace=True)
    over.set()
    for reader in readers:
        reader.join()
    assert set(seen) <= {-2.0, -4.0, -6.0} and len(seen) > 10
    assert [p.name for p in (tmp_path / "members" / "ab").iterdir()] == [KEY]


def test_a_replacement_killed_half_way_loses_nothing(tmp_path, monkeypatch):
    store, real = Store(tmp_path), os.rename
    store.publish(KEY, outcome(1.0))

    def killed(source, target):
        if Path(target).name == KEY:
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("lth.store.store.os.rename", killed)
        with pytest.raises(KeyboardInterrupt):
            store.publish(KEY, outcome(2.0), replace=True)
    assert not store.folder(KEY).exists()
    assert same(Store(tmp_path).get(KEY).start.params, outcome(1.0).start.params)


def test_a_gpu_keeps_the_states_of_other_studies_when_it_trains_anew(tmp_path, monkeypatch):
    """It does not give the same bits twice, so an entry that lacks a state is replaced whole."""
    from lth.train import stacked, trainer

    here = partial(stacked.run_stacked, device="cpu")
    monkeypatch.setattr(stacked, "run_stacked", here)
    monkeypatch.setattr(trainer.Options, "on_gpu", property(lambda _: True))
    settings = {"trials": 1, "out": tmp_path / "out"}
    first = alone(**settings, rewind={"step": 3})
    alone(**settings, rewind={"step": 5})
    assert first.entry().snapshots == (3, 5)
    assert alone(**settings, rewind={"step": 3}).provenance["trained"] == 0


def test_states_that_a_partial_lacks_are_made_again(tmp_path):
    """It was begun by a study that needed none, and goes on for one that needs one before it."""
    from lth.train import work

    settings = {"arms": ["winning_ticket"], "levels": 1, "trials": 1}
    asked = []

    def stop_soon(cohort, every):
        if not asked:
            asked.append(cohort.step)
            real(cohort, 0.0)
            raise RuntimeError("cut off")

    real = work.Cohort.save_partial
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work.Cohort, "save_partial", stop_soon)
        with pytest.raises(LthError, match="cut off"):
            alone(tmp_path / "out", rewind="to_init", **settings)
    assert asked == [6] and list((tmp_path / "out" / "store" / "partial").iterdir())
    study = alone(tmp_path / "out", rewind={"step": 3}, **settings)
    expected = alone(tmp_path / "alone", rewind={"step": 3}, **settings)
    assert (study.folder / "records.csv").read_bytes() == (
        expected.folder / "records.csv"
    ).read_bytes()
    ours, theirs = study.entry().at(3), expected.entry().at(3)
    assert all(torch.equal(ours.params[n], p) for n, p in theirs.params.items())
