"""Law 2 (the densities), law 4 (nesting) and law 6 (an independent oracle) of pruning."""

import warnings
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune as torch_prune

import lth
from lth import LthError, config
from lth.models import conv, lenet, resnet, vgg
from lth.networks import masks
from lth.networks.layers import Layers, describe
from lth.pruning.rules import Prune, drop_lowest, globally, kept_by_level, layerwise
from lth.spec.build import build
from lth.streams import stream

RULES = config.choices("prune")

# Frankle & Carbin 2019: every density that the paper prints, and the rest of each ladder, by level
LADDERS = {
    "lenet": [80.04, 64.06, 51.28, 41.05, 32.87, 26.32, 21.07, 16.88, 13.52, 10.83, 8.68, 6.95,
              5.57, 4.47, 3.58, 2.87, 2.31, 1.85, 1.49, 1.19],
    "conv2": [80.10, 64.16, 51.41, 41.20, 33.02, 26.47, 21.23, 17.03, 13.66, 10.97, 8.81, 7.08,
              5.69, 4.57, 3.68, 2.97, 2.39, 1.93, 1.56, 1.26],
    "conv4": [81.08, 65.84, 53.55, 43.63, 35.61, 29.13, 23.88, 19.62, 16.16, 13.35, 11.06, 9.18,
              7.65, 6.40, 5.37, 4.51, 3.81, 3.23, 2.75, 2.34],
    "conv6": [82.54, 68.20, 56.39, 46.68, 38.67, 32.07, 26.61, 22.11, 18.38, 15.29, 12.74, 10.62,
              8.86, 7.39, 6.18, 5.17, 4.32, 3.62, 3.03, 2.54],
    "resnet18": [80.24, 64.43, 51.78, 41.66, 33.56, 27.09, 21.91, 17.76, 14.44, 11.79, 9.67, 7.97,
                 6.61, 5.53, 4.66, 3.96, 3.41, 2.96, 2.61, 2.32],
    "vgg19": [80.01, 64.01, 51.21, 40.98, 32.79, 26.23, 20.99, 16.80, 13.44, 10.76, 8.61, 6.90,
              5.52, 4.42, 3.54, 2.84, 2.28, 1.83, 1.47, 1.18],
}  # fmt: skip

CIFAR = {"input_shape": (3, 32, 32), "classes": 10}
MODELS = {
    "lenet": lambda: lenet(input_shape=(1, 28, 28), classes=10),
    "conv2": lambda: conv(blocks=[64], **CIFAR),
    "conv4": lambda: conv(blocks=[64, 128], **CIFAR),
    "conv6": lambda: conv(blocks=[64, 128, 256], **CIFAR),
    "resnet18": lambda: resnet(depth=20, **CIFAR),
    "vgg19": lambda: vgg(depth=19, **CIFAR),
}


def layers_of(name):
    with torch.device("meta"):  # shapes are all that is asked
        return describe(MODELS[name]())


@pytest.mark.parametrize("name", LADDERS)
def test_densities_are_those_of_the_papers(name):
    layers = layers_of(name)
    rule = build(config.compose(experiment=f"frankle2019/{name}")["prune"])
    kept = kept_by_level(rule, layers, 20)
    assert kept[0] == layers.total
    assert [round(100 * k / layers.total, 2) for k in kept[1:]] == LADDERS[name]


@pytest.mark.parametrize("name", ["lenet", "conv6", "resnet18"])
def test_the_masks_follow_the_recursion_exactly(name):
    layers = layers_of(name)
    rule = build(config.compose(experiment=f"frankle2019/{name}")["prune"])
    generator = torch.Generator().manual_seed(0)
    mask = masks.full(layers, rule.prunable(layers))
    unprunable = layers.total - sum(layers.sizes[n] for n in mask)
    for kept in kept_by_level(rule, layers, 8)[1:]:
        scores = {n: torch.randn(m.shape, generator=generator).abs() for n, m in mask.items()}
        mask = rule(scores, mask, layers)
        assert sum(masks.kept(mask).values()) + unprunable == kept


def small(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(45, 13), nn.Linear(13, 7))


def magnitudes(model):
    return {n: p.detach().abs() for n, p in model.named_parameters() if n.endswith("weight")}


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.37, 0.45])
@pytest.mark.parametrize("kind", ["layerwise", "globally"])
def test_magnitude_pruning_is_torchs_own(kind, rate):
    """``torch.nn.utils.prune`` is the independent oracle, level after level."""
    model = small()
    layers, scores = describe(model), magnitudes(model)
    rule = layerwise(rate, output_rate=rate) if kind == "layerwise" else globally(rate)
    mask = masks.full(layers, layers.shapes)
    pairs = [(model[i], "weight") for i in (0, 2, 3)]
    for _ in range(3):
        mask = rule(scores, mask, layers)
        if kind == "globally":
            torch_prune.global_unstructured(pairs, torch_prune.L1Unstructured, amount=rate)
        else:
            for module, weight in pairs:
                torch_prune.l1_unstructured(module, weight, rate)
        for index in (0, 2, 3):
            assert torch.equal(mask[f"{index}.weight"], model[index].weight_mask.bool())


def test_rates_come_by_layer_output_and_name():
    layers = describe(small())
    rule = layerwise(0.2, conv_rate=0.1)
    assert rule.by_layer(layers) == {"0.weight": 0.1, "2.weight": 0.2, "3.weight": 0.1}
    rule = layerwise(0.2, output_rate=0.3, rates={"0.*": 0.0})
    assert rule.by_layer(layers) == {"0.weight": 0.0, "2.weight": 0.2, "3.weight": 0.3}
    assert rule.prunable(layers) == ["2.weight", "3.weight"]
    assert globally(spare=["output", "0.*"]).prunable(layers) == ["2.weight"]
    only = Layers({"c": (10,)}, frozenset({"c"}), "c")
    assert layerwise(0.2, conv_rate=0.1).by_layer(only) == {"c": 0.05}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("ties", [False, True])
def test_every_choice_nests_is_exact_and_keeps_the_highest(name, ties):
    rule, layers = build(config.load("prune", name)), describe(small())
    mask = masks.full(layers, rule.prunable(layers))
    kept = kept_by_level(rule, layers, 10)
    generator = torch.Generator().manual_seed(1)
    for level in range(1, 11):
        scores = {n: torch.rand(m.shape, generator=generator) for n, m in mask.items()}
        if ties:
            scores = {n: (4 * s).round() for n, s in scores.items()}
        after = rule(scores, mask, layers)
        assert all(torch.equal(after[n], m) for n, m in rule(scores, mask, layers).items())
        assert masks.is_nested(after, mask)
        assert sum(masks.kept(after).values()) == kept[level]
        for weight, m in after.items():
            gone = mask[weight] & ~m
            if gone.any() and m.any():
                assert scores[weight][gone].max() <= scores[weight][m].min()
        mask = after


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.data())
def test_exactly_so_many_go_and_of_equals_those_whose_turn_it_is(values, data):
    alive = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    count = data.draw(st.integers(0, sum(alive)))
    cut = data.draw(st.integers(0, len(values)))
    parts = {"a": slice(0, cut), "b": slice(cut, None)}  # over two layers as over one
    mask = {n: torch.tensor(alive, dtype=torch.bool)[s] for n, s in parts.items()}
    scores = {n: torch.tensor(values, dtype=torch.float32)[s] for n, s in parts.items()}
    ties = data.draw(st.integers(0, 3))
    found = drop_lowest(scores, mask, count, ties)
    turn = torch.randperm(len(values), generator=stream("ties", ties, "a", "b")).tolist()
    order = sorted((v, turn[i], i) for i, v in enumerate(values) if alive[i])
    expected = [a and (values[i], turn[i], i) not in order[:count] for i, a in enumerate(alive)]
    assert torch.cat([found["a"], found["b"]]).tolist() == expected
    assert all(torch.equal(mask[n], torch.tensor(alive, dtype=torch.bool)[s])
               for n, s in parts.items())  # fmt: skip


@pytest.mark.parametrize("rule", [layerwise(0.5), globally(0.5)], ids=["layerwise", "globally"])
def test_constant_scores_delete_no_rows_and_other_seeds_other_weights(rule):
    layers = Layers({"a": (40, 50), "b": (40, 50), "c": (40, 50)}, frozenset(), "c")
    full = masks.full(layers, layers.shapes)
    constant = {n: torch.zeros(m.shape) for n, m in full.items()}
    before = torch.get_rng_state()
    found = [rule(constant, full, layers, ties=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    for name in "ab":
        rows = found[0][name].sum(1)
        assert rows.min() > 10 and rows.max() < 40
        assert torch.equal(found[0][name], found[1][name])
        assert not torch.equal(found[0][name], found[2][name])
    assert not torch.equal(found[0]["a"], found[0]["b"])  # nor is it one pattern in every layer
    deeper = rule(constant, found[0], layers, ties=0)
    again = rule(constant, rule(constant, full, layers, ties=0), layers, ties=0)
    assert all(torch.equal(deeper[n], again[n]) for n in deeper)
    assert masks.is_nested(deeper, found[0])


@pytest.mark.parametrize("rule", [layerwise(0.3), globally(0.3)], ids=["layerwise", "globally"])
def test_without_equals_the_seed_of_ties_changes_nothing(rule):
    layers = describe(small())
    mask = masks.full(layers, layers.shapes)
    for _ in range(3):
        a, b = (rule(magnitudes(small()), mask, layers, ties=seed) for seed in (0, 99))
        assert all(torch.equal(a[n], b[n]) for n in a)
        mask = a


def test_a_dead_weight_is_never_pruned_again_however_low_its_score():
    mask = {"w": torch.tensor([True, False, True, True])}
    found = drop_lowest({"w": torch.tensor([3.0, -9.0, 1.0, 2.0])}, mask, 1)
    assert found["w"].tolist() == [True, False, False, True]


def test_float32_ranks_survive_a_mixed_precision_score():
    scores = {"a": torch.tensor([1.0, 1.0 + 2**-20]), "b": torch.tensor([1.0 + 2**-21])}
    mask = {n: torch.ones(s.shape, dtype=torch.bool) for n, s in scores.items()}
    found = drop_lowest(scores, mask, 2)
    assert [found["a"].tolist(), found["b"].tolist()] == [[False, True], [False]]


def test_scores_that_are_not_numbers_are_refused():
    mask = {"w": torch.tensor([True, True])}
    with pytest.raises(LthError, match="score: it gives NaN"):
        drop_lowest({"w": torch.tensor([1.0, torch.nan])}, mask, 1)
    dead = {"w": torch.tensor([True, False])}
    assert not drop_lowest({"w": torch.tensor([1.0, torch.nan])}, dead, 1)["w"].any()


def test_layer_collapse_warns_by_name_and_once():
    layers = Layers({"a": (4,), "b": (8,)}, frozenset(), "b")
    mask = masks.full(layers, layers.shapes)
    scores = {"a": torch.zeros(4), "b": torch.ones(8)}
    with pytest.warns(UserWarning, match="layer collapse: no weight of a is left"):
        mask = globally(0.5)(scores, mask, layers)
    assert masks.kept(mask) == {"a": 0, "b": 6}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        globally(0.5)(scores, mask, layers)


def test_levels_that_would_prune_nothing_are_refused_naming_the_last_useful_one():
    layers = Layers({"a": (10,)}, frozenset(), "none")
    rule = globally(0.2)
    kept = kept_by_level(rule, layers, 6)
    assert kept == [10, 8, 6, 5, 4, 3, 2]  # Python's round: 0.5 and 2.5 to even
    assert all(a > b for a, b in pairwise(kept))
    with pytest.raises(LthError, match=r"levels=9: level 7 would prune nothing; .* levels=6"):
        kept_by_level(rule, layers, 9)


@pytest.mark.parametrize("rate", [0, 1, 1.0, -0.2, 1.5, True, "0.2", None, float("nan")])
def test_a_rate_outside_0_to_1_is_refused(rate):
    for rule in (layerwise, globally):
        with pytest.raises(LthError, match=r"prune\.rate="):
            rule(rate=rate)
    with pytest.raises(LthError, match=r"prune\.rates\[w\]=2"):
        layerwise(rates={"w": 2})
    with pytest.raises(LthError, match=r"prune\.output_rate=1"):
        layerwise(output_rate=1)


def test_sparing_every_layer_is_refused():
    with pytest.raises(LthError, match="spares every layer"):
        globally(spare=["*"]).prunable(describe(small()))


@dataclass(frozen=True)
class Apart(Prune):
    """A rule of one's own, which says its groups alone: the output by itself, the rest together."""

    def groups(self, layers):
        rest = [n for n in layers.shapes if n != layers.output]
        return {layers.output: ((layers.output,), 0.5), "the rest": (rest, 0.2)}


def apart() -> Apart:
    return Apart()


def test_a_rule_of_ones_own_prunes_to_its_counts_in_rounds(tmp_path):
    study = lth.run(
        prune=apart, search={"_target_": "lth.pruning.search.at_init", "rounds": 3}, trials=1,
        score="magnitude", rewind="to_init", levels=2, model={"widths": [8]}, data="digits",
        recipe={"steps": 4, "batch": 8, "eval_every": 2}, trainer={"workers": 0}, logger="none",
        out=str(tmp_path), progress=False, arms=["winning_ticket"],
    )  # fmt: skip
    kept = masks.kept(study.ticket(level=2).mask)
    assert kept == {"fc1.weight": 328, "output.weight": 20}  # 512 -> 410 -> 328, 80 -> 40 -> 20


def test_a_rule_of_ones_own_says_its_groups_alone():
    layers, scores = describe(small()), magnitudes(small())
    rule, mask = Apart(), masks.full(layers, layers.shapes)
    assert rule.prunable(layers) == [layers.output, "0.weight", "2.weight"]
    assert kept_by_level(rule, layers, 2) == [766, 585, 455]  # 91 -> 45 -> 23, 675 -> 540 -> 432
    for _ in range(2):
        mask = rule(scores, mask, layers)
    assert list(mask) == list(layers.shapes) and int(mask[layers.output].sum()) == 23
    assert sum(int(mask[n].sum()) for n in ("0.weight", "2.weight")) == 432
    kept, gone = (
        [scores[n][mask[n] == k] for n in ("0.weight", "2.weight")] for k in (True, False)
    )
    assert torch.cat(kept).min() >= torch.cat(gone).max()
    counts = {layers.output: 20, "the rest": 400}
    at_once = rule.to(scores, masks.full(layers, layers.shapes), layers, counts)
    assert all(torch.equal(m, at_once[n]) for n, m in rule.to(scores, mask, layers, counts).items())
