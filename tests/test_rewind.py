"""Law 3, its pure part: where a level starts. tests/test_study.py holds whole studies to it."""

import pytest
import torch

from lth import LthError, config
from lth.rewind import to_init, to_step
from lth.spec import build
from lth.ticket import State

TRAINED = State({"w": torch.tensor([9.0])}, {"mean": torch.tensor([8.0])})


def dense(step):
    return State({"w": torch.tensor([float(step)])}, {"mean": torch.tensor([-float(step)])})


@pytest.mark.parametrize("step", [0, 1, 7])
def test_to_step_gives_params_and_buffers_of_the_dense_run_at_that_step(step):
    start = to_step(step)(dense, TRAINED)
    assert start.step == step
    assert start.state.params["w"].item() == step and start.state.buffers["mean"].item() == -step


def test_to_init_is_step_0():
    assert to_init() == to_step(0)
    assert to_init().needs(10) == (0,)


def test_the_step_must_leave_something_to_train():
    assert to_step(9).needs(10) == (9,)
    for step in (10, 11):
        with pytest.raises(LthError, match=rf"rewind.step={step} leaves nothing to train"):
            to_step(step).needs(10)


@pytest.mark.parametrize("step", [-1, 1.5, "3", True, None])
def test_a_step_is_a_whole_number(step):
    with pytest.raises(LthError, match=r"rewind\.step="):
        to_step(step)


@pytest.mark.parametrize("name", config.choices("rewind"))
def test_every_choice_starts_inside_the_run_from_steps_it_named(name):
    rule, asked = build(config.load("rewind", name)), []

    def remember(step):
        asked.append(step)
        return dense(step)

    start = rule(remember, TRAINED)
    assert set(asked) <= set(rule.needs(100))
    assert 0 <= start.step < 100
    assert start.state.params.keys() == TRAINED.params.keys()
    assert start.state.buffers.keys() == TRAINED.buffers.keys()
