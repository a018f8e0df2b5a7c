"""Recipes: their range checks, their evaluations, and what of them determines a member."""

import pytest

from lth import LthError, config
from lth.recipe.recipe import Recipe

SGD = config.load("recipe/optimizer", "sgd")


def recipe(**changes):
    return Recipe(**{"steps": 20, "batch": 8, "lr": 0.1, "optimizer": SGD} | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, r"recipe\.steps=0: it must be a whole number from 1"),
        ({"steps": 2.5}, r"recipe\.steps=2\.5"),
        ({"batch": -1}, r"recipe\.batch=-1"),
        ({"eval_every": True}, r"recipe\.eval_every=True"),
        ({"lr": 0}, r"recipe\.lr=0: a learning rate is a number above 0"),
        ({"lr": -1.0}, r"recipe\.lr=-1\.0"),
        ({"lr": float("nan")}, r"recipe\.lr=nan"),
        ({"lr": float("inf")}, r"recipe\.lr=inf"),
        ({"lr": [0.1, "x"]}, r"recipe\.lr='x'"),
        ({"lr": []}, "name at least one learning rate"),
        ({"lr": [0.1, 0.1]}, "each once"),
        ({"curves": ["tests"]}, "'tests' is not one of train, validation, test"),
        (
            {"optimizer": SGD | {"momentumm": 0.9}},
            r"recipe\.optimizer=torch\.optim\.SGD: .*momentu",
        ),
        ({"optimizer": SGD | {"nesterov": True}}, "Nesterov momentum requires"),
        ({"optimizer": {"momentum": 0.9}}, "needs a _target_"),
        ({"schedule": {"_target_": "lth.recipe.schedule.constant", "warmup": -1}}, "warmup"),
        ({"loss": {"_target_": "lth.recipe.loss.cross_entropi"}}, "has no 'cross_entropi'"),
    ],
)
def test_a_bad_recipe_is_refused_in_one_line(changes, words):
    with pytest.raises(LthError, match=words) as caught:
        recipe(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("start", "expected"),
    [(0, [0, 6, 12, 18, 20]), (5, [5, 6, 12, 18, 20]), (6, [6, 12, 18, 20]), (19, [19, 20])],
)
def test_evaluations_are_at_the_start_at_the_cadence_and_at_the_end(start, expected):
    assert recipe(eval_every=6).evaluations(start) == expected


def test_one_rate_and_a_list_of_one_are_the_same():
    assert recipe(lr=0.1).rates == recipe(lr=[0.1]).rates == [0.1]


def test_validation_is_always_measured():
    assert recipe(curves=[]).splits == ["validation"]
    assert recipe(curves=["test", "train"]).splits == ["train", "validation", "test"]
