"""Law 3, its pure part: where a level starts. tests/test_study.py holds whole studies to it."""

import pytest
import torch

from lth import LthError, config
from lth.networks.ticket import State
from lth.pruning.rewind import fine_tune, learning_rate, to_epoch, to_init, to_step
from lth.spec.build import build

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


def test_an_epoch_is_converted_to_the_nearest_step():
    assert to_epoch(2, 916.7) == to_step(1833)
    assert to_epoch(0.5, 10.0) == to_step(5)
    with pytest.raises(LthError, match=r"rewind\.epoch=-1"):
        to_epoch(-1, 10.0)


def test_learning_rate_rewinding_keeps_the_trained_state_and_rewinds_the_step():
    rule = learning_rate(7)
    assert rule.needs(10) == ()
    start = rule(dense, TRAINED)
    assert start.state == TRAINED and start.step == 7 and start.schedule is None
    with pytest.raises(LthError, match="leaves nothing to train"):
        learning_rate(10).needs(10)


def test_fine_tuning_goes_on_at_the_last_rate_only():
    multistep = {"_target_": "lth.recipe.schedule.multistep", "milestones": [50, 80], "gamma": 0.1}
    start = fine_tune(60, 100, multistep)(dense, TRAINED)
    assert start.state == TRAINED and start.step == 40
    held = build(start.schedule)
    assert [held(step, 100) for step in (40, 60, 99)] == pytest.approx([0.01] * 3)
    with pytest.raises(LthError, match=r"rewind\.length=101: .* recipe\.steps=100"):
        fine_tune(101, 100, multistep)


@pytest.mark.parametrize("name", config.choices("rewind"))
def test_every_choice_starts_inside_the_run_from_steps_it_named(name):
    schedule = {"_target_": "lth.recipe.schedule.constant"}
    spec = config.load("rewind", name)
    rule, asked = build(spec, steps=500, schedule=schedule, steps_per_epoch=20.0), []

    def remember(step):
        asked.append(step)
        return dense(step)

    start = rule(remember, TRAINED)
    assert set(asked) <= set(rule.needs(500))
    assert 0 <= start.step < 500
    assert start.state.params.keys() == TRAINED.params.keys()
    assert start.state.buffers.keys() == TRAINED.buffers.keys()


def test_the_statistics_of_norms_are_a_choice_of_every_rule():
    buffers = {"rewound": dense(7), "trained": TRAINED, "initial": dense(0)}
    constant = {"_target_": "lth.recipe.schedule.constant"}
    for statistics, source in buffers.items():
        start = to_step(7, statistics)(dense, TRAINED)
        assert same(start.state.params, dense(7).params)
        assert same(start.state.buffers, source.buffers)
        if statistics != "rewound":
            for rule in (learning_rate(7, statistics), fine_tune(5, 10, constant, statistics)):
                start = rule(dense, TRAINED)
                assert same(start.state.params, TRAINED.params)
                assert same(start.state.buffers, source.buffers)
    distinct = {float(next(iter(s.buffers.values())).sum()) for s in buffers.values()}
    assert len(distinct) == 3
    with pytest.raises(LthError, match=r"rewind\.statistics=kept: it is one of rewound"):
        to_step(0, "kept")
    with pytest.raises(LthError, match=r"rewind\.statistics=rewound: it is one of trained"):
        learning_rate(0, "rewound")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)
