"""Schedules: torch's own are the oracle."""

from itertools import pairwise

import pytest
import torch
from torch.optim import lr_scheduler

from lth import LthError, config
from lth.recipe.schedule import constant, cosine, held, multistep, stretched
from lth.spec.build import build

STEPS = 40


def torchs(make, steps=STEPS):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def ours(schedule, steps=STEPS):
    return [schedule(step, steps) for step in range(steps)]


def test_multistep_is_torchs():
    expected = torchs(lambda o: lr_scheduler.MultiStepLR(o, [10, 25], 0.1))
    assert ours(multistep([10, 25])) == pytest.approx(expected)


def test_cosine_is_torchs():
    expected = torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS))
    assert ours(cosine()) == pytest.approx(expected)


def test_a_warmup_rises_linearly_to_the_whole_rate_at_its_last_step():
    found = ours(constant(warmup=5))
    assert found[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert set(found[5:]) == {1.0}
    found = ours(multistep([10], gamma=0.5, warmup=20))
    assert found[9] == pytest.approx(0.5) and found[10] == pytest.approx(0.5 * 11 / 20)
    assert found[19] == found[39] == pytest.approx(0.5)


def test_the_papers_resnet_rate_peaks_at_the_end_of_its_warmup():
    found = ours(multistep([20_000, 25_000], warmup=20_000), 30_000)
    assert found[0] == pytest.approx(1 / 20_000)
    assert found[19_999] == 1.0
    assert found[20_000] == pytest.approx(0.1) and found[29_999] == pytest.approx(0.01)


def test_cosine_after_a_warmup_ends_at_its_final_share():
    found = ours(cosine(final=0.1, warmup=10))
    assert found[:10] == pytest.approx([(s + 1) / 10 for s in range(10)])
    assert all(a >= b for a, b in pairwise(found[9:]))
    assert cosine(final=0.1)(STEPS, STEPS) == pytest.approx(0.1)


@pytest.mark.parametrize("warmup", [-1, 1.5, True, "3"])
@pytest.mark.parametrize("factory", [constant, cosine, lambda **k: multistep([3], **k)])
def test_a_warmup_is_a_number_of_steps(factory, warmup):
    with pytest.raises(LthError, match=r"schedule\.warmup="):
        factory(warmup=warmup)


def test_bad_milestones_and_gamma_are_refused():
    with pytest.raises(LthError, match="milestones"):
        multistep([0])
    with pytest.raises(LthError, match="gamma"):
        multistep([3], gamma=0)


@pytest.mark.parametrize("name", config.choices("recipe/schedule"))
def test_every_choice_gives_factors_between_0_and_1(name):
    schedule = build(config.load("recipe/schedule", name))
    assert all(0 <= factor <= 1 for factor in ours(schedule))
    assert ours(schedule)[0] > 0


def test_a_stretched_schedule_comes_later_in_the_same_shape():
    short = multistep([20], warmup=4)
    long = stretched(short, 40)
    assert [long(step, 120) for step in range(120)] == [short(s // 3, 40) for s in range(120)]


def test_a_held_schedule_stays():
    assert {held(multistep([20]), 30)(s, 40) for s in range(40)} == {multistep([20])(30, 40)}
    assert held(multistep([20]), -1)(0, 40) == multistep([20])(39, 40)
