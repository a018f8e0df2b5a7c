"""Law 7: every YAML in conf/ composes and builds, and every experiment runs."""

import functools
import re
import shlex
from dataclasses import asdict

import pytest
import torch

from lth import LthError, config
from lth.arms import random_mask
from lth.cli import GROUPS
from lth.networks.ticket import draw_model
from lth.recipe.recipe import Recipe
from lth.spec.build import build, complete, fill
from lth.train.options import Options
from tests.toys import by_hydra, pictures, run_study, setup_of

CONF = config.conf_folder()
FILES = sorted(p.relative_to(CONF) for p in CONF.rglob("*.yaml"))
EXPERIMENTS = config.choices("experiment")
CHOICES = [(g, n) for g in GROUPS if g != "arms" for n in config.choices(g)]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_file_says_what_it_is_in_its_first_line(path):
    first = (CONF / path).read_text().splitlines()[0]
    if path.parts[0] == "experiment":
        first = (CONF / path).read_text().splitlines()[1]
    assert re.match(r"# \S+ \S+", first), first


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_hydra_and_python_compose_the_same(group, name):
    ours, theirs = config.compose(**{group: name}), by_hydra(f"{group}={name}")
    assert ours.pop("name") and ours | {"name": theirs["name"]} == theirs
    assert complete(ours)


@pytest.mark.parametrize("names", [["random_mask"], config.choices("arms")], ids=str)
def test_arms_compose_the_same_in_the_order_asked_for(names):
    ours, theirs = config.compose(arms=names), by_hydra(f"arms=[{','.join(names)}]")
    assert ours["arms"] == theirs["arms"] and list(ours["arms"]) == names


def test_settings_lie_over_choices_the_same_way():
    theirs = by_hydra("recipe=resnet18", "recipe.lr=[0.1,0.01]", "recipe/optimizer=nesterov",
                      "prune.rate=0.3", "levels=7", "arms.random_reinit.copies=3")  # fmt: skip
    ours = config.compose(
        recipe="resnet18", levels=7, prune={"rate": 0.3},
        arms={"winning_ticket": {}, "random_reinit": {"copies": 3}},
    )  # fmt: skip
    assert {k: v for k, v in ours.items() if k not in ("name", "recipe")} == {
        k: v for k, v in theirs.items() if k not in ("name", "recipe")
    }
    assert theirs["recipe"]["optimizer"]["nesterov"] and theirs["recipe"]["lr"] == [0.1, 0.01]
    assert theirs["recipe"]["schedule"] == ours["recipe"]["schedule"]


def test_an_experiment_chooses_within_a_choice_the_same_way(tmp_path):
    text = "# @package _global_\ndefaults:\n  - override /recipe/schedule: cosine\n"
    text += "  - override /recipe/optimizer: sgd\nrecipe: {schedule: {final: 0.1}}\nname: mine\n"
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    recipe = config.compose(config_dir=tmp_path, experiment="mine")["recipe"]
    assert recipe["schedule"] == config.load("recipe/schedule", "cosine") | {"final": 0.1}
    assert recipe["optimizer"] == config.load("recipe/optimizer", "sgd")


def test_what_is_asked_for_wins_over_the_experiment():
    preset = "frankle2019/lenet"
    assert config.compose(experiment=preset)["arms"]["random_reinit"]["copies"] == 3
    asked = {"random_reinit": {"copies": 2}}
    theirs = by_hydra(f"experiment={preset}", "arms=[random_reinit]", "prune.output_rate=0.3",
                      "levels=3", "arms.random_reinit.copies=2")  # fmt: skip
    ours = config.compose(experiment=preset, arms=asked, levels=3, prune={"output_rate": 0.3})
    assert ours == theirs
    own = config.compose(experiment=preset, arms={"random_reinit": random_mask})["arms"]
    assert own["random_reinit"] == {"copies": 3, "_target_": "lth.arms.random_mask"}


def test_what_is_asked_of_an_arm_inside_an_arm_lies_over_its_choice(tmp_path):
    name = "rigl_equal_flops"
    theirs = by_hydra(f"arms=[{name}]", f"arms.{name}.of.counts=winner")["arms"]
    asked = {name: {"of": {"counts": "winner"}}}
    assert theirs[name]["of"]["counts"] == "winner" and theirs[name]["of"]["every"] == 100
    assert config.compose(arms=asked)["arms"] == theirs
    written = {"own": {"_target_": "lth.arms.random_mask", "counts": "erk"}}
    text = "# @package _global_\ndefaults:\n  - override /arms: [rigl_equal_flops]\n"
    text += f"arms: {dict(asked) | written}\nname: mine\n"
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    mine = config.compose(config_dir=tmp_path, experiment="mine")["arms"]
    assert mine == {**theirs, "own": {"copies": 1, **written["own"]}}
    assert list(mine) == [name, "own"]


@pytest.mark.parametrize(("group", "name"), [c for c in CHOICES if c[0] == "model"])
def test_every_model_builds_and_runs(group, name):
    spec = fill(config.load(group, name), input_shape=[3, 32, 32], classes=10)
    assert draw_model(spec, 0).eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("name", config.choices("recipe"))
def test_every_recipe_builds_and_writes_all_its_fields(name):
    values = config.load("recipe", name)
    made = Recipe(**values)
    assert asdict(made).keys() == values.keys()
    assert made.steps % made.eval_every == 0 or made.evaluations(0)[-1] == made.steps


@pytest.mark.parametrize("name", config.choices("trainer"))
def test_every_trainer_builds_or_says_why_not(name):
    values = config.load("trainer", name)
    assert values.keys() == asdict(Options()).keys() - {"lightning"}  # whatever else is there
    if values["device"] == "cuda" and not torch.cuda.is_available():
        with pytest.raises(LthError, match="torch sees no GPU here"):
            Options(**values)
    else:
        Options(**values)


@pytest.mark.parametrize("name", config.choices("logger"))
def test_every_logger_builds(name):
    if name == "tensorboard":
        pytest.importorskip("tensorboard")
    logger = build(config.load("logger", name))
    assert all(callable(getattr(logger, m)) for m in ("start", "log", "finish", "abort"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_states_claim_command_cost_and_expectation(name):
    text = (CONF / "experiment" / f"{name}.yaml").read_text()
    head = text[: text.index("defaults:")]
    found = {w: re.search(rf"^# {w}:\s+(.+)", head, re.M) for w in
             ("Claim", "Command", "Cost", "Expected")}  # fmt: skip
    assert all(found.values()), found
    words = shlex.split(found["Command"][1])
    assert words[:2] == ["lth", f"experiment={name}"]
    assert all(len(line) <= 110 for line in text.splitlines())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_the_same_and_costs_what_it_says(name):
    ours, theirs = config.compose(experiment=name), by_hydra(f"experiment={name}")
    assert ours == theirs
    copies = sum(a["copies"] for n, a in ours["arms"].items() if n != "winning_ticket")
    levels = ours["levels"] if isinstance(ours["levels"], list) else range(1, ours["levels"] + 1)
    search = build(ours["search"])
    route = {*levels, *(n for level in levels for n in search.trained_levels(level))} - {0}
    rate = ours["recipe"]["lr"]
    lines = ours["trials"] * (len(rate) if isinstance(rate, list) else 1)
    members = lines * (1 + len(route) + len(levels) * copies)
    text = (CONF / "experiment" / f"{name}.yaml").read_text()
    assert f"{members} members of {ours['recipe']['steps']:,} steps" in text


def one_copy(arms):
    """The same arms, a copy each: the large networks take seconds per member."""
    return {n: a | {"copies": 1} for n, a in arms.items()}


def on_a_few(value):
    """The same moves for ten images, once through, for one level."""
    if isinstance(value, dict):
        few = {"level": 1, "labels": 5, "repeat": 1}
        few = {k: v for k, v in few.items() if value.get(k)}
        return {k: on_a_few(v) for k, v in value.items()} | few
    return [on_a_few(v) for v in value] if isinstance(value, list) else value


def short(spec):
    """The same rule, search or score for three steps of training on ten images."""
    few = {"step": 0, "length": 3, "every": 1, "per_class": 1}
    return spec | {name: value for name, value in few.items() if name in spec}


HEAVY = [n for n in EXPERIMENTS if n.startswith("compression/") and n != "compression/lenet"]
"""Their methods are tried by the laws, each by itself; all of them together take seconds."""


def tiny(name, wanted):
    """What makes an experiment one of seconds, with all that it is made of."""
    channels, size = (1, 28) if "mnist" in wanted["data"]["_target_"] else (3, 32)
    narrow = {"width": 8} if wanted["model"]["_target_"].endswith("vgg") else {}  # of 20 million
    return {
        "experiment": name, "trials": 1, "levels": 1, "name": None, "model": narrow,
        "data": functools.partial(pictures, channels=channels, size=size, validation=2,
                                  augment=wanted["data"].get("augment")),
        "recipe": {"steps": 3, "batch": 4, "eval_every": 2},
        **{group: short(wanted[group]) for group in ("rewind", "search", "score")},
        "arms": list(wanted["arms"]) if name.endswith("lenet") else one_copy(wanted["arms"]),
        "method": on_a_few(wanted["method"]),
    }  # fmt: skip


@pytest.mark.parametrize("name", HEAVY)
def test_what_is_looked_at_before_any_work_lets_every_experiment_pass(name, tmp_path):
    assert setup_of(tmp_path, **tiny(name, config.compose(experiment=name))).parts


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in HEAVY else n for n in EXPERIMENTS]
)
def test_every_experiment_runs_a_few_steps_on_tiny_data(name, tmp_path):
    wanted = config.compose(experiment=name)
    study = run_study(out=tmp_path, **tiny(name, wanted))
    places = {p for p in study.members if not p.phase}
    arms = wanted["arms"]
    expected = {("winning_ticket", 0), *((arm, 1) for arm in arms)}
    assert {(p.arm, p.level) for p in places} == expected
    assert {p.arm for p in study.members} == {*arms, *wanted["method"]}
    if name.endswith("lenet"):
        assert len(places) == 1 + sum(a["copies"] for a in arms.values())
    lr = min(p.lr for p in places)
    first, second = (study.ticket(level=level, lr=lr) for level in (0, 1))
    assert second.density < first.density == 1.0
    steps = {r.step for r in study.records if r.split == "test" and r.arm == "winning_ticket"}
    assert max(steps) == 3
