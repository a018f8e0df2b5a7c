"""An error in somebody's own code is that error, in one line that says where; nothing is lost."""

import json
import re
import sys
from functools import partial
from pathlib import Path

import pytest

import lth
from lth import LthError, cli
from lth.errors import is_own, told, where
from lth.train.pool import Elsewhere
from lth.types import MemberId
from tests import toys
from tests.toys import Brittle, blobs, brittle_data, brittle_loss, brittle_score

SETTINGS = {
    "data": partial(blobs, validation=40), "model": Brittle, "name": "brittle",
    "recipe": {"steps": 12, "batch": 20, "lr": 0.02, "eval_every": 6}, "trials": 2, "levels": 1,
    "logger": "none", "rewind": "to_init", "progress": False,
    "arms": {"winning_ticket": {}, "brittle_arm": {"_target_": "tests.toys.brittle_arm"},
             "random_mask": {}},
}  # fmt: skip


def line_of(text):
    lines = Path(toys.__file__).read_text().splitlines()
    return next(n for n, line in enumerate(lines, start=1) if text in line)


GONE = (
    rf"^FileNotFoundError: the weights of mine \(\S*toys\.py:{line_of('the weights of mine')}, "
    r"in forward\)$"
)


def run(tmp_path, workers=0, **changes):
    settings = SETTINGS | {"out": str(tmp_path / "out")} | changes
    return lth.run(**settings, trainer={"workers": workers, "device": "cpu"})


def finished(tmp_path, without):
    """Places of a study that finds everything stored but what is left out."""
    study = run(tmp_path, arms=[arm for arm in SETTINGS["arms"] if arm != without])
    return study.provenance["trained"], set(study.members)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_models_error_is_that_error_and_the_others_are_finished(workers, tmp_path):
    with pytest.raises(LthError, match=GONE) as caught:
        run(tmp_path, workers)
    cause = caught.value.__cause__
    assert type(cause) is (Elsewhere if workers else FileNotFoundError)
    if workers:
        assert "in forward" in str(cause) and "Traceback" in str(cause)
    trained, places = finished(tmp_path, without="brittle_arm")
    assert trained == 0 and MemberId(1, 0.02, "random_mask", 1, 0) in places


def test_a_worker_that_is_killed_keeps_what_it_had_and_the_others_go_on(tmp_path):
    arms = SETTINGS["arms"] | {
        "brittle_arm": {"_target_": "tests.toys.brittle_arm", "how": "killed"}
    }
    with pytest.raises(LthError, match=r"lth-worker-\d died \(exit code -9; ") as caught:
        run(tmp_path, 2, arms=arms, trials=1)
    assert "\n" not in str(caught.value)
    study = run(tmp_path, trials=1, arms=["winning_ticket", "random_mask"])
    assert study.provenance["trained"] == 0


OWN = {
    "loss": ({"recipe": SETTINGS["recipe"] | {"loss": partial(brittle_loss, after=9)}},
             "ZeroDivisionError", "raise ZeroDivisionError", "loss"),
    "score": ({"score": brittle_score}, "KeyError: '1.weight'", 'KeyError("1.weight")', "score"),
    "data": ({"data": brittle_data}, "tests.toys.brittle_data: RuntimeError: no picture is there",
             "no picture", "brittle_data"),
}  # fmt: skip


@pytest.mark.parametrize("what", OWN)
def test_so_is_an_error_of_a_loss_a_score_or_data(what, tmp_path):
    changes, words, text, function = OWN[what]
    with pytest.raises(LthError) as caught:
        run(tmp_path, **changes, arms=["winning_ticket"])
    place = rf" \(\S*toys\.py:{line_of(text)}, in {function}\)"
    assert re.fullmatch(re.escape(words) + place, str(caught.value))
    assert caught.value.__cause__ is not None


def test_the_command_says_it_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "brittle.yaml").write_text(
        "_target_: mine_brittle.Net\nclasses: null\n"
    )
    (tmp_path / "mine_brittle.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, classes=10):\n"
        "        super().__init__()\n"
        "        self.body, self.head = nn.Linear(64, 16), nn.Linear(16, classes)\n"
        "        self.aux = nn.Linear(16, classes)\n"
        "    def forward(self, x):\n"
        "        h = self.body(x.flatten(1)).relu()\n"
        "        return self.head(h) if not self.training else self.aux(h)[:, :, 3]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [
        "lth", "--config-dir", "own", "model=brittle", "logger=none", "recipe.steps=20", "trials=1",
        "levels=1", "rewind=to_init", "trainer.workers=0", "trainer.device=cpu",
    ])  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        cli.main()
    err = capsys.readouterr().err
    assert ended.value.code == 1 and err.count("\n") == 1
    assert "in training: too many indices" in err and "mine_brittle.py:9, in forward" in err
    (tmp_path / "mine_brittle.py").write_text("import nowhere_at_all\n")
    monkeypatch.delitem(sys.modules, "mine_brittle")
    with pytest.raises(SystemExit):
        cli.main()
    err = capsys.readouterr().err
    assert "nowhere_at_all" in err and "mine_brittle.py:1" in err and err.count("\n") == 1


def test_the_line_is_the_innermost_of_the_users_own():
    with pytest.raises(ValueError) as caught:
        json.loads("{")  # raised in Python's library
    line = where(caught.value)
    assert re.fullmatch(r" \(\S*test_errors\.py:\d+, in test_the_line_\w+\)", line)
    assert str(told(caught.value)).startswith("JSONDecodeError: Expecting property name")
    ours = LthError("as it is")
    assert told(ours) is ours
    assert str(told(ValueError())) == "ValueError"
    assert str(told(ValueError("\n\n  two\nlines"))) == "ValueError: two"


def test_what_is_a_users_own():
    assert is_own(__file__) and is_own("<ipython-input-3>") and is_own("/tmp/ipykernel_1/2.py")
    assert not is_own(lth.__file__) and not is_own(json.__file__) and not is_own(pytest.__file__)
    assert not is_own("<frozen importlib._bootstrap>")
