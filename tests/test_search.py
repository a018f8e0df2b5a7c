"""Searches: from which network a mask is taken, apart from whole studies (tests/test_study.py)."""

import warnings

import pytest
import torch

from lth import LthError, config
from lth.networks import masks
from lth.networks.layers import Layers
from lth.networks.ticket import State, draw_state, layers_of
from lth.pruning.probe import Probe
from lth.pruning.rules import globally, kept_by_level, layerwise
from lth.pruning.score import magnitude, synflow
from lth.pruning.search import SearchInput, at_init, early_bird, iterative, mask_distance, one_shot
from lth.recipe.loss import cross_entropy
from lth.spec.build import build

ALONE = [n for n in config.choices("search") if n not in ("transferred", "from_file", "early_bird")]
LAYERS = Layers({"a": (50,), "b": (10, 10)}, frozenset(), "b")


class Fake:
    """An entry: a mask, and a trained state."""

    def __init__(self, mask, params):
        self.mask, self.final = mask, State(params, {})


def weights(seed):
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(s, generator=generator) for n, s in LAYERS.shapes.items()}


def case(level, scorer, previous, rule):
    return SearchInput(level, 0, 0.1, scorer, previous, DENSE, START, rule, LAYERS, 40)


def score(network, mask):
    return {n: network.params[n].abs() for n in mask}


FULL = masks.full(LAYERS, LAYERS.shapes)
DENSE = Fake(FULL, weights(0))
START = State(weights(1), {})


@pytest.mark.parametrize("rule", [layerwise(0.2), globally(0.3)], ids=["layerwise", "globally"])
@pytest.mark.parametrize("name", ALONE)
def test_every_search_reaches_the_same_counts(name, rule):
    search, previous = build(config.load("search", name)), DENSE
    for level, kept in enumerate(kept_by_level(rule, LAYERS, 6)[1:], start=1):
        mask = search(case(level, score, previous, rule)).mask
        assert sum(masks.kept(mask).values()) == kept
        previous = Fake(mask, weights(level + 5))


def test_each_search_looks_at_its_own_network():
    previous = Fake(globally(0.2)(score(DENSE.final, FULL), FULL, LAYERS), weights(7))
    seen = []

    def watch(network, mask):
        seen.append((network, sum(masks.kept(mask).values())))
        return score(network, mask)

    for search in (iterative(), one_shot(), at_init(3)):
        search(case(2, watch, previous, globally(0.2)))
    networks = [previous.final, DENSE.final, START, START, START]
    assert all(a is b for (a, _), b in zip(seen, networks, strict=True))
    assert [kept for _, kept in seen] == [120, 150, 150, 129, 111]  # 150 (96/150) ** (k/3)


def test_searches_name_the_levels_they_train():
    assert list(iterative().trained_levels(3)) == [0, 1, 2]
    assert list(one_shot().trained_levels(3)) == [0]
    assert list(at_init().trained_levels(3)) == []


@pytest.mark.parametrize("rounds", [0, -1, 1.5, True])
def test_rounds_are_a_whole_number(rounds):
    with pytest.raises(LthError, match=r"search\.rounds="):
        at_init(rounds)


def test_synflow_never_collapses_a_layer_where_magnitude_does():
    """Tanaka et al. 2020, arXiv 2006.05467, Section 4: layers differ in scale and width."""
    spec = {"_target_": "lth.models.lenet", "input_shape": [64], "classes": 4,
            "widths": [200, 200, 3, 200]}  # fmt: skip
    layers = layers_of(spec)
    state = draw_state(spec, 0)
    state.params["fc2.weight"] *= 0.01  # as another initialisation would have it
    probe = Probe(spec, (64,), 4, cross_entropy(), lambda number, generator: None)
    rule, dense = globally(0.4), Fake(masks.full(layers, layers.shapes), state.params)

    def scorer(made):
        def call(network, mask):
            return made(network.params, initial=state.params, mask=mask, buffers={}, probe=probe)

        return call

    def narrow(made):  # level 12: 0.2 % of the weights
        return SearchInput(12, 0, 0.1, scorer(made), dense, dense, state, rule, layers, 40)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # also: no layer collapse on the way
        flow = at_init(100)(narrow(synflow())).mask
    assert all(masks.kept(flow).values())
    with pytest.warns(UserWarning, match="layer collapse"):
        size = at_init(100)(narrow(magnitude())).mask
    assert not all(masks.kept(size).values())
    assert sum(masks.kept(flow).values()) == sum(masks.kept(size).values())


class Run(Fake):
    """A dense run that moves from ``weights(0)`` towards ``weights(1)``, ever more slowly."""

    def __init__(self, pace):
        super().__init__(FULL, weights(1))
        self.pace, self.seen = pace, []

    def at(self, step):
        self.seen.append(step)
        share = min(1.0, step * self.pace)
        a, b = weights(0), weights(1)
        return State({n: (1 - share) * a[n] + share * b[n] for n in a}, {})


@pytest.mark.parametrize(("pace", "last"), [(0.1, 16), (0.5, 8), (0.001, 8)])
def test_an_early_bird_is_the_first_mask_that_has_settled(pace, last):
    run = Run(pace)
    where = SearchInput(3, 0, 0.1, score, run, run, START, globally(0.2), LAYERS, 40)
    found = early_bird(2, threshold=0.05, patience=3)(where)
    assert run.seen[-1] == last  # three looks without a change after it stands still
    expected = one_shot()(SearchInput(3, 0, 0.1, score, run, Fake(FULL, run.at(last).params), START,
                               globally(0.2), LAYERS, 40))  # fmt: skip
    assert mask_distance(found.mask, expected.mask) == 0
    assert found.dense_steps == last


def test_a_bird_that_never_settles_is_the_trained_networks_mask():
    run = Run(0.1)
    where = SearchInput(3, 0, 0.1, score, run, run, START, globally(0.2), LAYERS, 12)
    found = early_bird(2, threshold=1e-9, patience=5)(where)
    assert mask_distance(found.mask, one_shot()(where).mask) == 0
    assert found.dense_steps is None
    with pytest.raises(LthError, match=r"search\.every=0"):
        early_bird(0)
    with pytest.raises(LthError, match=r"search\.threshold=1"):
        early_bird(2, threshold=1)


def test_mask_distance_is_the_share_that_differs():
    a = {"x": torch.tensor([True, False, True, True]), "y": torch.tensor([True])}
    b = {"x": torch.tensor([True, True, False, True]), "y": torch.tensor([True])}
    assert mask_distance(a, b) == 0.4 and mask_distance(a, a) == 0
