"""Fitting a knob to a budget: what is tried, what fits, and what is chosen."""

import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString

import lth
from lth import LthError
from lth.study.fit import _label, typed
from lth.study.fit_search import Limit, search_of, with_value
from tests import toys

COMMON = {
    "model": toys.MLP, "data": toys.DATA, "trials": 2, "levels": [2], "logger": "none",
    "arms": ["winning_ticket"], "trainer": {"workers": 0}, "progress": False,
    "recipe": {"steps": 12, "eval_every": 6, "batch": 20, "lr": 0.01},
    "rewind": "to_init",
}  # fmt: skip


def fitted(tmp_path, **more):
    return lth.fit(**{**COMMON, "out": str(tmp_path / "out"), "knob": "prune.rate", **more})


def test_the_best_on_validation_that_keeps_to_the_budget_is_chosen(tmp_path):
    found = fitted(tmp_path, values=[0.1, 0.4, 0.8], budget="nonzeros<=150")
    assert [t.value for t in found.tried] == [0.1, 0.4, 0.8]
    assert [t.fits for t in found.tried] == [t.costs["nonzeros"] <= 150 for t in found.tried]
    assert any(t.fits for t in found.tried) and not all(t.fits for t in found.tried)
    able = [t for t in found.tried if t.fits]
    assert found.chosen.validation == max(t.validation for t in able)
    assert found.value == found.chosen.value
    # the settings give that very network: nothing is trained anew
    study = lth.run(**COMMON, out=str(tmp_path / "out"), budget=True, prune=found.settings["prune"])
    rows = [r for r in study.records if r.metric == "budget/accuracy" and r.level == 2]
    test = [r.value for r in rows if r.split == "test"]
    assert found.chosen.test == pytest.approx(sum(test) / 2) and len(test) == 2


def test_a_range_is_bisected_and_nothing_is_trained_twice(tmp_path, capsys):
    found = fitted(tmp_path, low=0.1, high=0.9, budget=["density<=0.3", "bytes<=100000"])
    values = [t.value for t in found.tried]
    assert values[:2] == [0.1, 0.9] and len(values) == len(set(values)) > 4
    edge = max(t.density for t in found.tried if t.fits)
    assert 0.25 < edge <= 0.3  # as near as the halves go
    assert all(t.fits == (t.density <= 0.3) for t in found.tried)


def test_methods_are_judged_by_their_last_phase(tmp_path):
    found = fitted(
        tmp_path, levels=[1], method=["fine_tune"], knob="method.fine_tune.moves.0.steps",
        values=[3, 6], budget="bytes<=1e6", of="mean",
    )  # fmt: skip
    assert {t.arm for t in found.tried} == {"fine_tune"}
    assert found.settings["method"]["fine_tune"]["moves"][0]["steps"] == found.value


def test_a_value_may_be_a_whole_setting_and_its_study_has_a_name_still():
    one, two = (_label(f"optimizer-{{'kind': 'Adam', 'betas': {[0.9] * 99}, {n}}}") for n in "12")
    assert len(one) <= 60 and one != two and _label("rate-0.5") == "rate-0.5"


@pytest.mark.parametrize("value", [
    3, 0.5, 1e-7, None, True, "magnitude", "lth.moves.prune", "a b", "", "it's", "null", "NaN", "3",
    "1e3", "a\\b", "a\\", "\\'", "[x]", [1, [2.5, None]], {"fc1": 3, "*": 4},
    {"a:b ,c": {"d": "e f"}},
])  # fmt: skip
def test_what_is_chosen_can_be_typed(value):
    parsed = plainly(OverridesParser.create().parse_override(f"a.b={typed(value)}").value())
    assert parsed == value and type(parsed) is type(value)


def plainly(value):
    if isinstance(value, dict):
        return {str(plainly(k)): plainly(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plainly(v) for v in value]
    return value.text if isinstance(value, QuotedString) else value


def test_what_cannot_fit_says_what_came_nearest(tmp_path):
    with pytest.raises(LthError, match=r"none of 1 networks keeps to bytes<=10; nearest is"):
        fitted(tmp_path, values=[0.5], budget="bytes<=10")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"knob": "prune.rat"}, "there is no rat; did you mean rate"),
        ({"knob": "method.x.moves.0.bits"}, "there is no x: nothing is chosen there"),
        ({"knob": "seed"}, "a seed is chance"),
        ({"knob": "name"}, "it makes no network smaller or better"),
        ({"knob": "out"}, "it makes no network smaller or better"),
        ({"knob": "trainer.workers"}, "it makes no network smaller or better"),
        ({"budget": "bites<=3"}, "no bites is counted; did you mean bytes"),
        ({"budget": "bytes<3"}, "such as fit.budget='bytes<=27000'"),
        ({"budget": "bytes<=1.2.3"}, "no number"),
        ({"values": []}, "a list of values"),
        ({"values": None}, "give fit.values"),
        ({"values": None, "low": 1}, "numbers to bisect"),
        ({"values": None, "low": 2, "high": 1}, "must be below"),
        ({"of": "some"}, "it is one of all, mean"),
        ({"values": [2.0]}, "prune"),
    ],
)
def test_bad_input_is_refused_before_work(more, said, tmp_path):
    with pytest.raises(LthError, match=said):
        fitted(tmp_path, **{"values": [0.5], "budget": "bytes<=900", **more})
    assert not (tmp_path / "out" / "store").exists()


def test_places_in_nested_settings():
    config = {"method": {"m": {"moves": [{"bits": 2}, {"bits": 3}]}}}
    found = with_value(config, "method.m.moves.1.bits", 5)
    assert found["method"]["m"]["moves"] == [{"bits": 2}, {"bits": 5}]
    assert config["method"]["m"]["moves"][1] == {"bits": 3}
    asked = {"knob": "a", "values": [1], "budget": ["bytes <= 2.7e4", "macs<=1_000"]}
    assert search_of({"a": 0, "fit": asked}).limits == (Limit("bytes", 27000), Limit("macs", 1000))


def test_the_command(tmp_path):
    command = [
        sys.executable, "-m", "lth", "action=fit", "fit.knob=prune.rate", "fit.values=[0.3,0.7]",
        "fit.budget=density<=0.5", "trials=1", "levels=[1]", "recipe.steps=10", "logger=none",
        "arms=[winning_ticket]", "trainer.workers=0", f"out={tmp_path}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "chosen: prune.rate=0.7" in done.stdout
    assert "to run it: lth" in done.stdout and "prune.rate=0.7" in done.stdout
    assert done.stdout.count(", test ") == 1
