"""The plan on a fresh machine: timed, without a download, with the line for Slurm."""

import math
from pathlib import Path

import pytest
from rich.console import Console

from lth import LthError
from lth.config import compose
from lth.data import stand_in as stand_ins
from lth.data.stand_in import SHAPES, stand_in, with_stand_ins
from lth.study import timing
from lth.study.actions import plan_here
from lth.study.plan import Plan, measure, plan, slurm_lines
from lth.study.progress import Display
from lth.study.timing import Timing, Work, seconds_of
from tests.toys import setup_of


def test_noise_has_the_shape_of_what_it_stands_for(monkeypatch):
    small = SHAPES["mnist"]._replace(train=300, test=20)
    monkeypatch.setitem(SHAPES, "mnist", small)
    made, again = stand_in("mnist", validation=50), stand_in("mnist", validation=50)
    assert made.input_shape == (1, 28, 28) and made.classes == 10 and made.training == 250
    assert made.digest == again.digest and made.note == "a stand-in"
    with pytest.raises(LthError, match="it is one of mnist"):
        stand_in("imagenet")
    assert SHAPES["cifar100"][:4] == ((3, 32, 32), 50_000, 10_000, 100)


def test_only_what_would_be_downloaded_is_stood_in_for(monkeypatch):
    monkeypatch.setattr(stand_ins, "cache_of", lambda name: Path("/nowhere"))
    inner = {"_target_": "lth.data.mnist", "root": None, "validation": 7}
    spec, names = with_stand_ins({"_target_": "lth.data.subset", "images": 9, "of": inner})
    assert names == ("mnist",) and spec["of"]["validation"] == 7 and spec["images"] == 9
    assert spec["of"]["_target_"] == stand_ins.FACTORY and spec["of"]["of"] == "mnist"
    others = {"_target_": "lth.data.digits"}, {"_target_": "my.mnist"}
    for there in (inner | {"root": "data"}, *others):
        assert with_stand_ins(there) == (there, ())
    monkeypatch.setattr(stand_ins, "_is_here", lambda *_: True)
    assert with_stand_ins(inner) == (inner, ())


def test_the_time_is_that_of_updates_measurements_and_storing(tmp_path):
    setup = setup_of(tmp_path)  # 20 steps, measured every 5
    sizes = [setup.dataset.training, setup.dataset.validation, len(setup.dataset.test_targets)]
    work = Work(steps=200, members=10, levels=5)
    assert seconds_of(work, Timing(1.0, 0.0, 0.0, 0), setup, 1) == 200
    assert seconds_of(work, Timing(0.0, 0.0, 2.0, 0), setup, 2) == 10
    assert seconds_of(work, Timing(1.0, 0.0, 0.0, 0), setup, 4) == 100  # two wait for one another
    measured = 200 / 5 * sizes[1] + 10 * 2 * sum(sizes)
    assert seconds_of(work, Timing(0.0, 1.0, 0.0, 0), setup, 1) == pytest.approx(measured)


def test_a_few_steps_are_timed_and_nothing_is_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "LONG", 0.02)
    setup = setup_of(tmp_path)
    found = measure(setup, plan(setup))
    assert 0 < found.seconds < 60 and found.memory > 0
    assert not (tmp_path / "store" / "members").exists()
    monkeypatch.setattr(timing, "timed", lambda setup: Timing(math.nan, 0, 0, 0))
    assert measure(setup, Plan()).seconds == 0.0  # nothing is left to train


def test_the_line_to_paste_asks_for_more_than_is_expected():
    planned = Plan(workers=4, measured=7200.0, memory=3 << 30)
    first, second = slurm_lines(planned)
    assert first.endswith("sbatch --time=03:05:00 --cpus-per-task=4 --mem=4G")
    assert second.endswith("hydra.launcher.timeout_min=185")
    assert "--gpus=1" in slurm_lines(Plan(on_gpu=True, measured=60.0))[0]
    assert slurm_lines(Plan()) == []  # of unknown time


def test_the_action_says_that_data_are_stood_in_for(tmp_path, monkeypatch):
    monkeypatch.setattr(stand_ins, "cache_of", lambda name: tmp_path)
    monkeypatch.setitem(SHAPES, "mnist", SHAPES["mnist"]._replace(train=300, test=20))
    monkeypatch.setattr(timing, "LONG", 0.02)
    config = compose(
        data={"_target_": "lth.data.mnist", "validation": 50}, trials=1, levels=1, action="plan",
        recipe={"steps": 20}, out=str(tmp_path / "out"), plan={"measure": True}, logger="none",
        trainer={"device": "cpu", "workers": 0},
    )  # fmt: skip
    console = Console(record=True, width=200)
    plan_here(config, Display(console))
    text = console.export_text()
    assert "mnist is not on this machine" in text and "sbatch --time=00:0" in text
    assert not (tmp_path / "out").exists()
