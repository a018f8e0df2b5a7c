"""The product, walked: each part is right alone, so hold the combinations to what is stated.

Choices are read from conf/, so a new YAML is walked too. On paper (tests/paper.py) every search
meets every rewinding rule, score and pruning rule, with every arm; in earnest, arms meet
optimizers, schedules, searches and rules, are stopped halfway, and run again.
"""

import warnings
from functools import partial
from itertools import product

import pytest
import torch

from lth import LthError, config
from lth.config import compose
from lth.networks import masks
from lth.networks.ticket import layers_of
from lth.pruning.rules import kept_by_level
from lth.spec.build import build
from lth.streams import stream, stream_seed
from lth.study.setup import prepare
from lth.train.cohort import Cohort
from lth.types import WINNER, PruningChain
from tests import toys
from tests.covering import pairwise
from tests.paper import walk
from tests.toys import small_net

STEPS, BATCH, LEVEL = 12, 20, 2
SMALL = {"every": 3, "step": 4, "length": 5, "rounds": 2, "epoch": 0.5, "per_class": 2,
         "threshold": 0.02, "patience": 1, "milestones": [4, 8]}  # fmt: skip
SETTINGS = toys.SETTINGS | {
    "model": small_net, "name": "product", "trials": 1,
    "recipe": {"steps": STEPS, "batch": BATCH, "lr": 0.02, "eval_every": 6},
}  # fmt: skip
del SETTINGS["levels"]


def small(spec):
    """A choice's own values, where steps are few."""
    return spec | {k: v for k, v in SMALL.items() if k in spec} | {
        k: small(v) for k, v in spec.items() if isinstance(v, dict)
    }  # fmt: skip


def group(name):
    return {n: small(config.load(name, n)) for n in config.choices(name)}


def rewind_of(row):
    """A rule, under the policy for the statistics of norms if it takes that one."""
    spec = REWINDS[row["rewind"]] | {"statistics": row["statistics"]}
    try:
        build(
            spec,
            steps=STEPS,
            steps_per_epoch=8,
            schedule={"_target_": "lth.recipe.schedule.constant"},
        )
    except LthError:
        return REWINDS[row["rewind"]]
    return spec


def arms():
    """Every arm, with every way to spread counts over layers, longer, and rescaled."""
    found = {}
    for name in config.choices("arms"):
        spec = small(config.load("arms", name)[name])
        found[name] = spec
        for counts in ("winner", "global", "uniform", "erk") if "counts" in spec else ():
            found[f"{name}-{counts}"] = spec | {"counts": counts}
        for key, values in (("reinit", [True]), ("only", ["shrank"]), ("values", ["reinit"])):
            found |= {f"{name}-{key}-{v}": spec | {key: v} for v in values if key in spec}
        if "of" not in spec:
            of = {k: v for k, v in spec.items() if k != "copies"}
            found[f"{name}-longer"] = {"_target_": "lth.arms.longer", "times": 1.5, "of": of}
    return found


SEARCHES = {  # transfers have rows of their own, tickets of a file tests/test_from_file.py
    n: s for n, s in group("search").items() if not {"study", "mask"} & s.keys()
}
TRANSFERS = ("own", "redrawn", "source", "source-kept")
STATISTICS = ("rewound", "trained", "initial")
REWINDS, SCORES, RULES, ARMS = group("rewind"), group("score"), group("prune"), arms()
HALVES = {f"half{i}": {n: ARMS[n] for n in [*ARMS][i::2]} for i in range(2)}
COMMON = {"arms": HALVES, "rewind": REWINDS, "statistics": STATISTICS, "prune": RULES}
OWN = COMMON | {"search": SEARCHES, "score": SCORES}
MOVED = COMMON | {"search": TRANSFERS, "score": ["magnitude"]}  # a transfer scores nothing


def run(settings):
    return toys.run_study(**settings)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two finished studies to take tickets from: rewound to a step, and trained weights kept."""
    out = tmp_path_factory.mktemp("sources")
    made = {}
    for name, rewind in (
        ("step", {"step": 4}),
        ("kept", {"_target_": "lth.pruning.rewind.learning_rate"}),
    ):
        settings = SETTINGS | {"levels": LEVEL, "arms": [WINNER], "rewind": rewind, "name": name}
        made[name] = run(settings | {"out": str(out)})
    return made


def settings_of(row, sources, **more):
    if row["search"] in SEARCHES:
        search = SEARCHES[row["search"]]
    else:
        weights, _, kept = row["search"].partition("-")
        study = sources["kept" if kept else "step"]
        search = {"_target_": "lth.pruning.transfer.transferred", "study": str(study.folder),
                  "weights": weights, "level": None}  # fmt: skip
    return SETTINGS | {
        "search": search, "rewind": rewind_of(row), "score": SCORES[row["score"]],
        "prune": RULES[row["prune"]],
    } | more  # fmt: skip


def senseless(row):
    """At initialisation nothing has moved, so what compares before and after tells no weights."""
    untrained = row["rewind"] == "to_init" and rewind_of(row)["statistics"] != "trained"
    same = ("movement", "magnitude_increase", "large_final_diff_sign",
            "magnitude_increase_same_sign", "magnitude_increase_diff_sign")  # fmt: skip
    return row["search"] == "at_init" and untrained and row["score"] in same


named = partial(pytest.mark.parametrize, "row", ids=lambda row: "-".join(row.values()))


@named([*pairwise(OWN), *pairwise(MOVED)])
def test_on_paper_every_combination_is_what_it_says(row, sources, tmp_path):
    check_on_paper(row, sources, tmp_path)


@pytest.mark.slow
@named([dict(zip(f, values, strict=True)) for f in (OWN, MOVED) for values in product(*f.values())])
def test_on_paper_the_whole_product_is_what_it_says(row, sources, tmp_path):
    check_on_paper(row, sources, tmp_path)


def check_on_paper(row, sources, tmp_path):
    given = settings_of(row, sources, levels=[LEVEL], arms=HALVES[row["arms"]], out=str(tmp_path))
    if senseless(row):
        with pytest.raises(LthError, match="search=at_init: the score gives every untrained"):
            prepare(compose(**given))
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="layer collapse")
        setup = prepare(compose(**given))
        found, costs = walk(setup)
    case = SearchInput(row, setup, found, sources)
    case.check_winners()
    for place, (ticket, _) in found.items():
        if place.level and place.arm != WINNER:
            case.check_arm(place, ticket)
    assert len(costs) == len(found) > len(HALVES[row["arms"]])
    for place in found:
        assert costs[place.arm, place.level, place.copy] == case.cost(place), place


class SearchInput:
    """One combination, and what is stated of it, written anew."""

    def __init__(self, row, setup, found, sources):
        self.row, self.setup, self.found = row, setup, found
        self.line = PruningChain(0, setup.recipe.rates[0])
        self.dense = self.winner(0)[1]
        self.iterates = row["search"] == "iterative"
        self.spec = setup.config["rewind"]
        self.keeps = self.spec["_target_"] in (
            "lth.pruning.rewind.learning_rate",
            "lth.pruning.rewind.fine_tune",
        )
        self.from_trained = self.keeps or self.spec["statistics"] == "trained"
        self.source = sources["kept" if row["search"].endswith("kept") else "step"]
        self.from_source = row["search"].startswith("source")
        self.transfers = row["search"] in TRANSFERS

    def winner(self, level):
        return next((t, e) for p, (t, e) in self.found.items()
                    if p.arm == WINNER and p.level == level)  # fmt: skip

    @property
    def levels(self):
        return sorted({p.level for p in self.found} - {0})

    def first_step(self):
        """Where tickets start, in steps of the recipe."""
        if self.from_source:
            return 0
        return {"to_init": 0, "to_step": 4, "to_epoch": 4, "learning_rate": 4,
                "fine_tune": STEPS - 5}[self.row["rewind"]]  # fmt: skip

    def above(self, level):
        return self.winner(level - 1)[1] if self.iterates else self.dense

    def states(self, level):
        """Values above the mask, and beneath it: what is rewound, and the dense network there."""
        if self.from_source:
            ticket, dense = self.source.ticket(level=level), self.source.entry(level=0)
            kept = self.row["search"].endswith("kept")
            return ticket.start.params, (dense.final if kept else dense.at(4)).params
        if self.keeps:
            return self.above(level).final.params, self.dense.final.params
        state = self.dense.at(self.first_step()) if self.first_step() else self.dense.start
        return state.params, state.params

    def check_winners(self):
        sizes = kept_by_level(self.setup.parts.prune, self.setup.parts.layers, LEVEL)
        for level in self.levels:
            ticket, _ = self.winner(level)
            above, beneath = self.states(level)
            assert ticket.step == self.first_step()
            for name, value in ticket.params.items():
                mask = ticket.mask.get(name, torch.ones_like(value, dtype=torch.bool))
                assert torch.equal(value[mask], above[name][mask]), (level, name, "above")
                assert torch.equal(value[~mask], beneath[name][~mask]), (level, name, "beneath")
                assert torch.equal(ticket.start.params[name], torch.where(mask, value, 0.0))
            if not self.transfers:
                assert ticket.weights == sizes[level]
            if self.iterates:
                assert masks.is_nested(ticket.mask, self.winner(level - 1)[0].mask)

    def check_arm(self, place, ticket):
        winner, name = self.winner(place.level)[0], place.arm
        spec = ARMS[name]
        inner = innermost(spec)
        allowed = CHANGES.get(inner["_target_"])
        if allowed is not None:
            allowed = set(allowed) | {"origin", "searched"}
            allowed |= {"sizes"} if "model" in allowed else set()  # they are the model's
            allowed |= {"params", "buffers", "step", "changes"} if inner.get("reinit") else set()
            allowed |= {"stretch"} if spec is not inner else set()
            allowed |= {"params"} if spec["_target_"] == "lth.arms.rescaled" else set()
            assert differing(ticket, winner) <= allowed, name
        layers = layers_of(winner.model)
        if not ticket.gate and ticket.model == winner.model and allowed is not None:
            self.check_weights(name, spec, ticket, winner, layers)
        self.check_length(spec, inner, ticket)

    def check_weights(self, name, spec, ticket, winner, layers):
        """Which weights and how many are kept, and that each has a real value to start from."""
        target = innermost(spec)["_target_"]
        final = ticket.dynamics["final"] if "final" in (ticket.dynamics or {}) else None
        kept = final or masks.kept(ticket.mask)
        if target == "lth.arms.dense_child":
            assert all(m.all() for m in ticket.mask.values())
            _, dense = self.states(LEVEL)
            assert all(torch.equal(p, dense[n]) for n, p in ticket.params.items()), name
        else:
            assert sum(kept.values()) == sum(masks.kept(winner.mask).values()), name
        spread = innermost(spec).get("counts", "winner")
        if target != "lth.arms.dense_child" and spread == "winner":
            assert kept == masks.kept(winner.mask), name
        for weight, mask in ticket.mask.items():
            value = ticket.start.params[weight]
            assert bool((value[mask] != 0).all()), (name, weight)  # real: none is exactly 0
            if ticket.frozen:
                assert torch.equal(value[~mask], ticket.frozen[weight][~mask])
            if target == "lth.arms.freeze" and innermost(spec)["only"] == "all":
                assert bool((value[~mask] != 0).all()), name
                if innermost(spec)["values"] == "init":
                    assert torch.equal(value[~mask], winner.params[weight][~mask]), name
            if target == "lth.arms.constant":
                size = winner.params[weight].std(correction=0)
                assert torch.equal(value[mask].abs(), size.expand(int(mask.sum()))), name

    def check_length(self, spec, inner, ticket):
        """Longer means that many times as many updates, from wherever the ticket starts."""
        times = spec["times"] if spec["_target_"] == "lth.arms.longer" else 1.0
        of = ticket.stretch / times
        updates = self.setup.recipe.for_ticket(ticket.stretch, ticket.changes, ticket.step)
        wanted = round(times * of * (STEPS - ticket.step))
        assert updates.steps - ticket.step == wanted
        schedule = build(updates.schedule)
        plain = build(self.setup.recipe.for_ticket(1.0, ticket.changes, ticket.step).schedule)
        first = schedule(ticket.step, updates.steps), plain(ticket.step, STEPS)
        last = schedule(updates.steps - 1, updates.steps), plain(STEPS - 1, STEPS)
        assert first[0] == first[1] and last[0] == last[1]

    # -- what a member cost: sets of (level, step), brute force

    def run(self, level, until=STEPS):
        first = 0 if level == 0 else self.first_step()
        return {(level, step) for step in range(first, until)}

    def chain(self, level):
        """All that it took to train the network that a level is made of."""
        runs = range(level) if self.iterates else range(1)
        return set().union(*(self.run(n) for n in runs))

    def of_mask(self, level):
        search = self.row["search"]
        if self.transfers:
            return set()
        if search == "at_init":
            return self.of_start(level)
        if search == "early_bird":
            return self.run(0, self.settled(level)[0])
        return self.chain(level)

    def of_start(self, level):
        if self.from_source:
            return set()
        took = self.run(0, 0 if self.keeps else self.first_step())
        return took | self.chain(level) if self.from_trained else took

    def of_dense(self):
        if self.from_source:
            return set()
        last = STEPS if self.from_trained else self.first_step()
        return self.run(0, last)

    def settled(self, level):
        """The step at which two masks in a row are nearly one, and at how many it has looked."""
        parts, full = self.setup.parts, self.dense.mask
        generator, before = stream("score", parts.seed, 0, level), None
        probe = parts.probe(0)
        for number, step in enumerate([*range(3, STEPS, 3), STEPS], start=1):
            state = self.dense.at(step)
            scores = parts.score(
                state.params, initial=self.dense.start.params, mask=full, generator=generator,
                buffers=state.buffers, probe=probe,
            )  # fmt: skip
            mask, ties = full, stream_seed("ties", parts.seed, 0)
            for _ in range(level):
                mask = parts.prune(scores, mask, parts.layers, ties=ties)
            if before is not None and step < STEPS:
                apart = sum(int((mask[n] ^ before[n]).sum()) for n in mask)
                if apart / sum(m.numel() for m in mask.values()) < SMALL["threshold"]:
                    return step, number
            before = mask
        return STEPS, len(range(3, STEPS, 3)) + 1

    def examples(self, level):
        """Training examples that were scored to find the ticket of a level."""
        each = {"snip": 8, "grasp": 8, "gradient_magnitude": 8, "synflow": 1}
        calls = {"at_init": 2, "early_bird": self.settled(level)[1] if
                 self.row["search"] == "early_bird" else 0}.get(self.row["search"], 1)  # fmt: skip
        return 0 if self.transfers else each.get(self.row["score"], 0) * calls

    def cost(self, place):
        """Add up what mask and start took, each step of each run once."""
        if place.level == 0:
            return 0
        counted = self.counted(place.arm)
        steps, scored = set(), set()
        if "mask" in counted:
            steps |= self.of_mask(place.level)
            scored.add(place.level)
        steps |= self.of_start(place.level) if "start" in counted else set()
        steps |= self.of_dense() if "dense" in counted else set()
        steps |= self.run(0) if "trained" in counted else set()
        scored |= {level for level, _ in steps if level > 0}
        forward = {level: 2 * self.winner(level)[0].weights for level in {n for n, _ in steps}}
        dense = 2 * self.setup.parts.layers.total
        return (
            sum(3 * forward[level] * BATCH for level, _ in steps)
            + sum(3 * dense * self.examples(level) for level in scored)
        )  # fmt: skip

    def counted(self, arm):
        """What of the winner an arm is made of; a total is known without any search."""
        spec = innermost(ARMS[arm]) if arm in ARMS else {"_target_": "lth.arms.winning_ticket"}
        by_layer = (
            {"mask"} if self.setup.config["prune"]["_target_"].endswith("globally") else set()
        )
        layers = by_layer if spec.get("counts", "winner") == "winner" else set()
        made_of = {
            "random_reinit": {"mask"} | ({"start"} if spec.get("keep_signs") else set()),
            "random_mask": layers | (set() if spec.get("reinit") else {"start"}),
            "freeze": {"mask", "start"} | ({"trained"} if spec.get("only") != "all" else set()),
            "dense_child": {"dense"}, "rigl": layers, "sparse_evolution": layers,
            "gradual": layers, "grow_then_prune": layers, "edge_popup": by_layer,
            "supermask": set(), "small_dense": set(),
        }  # fmt: skip
        return made_of.get(spec["_target_"].rpartition(".")[2], {"mask", "start"})


SCRATCH = {"mask", "params", "buffers", "step", "changes"}
CHANGES = {
    "lth.arms.winning_ticket": (), "lth.arms.sgd_noise": {"noise"},
    "lth.arms.dense_child": {"mask", "params", "buffers", "noise"},
    "lth.arms.constant": {"params"}, "lth.arms.noise": {"params"},
    "lth.arms.reshuffle": {"params"}, "lth.arms.freeze": {"frozen"},
    "lth.arms.random_reinit": {"params", "buffers", "step", "changes"},
    "lth.arms.random_mask": {"mask"}, "lth.arms.rigl": SCRATCH | {"dynamics"},
    "lth.arms.sparse_evolution": SCRATCH | {"dynamics"},
    "lth.arms.gradual": SCRATCH | {"dynamics"}, "lth.arms.grow_then_prune": SCRATCH | {"dynamics"},
    "lth.arms.supermask": SCRATCH | {"gate"},
    "lth.arms.edge_popup": SCRATCH | {"gate"},
    "lth.arms.small_dense": SCRATCH | {"model", "stretch"},
}  # fmt: skip
"""What an arm may change, and nothing else; an arm that is not here is held to all else."""


def innermost(spec):
    while "of" in spec:
        spec = spec["of"]
    return spec


def differing(a, b):
    """Names of the fields in which two tickets differ."""
    found = set()
    for name in vars(b):
        one, other = getattr(a, name), getattr(b, name)
        if isinstance(other, dict) and any(
            torch.is_tensor(v) for v in [*one.values(), *other.values()]
        ):
            same = one.keys() == other.keys() and all(
                torch.equal(one[n], v) for n, v in other.items()
            )
        else:
            same = one == other
        found |= set() if same else {name}
    return found


# -- in earnest

CHUNKS = {f"arms{i}": config.choices("arms")[i::4] for i in range(4)}
REAL = pairwise({
    "arms": CHUNKS, "optimizer": group("recipe/optimizer"), "schedule": group("recipe/schedule"),
    "search": [*SEARCHES, "own", "source-kept"], "rewind": REWINDS, "statistics": STATISTICS,
    "prune": RULES, "score": ["magnitude", "snip", "random"],
})  # fmt: skip


def arms_of(row):
    """The row's arms; those that train longer do so half as long again, not ten times."""
    found = {n: small(config.load("arms", n)[n]) for n in CHUNKS[row["arms"]]}
    return {n: s | ({"times": 1.5} if "times" in s else {}) for n, s in found.items()}


def real_settings(row, sources, out):
    recipe = SETTINGS["recipe"] | {
        "optimizer": config.load("recipe/optimizer", row["optimizer"]),
        "schedule": small(config.load("recipe/schedule", row["schedule"])),
    }
    return settings_of(row, sources, levels=1, arms={WINNER: {}} | arms_of(row),
                       recipe=recipe, out=str(out))  # fmt: skip


class Halt(Exception):
    """The power has gone."""


@named(REAL)
def test_in_earnest_a_study_is_the_same_stopped_halfway_and_again(
    row, sources, tmp_path, monkeypatch
):
    done, last = [], {}

    class Counting(Cohort):  # where cohorts are made: what trains is part of every key
        def train_block(self, start, stop, backward):
            if len(done) == last.get("block"):
                raise Halt
            losses = super().train_block(start, stop, backward)
            done.append(1)
            return losses

    monkeypatch.setattr("lth.train.work.Cohort", Counting)
    whole = run(real_settings(row, sources, tmp_path / "whole"))
    blocks = len(done)
    again = run(real_settings(row, sources, tmp_path / "whole"))
    assert again.provenance["trained"] == 0 and again.records == whole.records
    assert len(done) == blocks
    monkeypatch.setattr("lth.train.work.SAVE_EVERY", 0.0)
    last["block"] = blocks + blocks // 2
    with pytest.raises((Halt, LthError)):
        run(real_settings(row, sources, tmp_path / "stopped"))
    last.clear()
    resumed = run(real_settings(row, sources, tmp_path / "stopped"))
    assert len(done) == 2 * blocks  # no block is trained twice
    assert resumed.records == whole.records and resumed.members == whole.members
    for place in whole.members:
        one, other = (s.entry(**place._asdict()) for s in (whole, resumed))
        spec = arms_of(row).get(place.arm, {}) if place.level else {}
        if "longest" not in spec:  # longer is so many times as many updates, from where it starts
            first, updates = one.about["step"], one.about["steps"]
            assert updates == round(spec.get("times", 1) * (STEPS - first)), place
        assert all(torch.equal(one.final.params[n], p) for n, p in other.final.params.items())
        for name, mask in one.final_mask.items():
            gone = one.final.params[name][~mask]
            frozen = one.frozen.get(name, torch.zeros(mask.shape))[~mask]
            assert torch.equal(gone, frozen), place
