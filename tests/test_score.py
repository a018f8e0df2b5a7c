"""Scores: their formulas, and what every choice in conf/ must do."""

import pytest
import torch

from lth import config, prune
from lth.layers import Layers
from lth.score import magnitude, random
from lth.spec import build
from lth.streams import stream

SCORES = config.choices("score")
MASK = {"a": torch.tensor([True, True, False]), "b": torch.ones(2, 2, dtype=torch.bool)}
FINAL = {"a": torch.tensor([-3.0, 1.0, 0.0]), "b": torch.randn(2, 2), "bias": torch.randn(2)}
INITIAL = {n: torch.randn(v.shape) for n, v in FINAL.items()}


def call(score, seed=0):
    return score(FINAL, initial=INITIAL, mask=MASK, generator=stream("score", seed))


def test_magnitude_is_the_absolute_value():
    found = call(magnitude())
    assert found["a"].tolist() == [3.0, 1.0, 0.0]
    assert torch.equal(found["b"], FINAL["b"].abs())


def test_random_depends_on_its_generator_and_on_nothing_else():
    a, b, other = call(random()), call(random()), call(random(), seed=1)
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert not torch.equal(a["b"], other["b"])


def test_random_scores_prune_every_weight_equally_often():
    layers = Layers({"w": (10,)}, frozenset(), "w")
    mask = {"w": torch.ones(10, dtype=torch.bool)}
    score, rule = random(), prune.globally(0.3)
    gone = torch.zeros(10)
    for seed in range(2000):
        scores = score({}, initial={}, mask=mask, generator=stream(seed))
        gone += ~rule(scores, mask, layers)["w"]
    assert ((gone / 2000 - 0.3).abs() < 0.05).all()  # 5 standard deviations


@pytest.mark.parametrize("name", SCORES)
def test_every_choice_scores_every_prunable_weight_and_changes_nothing(name):
    before = {n: v.clone() for n, v in FINAL.items()}
    found = call(build(config.load("score", name)))
    assert list(found) == list(MASK)
    for weight, value in found.items():
        assert value.shape == MASK[weight].shape
        assert value[MASK[weight]].isfinite().all()
    assert all(torch.equal(FINAL[n], v) for n, v in before.items())
