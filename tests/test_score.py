"""Scores: their formulas, and what every choice in conf/ must do."""

import pytest
import torch
from torch.func import functional_call

from lth import LthError, config
from lth.networks import masks
from lth.networks.layers import Layers
from lth.networks.ticket import draw_model, draw_state, layers_of
from lth.pruning import rules as prune
from lth.pruning import score as scores
from lth.pruning.probe import Probe
from lth.pruning.score import magnitude, random
from lth.recipe.loss import cross_entropy
from lth.spec.build import build
from lth.streams import stream
from tests.conftest import blobs

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


NET = {"_target_": "tests.toys.norm_net", "input_shape": [1, 4, 4], "classes": 4}


def context(spec=NET, seed=0):
    """A small network, half pruned, and what the loop gives a score."""
    params, buffers = draw_state(spec, seed)
    final = draw_state(spec, seed + 1).params
    generator = torch.Generator().manual_seed(seed)
    shapes = layers_of(spec).shapes
    mask = {n: torch.rand(s, generator=generator) < 0.5 for n, s in shapes.items()}
    data = blobs()

    def examples(number, generator):
        rows = torch.randperm(200, generator=generator)[:number]
        return data.prepare(data.train_inputs[rows]), data.train_targets[rows]

    probe = Probe(spec, (1, 4, 4), 4, cross_entropy(), examples)
    return masks.apply(final, mask), {
        "initial": params, "mask": mask, "buffers": buffers, "probe": probe,
    }  # fmt: skip


def scored(score, spec=NET):
    final, given = context(spec)
    return score(final, generator=stream("x"), **given), final, given


@pytest.mark.parametrize("name", ["snip", "grasp", "synflow", "gradient_magnitude"])
def test_a_score_that_needs_examples_says_so_when_it_is_given_none(name):
    with pytest.raises(LthError, match=r"needs a model and training examples.*probe="):
        call(build(config.load("score", name)))


@pytest.mark.parametrize("name", SCORES)
def test_every_choice_scores_every_prunable_weight_and_changes_nothing(name):
    before, _ = context()
    found, final, given = scored(build(config.load("score", name)))
    assert list(found) == list(given["mask"])
    for weight, value in found.items():
        assert value.shape == given["mask"][weight].shape and not value.requires_grad
        assert value[given["mask"][weight]].isfinite().all()
    assert all(torch.equal(final[n], v) for n, v in before.items())
    again, _, _ = scored(build(config.load("score", name)))
    assert all(torch.equal(again[n], v) for n, v in found.items())


WI = torch.tensor([1.0, -2.0, 3.0, -1.0, 2.0])
WF = torch.tensor([2.0, -1.0, -4.0, 0.5, 2.5])
CRITERIA = {  # by hand
    "magnitude": [2, 1, 4, 0.5, 2.5],
    "small_final": [-2, -1, -4, -0.5, -2.5],
    "large_init": [1, 2, 3, 1, 2],
    "small_init": [-1, -2, -3, -1, -2],
    "large_init_large_final": [1, 1, 3, 0.5, 2],
    "small_init_small_final": [-2, -2, -4, -1, -2.5],
    "magnitude_increase": [1, -1, 1, -0.5, 0.5],
    "movement": [1, 1, 7, 1.5, 0.5],
    "large_final_same_sign": [2, 1, 0, 0, 2.5],
    "large_final_diff_sign": [0, 0, 4, 0.5, 0],
    "magnitude_increase_same_sign": [1, -1, 0, 0, 0.5],  # 0 beats a weight that has shrunk
    "magnitude_increase_diff_sign": [0, 0, 1, -0.5, 0],
}


@pytest.mark.parametrize("name", CRITERIA)
def test_criteria_are_their_formulas(name):
    mask = {"w": torch.ones(5, dtype=torch.bool)}
    found = getattr(scores, name)()({"w": WF}, initial={"w": WI}, mask=mask)
    assert found["w"].tolist() == CRITERIA[name]


def test_inverted_is_the_other_way_round():
    found, _, given = scored(scores.inverted(magnitude()))
    straight, _, _ = scored(magnitude())
    assert all(torch.equal(found[n], -straight[n]) for n in given["mask"])


def loss_at(final, given, number, temperature=1.0):
    """The loss as a plain function of the masked weights, in float64, written anew."""
    inputs, targets = given["probe"].examples(number, stream("x"))
    model = draw_model(given["probe"].model, 0).double().train()
    rest = {n: p.double() for n, p in final.items()}
    buffers = {n: b.double() if b.is_floating_point() else b for n, b in given["buffers"].items()}

    def loss(weights):
        seen = rest | weights
        copies = {n: b.clone() for n, b in buffers.items()}
        logits = functional_call(model, (seen, copies), (inputs.double(),)) / temperature
        return torch.nn.functional.cross_entropy(logits, targets)

    return loss


def difference(function, weights, name, index, size):
    """The central difference of ``function`` in one weight."""
    values = []
    for sign in (1, -1):
        moved = {n: w.clone() for n, w in weights.items()}
        moved[name].view(-1)[index] += sign * size
        values.append(function(moved))
    return (values[0] - values[1]) / (2 * size)


def test_snip_is_the_slow_formula():
    found, final, given = scored(scores.snip(per_class=5))
    gradients, _, _ = scored(scores.gradient_magnitude(per_class=5))
    loss = loss_at(final, given, 20)
    weights = {n: final[n].double() for n in given["mask"]}
    for name, mask in given["mask"].items():
        for index in mask.reshape(-1).nonzero()[:6, 0].tolist():
            slope = difference(loss, weights, name, index, 1e-5)
            value = weights[name].view(-1)[index]
            expected = abs(float(slope * value))
            assert float(found[name].view(-1)[index]) == pytest.approx(expected, rel=1e-3, abs=1e-6)
            assert float(gradients[name].view(-1)[index]) == pytest.approx(
                abs(float(slope)), rel=1e-3, abs=1e-6
            )


def test_grasp_is_the_slow_formula():
    """``w * (H g)``: half the change of ``g^T g`` with w, by differences of the gradient's norm."""
    found, final, given = scored(scores.grasp(per_class=5, temperature=2.0))
    loss = loss_at(final, given, 20, temperature=2.0)

    def norm(weights):
        leaves = {n: w.clone().requires_grad_() for n, w in weights.items()}
        gradients = torch.autograd.grad(loss(leaves), list(leaves.values()))
        return sum((g * g).sum() for g in gradients)

    weights = {n: final[n].double() for n in given["mask"]}
    for name, mask in given["mask"].items():
        for index in mask.reshape(-1).nonzero()[:5, 0].tolist():
            slope = difference(norm, weights, name, index, 1e-5)
            expected = float(slope / 2 * weights[name].view(-1)[index])
            assert float(found[name].view(-1)[index]) == pytest.approx(expected, rel=2e-2, abs=1e-6)


def test_synflow_is_the_sum_over_all_paths():
    """On a network of two layers: ``|w1_ji| sum_k |w2_kj|``, by hand."""
    spec = {"_target_": "tests.toys.mlp", "input_shape": [1, 4, 4], "classes": 4, "width": 5}
    found, final, _ = scored(scores.synflow(), spec)
    first, second = final["1.weight"].double().abs(), final["3.weight"].double().abs()
    into = first.sum(1) + final["1.bias"].double().abs()
    torch.testing.assert_close(found["1.weight"], first * second.sum(0)[:, None])
    torch.testing.assert_close(found["3.weight"], second * into[None, :])
    assert found["1.weight"].dtype == torch.float64


def test_synflow_does_not_overflow_where_float32_would():
    spec = {"_target_": "tests.toys.deep", "depth": 60, "width": 40, "scale": 3.0}
    found, _, _ = scored(scores.synflow(), spec)
    largest = max(float(s.max()) for s in found.values())
    assert largest > 3.5e38 and all(s.isfinite().all() for s in found.values())
