"""Every control and cost is what it says: what was once wrong (see also tests/test_product.py)."""

import dataclasses
from functools import partial

import pytest
import torch

import lth
from lth import LthError, config
from lth.arms import longer, small_dense
from lth.config import compose
from lth.imp import loop
from lth.networks.gates import bernoulli
from lth.networks.layers import Layers
from lth.networks.ticket import State
from lth.pruning.dynamic import MaskUpdate, rigl, sparse_evolution
from lth.pruning.experiment import SearchResult
from lth.pruning.needs import Watched, union
from lth.pruning.rewind import Start
from lth.pruning.rules import globally
from lth.pruning.search import Iterative, early_bird
from lth.recipe.recipe import Recipe
from lth.spec.build import build
from lth.store.store import Store
from lth.streams import stream
from lth.study.setup import prepare
from lth.train.work import one_thread, work
from lth.types import WINNER, MemberId, PruningChain
from tests import laws, paper, toys
from tests.test_gates import member
from tests.toys import ToyTurn, dropout_net, in_turn, mlp, small_net
from tests.toys import blobs as blobs_of

STEPS = 300
SETTINGS = toys.SETTINGS | {
    "model": small_net, "name": "controls", "trials": 1,
    "recipe": {"steps": STEPS, "batch": 20, "lr": 0.02, "eval_every": 100},
}  # fmt: skip
del SETTINGS["levels"]


def walked(tmp_path, **changes):
    setup = prepare(compose(**SETTINGS | {"out": str(tmp_path)} | changes))
    return setup, *paper.walk(setup)


# -- what a member's search cost, in dense runs

LATE = {"_target_": "lth.pruning.rewind.to_step", "step": 150}
KEPT = {"_target_": "lth.pruning.rewind.learning_rate"}
TUNED = {"_target_": "lth.pruning.rewind.fine_tune", "length": 50}
BIRD = {"_target_": "lth.pruning.search.early_bird", "every": 6, "threshold": 0.01, "patience": 1}
CHAIN = sum(0.8**n for n in range(4))  # levels 0 to 3 at their densities, pruned together
HALF = 1 + (CHAIN - 1) / 2  # late tickets trained half of the steps
TABLE = [
    ("at_init", KEPT, WINNER, 1, 1.0), ("at_init", TUNED, WINNER, 1, 1.0),
    ("at_init", "to_init", WINNER, 1, 0.0), ("at_init", LATE, WINNER, 1, 0.5),
    ("at_init", LATE, "random_reinit", 1, 0.5), ("one_shot", KEPT, WINNER, 1, 1.0),
    (BIRD, TUNED, WINNER, 1, 1.0), (BIRD, LATE, WINNER, 1, 0.5),
    (BIRD, "to_init", WINNER, 1, 12 / STEPS), (BIRD, LATE, "random_reinit", 1, 12 / STEPS),
    ("iterative", LATE, "random_mask_erk", 4, 0.5),
    ("iterative", LATE, "random_mask_uniform", 4, 0.5),
    ("iterative", LATE, "random_mask_global", 4, 0.5),
    ("iterative", LATE, "random_mask", 4, 0.5), ("iterative", LATE, "random_reinit", 4, HALF),
    ("iterative", KEPT, "random_mask_erk", 4, CHAIN), ("iterative", KEPT, "dense_child", 4, 1.0),
    ("iterative", "to_init", "freeze_grown", 1, 1.0),
    ("at_init", "to_init", "freeze_grown", 1, 1.0),
    *(("iterative", "to_init", arm, 4, 0.0) for arm in
      ("rigl", "set", "gradual", "edge_popup", "supermask", "small_dense", "random_mask")),
]  # fmt: skip


@pytest.mark.parametrize(("search", "rewind", "arm", "level", "runs"), TABLE, ids=str)
def test_a_search_costs_what_mask_and_start_took_each_once(
    search, rewind, arm, level, runs, tmp_path
):
    setup, _, costs = walked(
        tmp_path, search=search, rewind=rewind, arms=[WINNER, arm], levels=[level], prune="globally"
        if runs in (CHAIN, HALF) else "layerwise",
    )  # fmt: skip
    dense = 3 * 2 * setup.parts.layers.total * 20 * STEPS
    assert costs[arm, level, 0] / dense == pytest.approx(runs, rel=0.02)


@pytest.mark.parametrize("arm", ["gradual", "edge_popup", "random_mask", "rigl"])
def test_counts_of_layers_cost_the_search_where_layers_are_pruned_together(arm, tmp_path):
    spec = config.load("arms", arm)[arm]
    spec |= {"counts": "winner"} if "counts" in spec else {}
    _, _, costs = walked(tmp_path, arms={WINNER: {}, arm: spec}, levels=[3], prune="globally")
    assert costs[arm, 3, 0] == costs[WINNER, 3, 0] > 0
    _, _, costs = walked(tmp_path, arms={WINNER: {}, arm: spec}, levels=[3], prune="layerwise")
    assert costs[arm, 3, 0] == 0 < costs[WINNER, 3, 0]


def test_scoring_counts_for_every_level_that_led_to_a_ticket(tmp_path):
    score = {"_target_": "lth.pruning.score.snip", "per_class": 5}
    setup, _, costs = walked(tmp_path, arms=[WINNER], levels=[1, 3], score=score)
    _, _, plain = walked(tmp_path, arms=[WINNER], levels=[1, 3])
    each = 3 * 2 * setup.parts.layers.total * 20
    assert costs[WINNER, 1, 0] - plain[WINNER, 1, 0] == each
    assert costs[WINNER, 3, 0] - plain[WINNER, 3, 0] == 3 * each


@dataclasses.dataclass(frozen=True)
class Halfway:
    """A rule of one's own: halfway between the initial weights and those trained."""

    def needs(self, steps):
        return ()

    def __call__(self, dense, trained):
        initial = dense(0).params
        mean = {n: (p + initial[n]) / 2 for n, p in trained.params.items()}
        return Start(State(mean, trained.buffers), 0)


def halfway():
    return Halfway()


class Peek(Iterative):
    """A search of one's own: the dense run's mask at step 30, whatever the level."""

    iterates = False

    def needs(self, steps):
        return (30,)

    def trained_levels(self, level):
        return range(1)

    def __call__(self, turn):
        mask = turn.dense.mask
        for _ in range(turn.level):
            mask = turn.prune(turn.score(turn.dense.at(30), mask), mask)
        return SearchResult(mask)


def peek():
    return Peek()


def grown():
    """An arm of one's own that looks at the trained dense network."""

    def arm(winner, generator, *, trained):
        params = {n: torch.where(trained[n] > 0, p, -p) if n in winner.mask else p
                  for n, p in winner.params.items()}  # fmt: skip
        return dataclasses.replace(winner, params=params)

    return arm


def test_rules_searches_and_arms_of_ones_own_are_counted_by_what_they_look_at(tmp_path):
    setup, found, costs = walked(tmp_path, rewind=halfway, arms=[WINNER, "dense_child"], levels=[2])
    dense = 3 * 2 * setup.parts.layers.total * 20 * STEPS
    first = 3 * 2 * found[MemberId(0, 0.02, WINNER, 1, 0)][0].weights * 20 * STEPS
    assert costs[WINNER, 2, 0] == dense + first and costs["dense_child", 2, 0] == dense
    ticket, whole = (
        found[MemberId(0, 0.02, WINNER, 2, 0)][0],
        found[MemberId(0, 0.02, WINNER, 0, 0)][1],
    )
    for name, mask in ticket.mask.items():
        beneath = (whole.final.params[name] + whole.start.params[name]) / 2
        assert torch.equal(ticket.params[name][~mask], beneath[~mask])
    _, _, costs = walked(tmp_path, search=peek, arms={WINNER: {}, "grown": grown}, levels=[2])
    assert costs[WINNER, 2, 0] == dense * 30 // STEPS
    assert costs["grown", 2, 0] == dense  # the peek lies within the whole run


def test_a_state_that_is_watched_is_a_state_however_it_is_read():
    plain, seen = State({"w": torch.ones(1)}, {}), []
    reads = {
        "params": lambda s: s.params, "unpacked": lambda s: [*s], "first": lambda s: s[0],
        "replaced": lambda s: s._replace(buffers={}).params, "buffers": lambda s: s.buffers,
    }  # fmt: skip
    for name, read in reads.items():
        read(Watched.of(plain, lambda name=name: seen.append(name)))
    assert set(seen) == reads.keys() - {"buffers"}  # there are none
    assert isinstance(Watched.of(plain, lambda: None), State)


def test_what_is_needed_twice_is_counted_once():
    assert union({0: 5}, {0: 3, 1: 20}, {}) == {0: 5, 1: 20}


# -- values beneath the mask


def test_freeze_grown_is_what_grew_since_the_initial_weights_under_every_rule(tmp_path):
    _, found, _ = walked(tmp_path, rewind=KEPT, arms=[WINNER, "freeze_grown"], levels=[2])
    dense = found[MemberId(0, 0.02, WINNER, 0, 0)][1]
    frozen = found[MemberId(0, 0.02, "freeze_grown", 2, 0)][0].frozen
    for name, mask in found[MemberId(0, 0.02, WINNER, 2, 0)][0].mask.items():
        last = dense.final.params[name]
        grew = last.abs() > dense.start.params[name].abs()
        assert torch.equal(frozen[name], torch.where(grew & ~mask, last, 0.0))


# -- seed streams


@pytest.mark.parametrize("search", ["at_init", "one_shot", "iterative", "early_bird"])
@pytest.mark.parametrize("score", ["snip", "grasp", "gradient_magnitude"])
def test_a_score_through_dropout_draws_from_its_own_stream(score, search, tmp_path):
    spec = config.load("search", search) | ({"every": 100} if search == "early_bird" else {})
    setup = prepare(compose(**SETTINGS | {
        "score": score, "search": spec, "model": dropout_net, "levels": 2, "trials": 2,
        "out": str(tmp_path)}))  # fmt: skip

    def mask(trial, seed):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        line = PruningChain(trial, 0.02)
        dense = lth.imp.dense(setup.parts, line)
        entry = paper.PaperEntry(MemberId(*line, WINNER, 0, 0), dense, STEPS)
        found = laws.next_ticket(setup.parts, line, 1, entry, entry)[1].mask
        assert torch.equal(torch.get_rng_state(), before)
        return torch.cat([m.reshape(-1) for m in found.values()])

    assert torch.equal(mask(0, 1), mask(0, 2))
    assert not torch.equal(mask(0, 1), mask(1, 1))


def test_a_probe_is_seeded_by_itself_or_by_where_a_generator_stands():
    spec = {"_target_": "tests.toys.dropout_net", "input_shape": [1, 4, 4], "classes": 4}
    from lth.networks.ticket import draw_state
    from lth.pruning.probe import Probe

    state, inputs = draw_state(spec, 0), torch.ones(3, 1, 4, 4)

    def logits(generator=None, **about):
        probe = Probe(spec, (1, 4, 4), 4, lambda *_: None, lambda *_: None, **about)
        return probe.logits(state.params, state.buffers, inputs, generator=generator)

    generator = stream("x")
    assert torch.equal(logits(generator), logits(generator))  # read, not moved
    assert torch.equal(logits(generator), logits(stream("x"), seed=7))
    torch.rand(1, generator=generator)
    assert not torch.equal(logits(generator), logits(stream("x")))
    assert torch.equal(logits(seed=1), logits(seed=1))
    assert not torch.equal(logits(seed=1), logits(seed=2))


# -- longer is updates


@pytest.mark.parametrize(("start", "times"), [(0, 2.0), (200, 2.0), (250, 2.0), (200, 0.5)])
def test_twice_as_long_is_twice_as_many_updates_and_the_schedule_with_them(start, times):
    schedule = {"_target_": "lth.recipe.schedule.multistep", "milestones": [100, 280], "gamma": 0.5}
    adam = config.load("recipe/optimizer", "adam")
    recipe = Recipe(300, 10, 0.1, adam, schedule=schedule)
    found = recipe.for_ticket(times, None, start)
    assert found.steps - start == times * (300 - start)
    rates = [build(found.schedule)(step, found.steps) for step in range(start, found.steps)]
    plain = [build(schedule)(step, 300) for step in range(start, 300)]
    for mark in set(plain):
        assert rates.count(mark) == times * plain.count(mark)
    assert recipe.for_ticket(1.0, None, start) == recipe


def test_an_arm_around_another_is_asked_for_what_that_one_is():
    made = longer(small_dense(), 3.0)
    model = {"_target_": "tests.toys.mlp", "input_shape": [1, 4, 4], "classes": 4, "width": 9}
    with pytest.raises(LthError, match="the smallest"):
        made.check(model, 2)
    with pytest.raises(LthError, match="times=inf"):
        longer(small_dense(), float("inf"))


# -- searches


@pytest.mark.parametrize(
    ("search", "levels"), [("one_shot", [0, 1, 2, 3, 4]), ("iterative", [0, 1, 2])]
)
def test_one_diverged_ticket_ends_only_what_descends_from_it(search, levels, tmp_path):
    setup = prepare(compose(**SETTINGS | {"search": search, "levels": 4, "out": str(tmp_path)}))
    train = paper.Paper(setup)

    def diverging(cohort):
        entries = train(cohort)
        for place, entry in entries.items():
            entry.diverged = 7 if (place.arm, place.level) == (WINNER, 2) else None
        return entries

    assert [next(iter(c)).level for c, _ in loop(setup.parts, diverging)] == levels


def test_nothing_descends_from_a_dense_network_that_diverged(tmp_path):
    setup = prepare(compose(**SETTINGS | {"search": "one_shot", "levels": 2, "out": str(tmp_path)}))
    train = paper.Paper(setup)

    def diverging(cohort):
        entries = train(cohort)
        for entry in entries.values():
            entry.diverged = 7
        return entries

    assert len(list(loop(setup.parts, diverging))) == 1


def test_an_early_birds_threshold_that_any_mask_meets_is_refused_before_work(tmp_path):
    search = {"_target_": "lth.pruning.search.early_bird", "every": 100}
    given = SETTINGS | {"search": search, "out": str(tmp_path / "none"), "prune": "globally"}
    prepare(compose(**given | {"levels": 13}))
    with pytest.raises(LthError, match=r"search\.threshold=0\.1: two masks of level 14 \(4\.\d%"):
        prepare(compose(**given | {"levels": 15}))
    prepare(compose(**given | {"levels": 15, "search": search | {"threshold": 0.01}}))
    assert not (tmp_path / "none").exists()


def test_an_early_bird_compares_the_newest_mask_with_each_of_those_before():
    """A mask that drifts a little at every look has not settled, though neighbours are alike."""
    layers = Layers({"a": (100,)}, frozenset(), "a")

    class Drift:
        mask = {"a": torch.ones(100, dtype=torch.bool)}  # noqa: RUF012

        def at(self, step):
            low = (torch.arange(100) - 2 * min(step, 12)) % 100 < 50
            return State({"a": torch.where(low, 1.0, 2.0)}, {})

    def score(network, mask):
        return {"a": network.params["a"]}

    case = ToyTurn(1, score, globally(0.5), layers, Drift())
    found = early_bird(1, threshold=0.05, patience=3)(case)  # neighbours differ by 0.04
    assert found.dense_steps == 14  # within 0.05 of those at 11 (0.04), 12 and 13
    assert early_bird(1, threshold=0.05, patience=1)(case).dense_steps == 2


def test_at_init_may_compare_before_and_after_where_tickets_start_later(tmp_path):
    given = SETTINGS | {"search": "at_init", "score": "movement", "levels": 2, "out": str(tmp_path)}
    with pytest.raises(LthError, match="every untrained weight the same value"):
        prepare(compose(**given))
    assert prepare(compose(**given | {"rewind": {"step": 30}}))


# -- ties


@pytest.mark.parametrize("make", [rigl, sparse_evolution])
def test_weights_without_gradient_or_size_go_and_grow_at_random_places(make):
    mask = {"w": torch.zeros(40, 40, dtype=torch.bool)}
    mask["w"][:20] = True
    zeros = {"w": torch.zeros(40, 40)}

    def change(seed):
        schedule = make(5, fraction=0.5, seed=seed)
        look = MaskUpdate(5, 100, zeros, mask, stream("look", seed), zeros)
        return schedule(look)["w"]

    found = change(0)
    assert found.sum() == mask["w"].sum()
    assert found[:20].sum(1).max() < 40 and found[20:].sum(1).min() > 0  # no row whole, none empty
    assert torch.equal(found, change(0)) and not torch.equal(found, change(1))


# -- rivals as their authors have them


def test_rigl_for_longer_changes_its_mask_as_often():
    short, long = (config.load("arms", n)[n] for n in ("rigl", "rigl_longer"))
    assert long["of"]["every"] == short["every"] and long["of"]["until"] == short["until"]
    count = {times: len(rigl(100).updates(round(times * 1000))) for times in (1, 10)}
    assert count == {1: 7, 10: 74}


def test_the_gradient_of_a_gate_flows_through_the_rescaling_as_it_does_in_their_code():
    scores = torch.tensor([0.3, -0.2, 1.0, 2.0, -3.0], requires_grad=True)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    for through in (True, False):
        torch.manual_seed(0)
        drawn = torch.bernoulli(torch.sigmoid(scores.detach()))
        kept = drawn.sum()
        torch.manual_seed(0)
        gate = bernoulli(through=through)("w", scores, training=True)
        torch.testing.assert_close(gate.detach(), drawn * 5 / kept)
        (found,) = torch.autograd.grad((gate * weight).sum(), scores)
        share = torch.sigmoid(scores.detach())
        by_mask = weight * 5 / kept - through * (drawn * weight).sum() * 5 / kept**2
        torch.testing.assert_close(found, share * (1 - share) * by_mask)


def test_ten_samples_are_measured_and_their_mean_is_told(tmp_path):
    def trained(samples, out):
        made = member("bernoulli")
        gate = made.ticket.gate | {"samples": samples}
        made = dataclasses.replace(made, ticket=dataclasses.replace(made.ticket, gate=gate))
        made = dataclasses.replace(made, key=f"{samples:064d}")
        with one_thread():
            work([[made]], blobs_of(), Store(tmp_path / out), in_turn, lambda *_: None)
        return Store(tmp_path / out).get(made.key)

    one, ten, again = (trained(n, out) for n, out in ((0, "a"), (10, "b"), (10, "c")))
    assert all(torch.equal(one.final.params[n], p) for n, p in ten.final.params.items())
    assert one.measured != ten.measured == again.measured
    accuracy = next(v for s, p, m, v in ten.measured if (s, p, m) == (30, "test", "accuracy"))
    assert round(10 * 60 * accuracy) == pytest.approx(10 * 60 * accuracy)  # ten means of 60
    with pytest.raises(LthError, match="samples=-1"):
        bernoulli(samples=-1)


# -- transfer


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    short = SETTINGS["recipe"] | {"steps": 12, "eval_every": 6}
    return toys.run_study(**SETTINGS | {
        "recipe": short, "levels": 1, "arms": [WINNER],
        "out": str(tmp_path_factory.mktemp("source")), "model": partial(mlp, width=9)})  # fmt: skip


def glorot_mlp(input_shape, classes, width):
    network = mlp(input_shape, classes, width)
    for weight in network.parameters():
        if weight.ndim == 2:
            torch.nn.init.xavier_normal_(weight)
    return network


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"model": partial(glorot_mlp, width=9)}], ids=["seed", "init"]
)
def test_a_transfer_whose_initialisation_would_stay_behind_is_refused(source, changes, tmp_path):
    search = {"_target_": "lth.pruning.transfer.transferred", "study": str(source.folder)}
    given = SETTINGS | {"model": partial(mlp, width=9), "levels": 1, "out": str(tmp_path / "none")}
    prepare(compose(**given | {"search": search}))
    with pytest.raises(LthError, match=r"trial 0 starts from another .*search\.weights=redrawn"):
        prepare(compose(**given | {"search": search} | changes))
    for weights in ("redrawn", "source"):
        prepare(compose(**given | {"search": search | {"weights": weights}} | changes))
    assert not (tmp_path / "none").exists()


def test_tickets_handed_on_twice_still_lie_over_the_first_dense_network(source, tmp_path):
    search = {"_target_": "lth.pruning.transfer.transferred", "study": str(source.folder),
              "weights": "source"}  # fmt: skip
    given = SETTINGS | {
        "model": partial(mlp, width=9), "levels": 1, "arms": [WINNER],
        "recipe": SETTINGS["recipe"] | {"steps": 12, "eval_every": 6},
    }  # fmt: skip
    first = given | {"search": search, "seed": 3, "out": str(tmp_path / "middle")}
    middle = toys.run_study(**first)
    search |= {"study": str(middle.folder)}
    last = prepare(compose(**given | {"search": search, "seed": 4, "out": str(tmp_path / "last")}))
    found, _ = paper.walk(last)
    dense = source.entry(level=0).start.params
    ticket = found[MemberId(0, 0.02, WINNER, 1, 0)][0]
    assert all(torch.equal(p, dense[n]) for n, p in ticket.params.items())
