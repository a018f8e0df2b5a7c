"""Law 5: a member stopped after any block goes on to the bits of one that was never stopped.

By induction, which is cheap: from what is kept after every block, one more block must lead to what
the uninterrupted run kept after that one; the last leads to the same outcome.
"""

from dataclasses import replace

import pytest
import torch

from lth import config
from lth.store.entry import TrainResult
from lth.store.store import Store
from lth.store.study import Study
from lth.study.setup import prepare
from lth.train.cohort import Cohort
from lth.train.engine import SequentialEngine
from lth.train.habits import draws_random_numbers
from lth.train.key import member_key
from lth.train.stacked import VmapEngine
from lth.train.trainer import Trainer, store_at
from lth.types import WINNER, MemberId, PruningChain
from tests import laws, toys
from tests.toys import dropout_net, norm_net

ARMS = config.choices("arms")
SETTINGS = toys.SETTINGS | {
    "name": "resume", "levels": 1, "trials": 1, "arms": ARMS, "rewind": {"step": 4},
    "recipe": {"steps": 12, "batch": 20, "lr": 0.03, "eval_every": 3},
}  # fmt: skip


def jobs_of(folder, **changes):
    """The jobs of a study's level 1, by arm, with schedules and lengths that fit a few steps."""
    settings = SETTINGS | {"out": str(folder)} | changes
    toys.run_study(**settings | {"levels": 0})
    setup = prepare(config.compose(**settings))
    line, origin = PruningChain(0, setup.recipe.rates[0]), Study(setup.folder).entry()
    members = laws.members(setup.parts, line, 1, origin, origin)
    trainer = Trainer(
        setup.data, setup.dataset, setup.recipe, 0, (), store_at(setup.out), setup.options, None
    )
    found = {}
    for place, ticket in members.items():
        schedule = ticket.dynamics and ticket.dynamics | {"every": 2}
        ticket = replace(ticket, dynamics=schedule, stretch=min(ticket.stretch, 2.0))
        (job,) = trainer.jobs({place: ticket}).values()
        found[place.arm] = replace(job, snapshots=(5,))
    assert MemberId(*line, WINNER, 1, 0).arm in found
    return found, setup.dataset


@pytest.fixture(scope="module")
def level(tmp_path_factory):
    return jobs_of(tmp_path_factory.mktemp("level"))


def backward(loss):
    loss.backward()


def begin(job, dataset, store, kind):
    make = (
        VmapEngine if kind is VmapEngine else (lambda jobs, data: SequentialEngine(jobs[0], data))
    )
    return Cohort([job], dataset, store, make)


def kept(store, job):
    tensors, about = store.get_partial(job.key)
    return tensors, {k: v for k, v in about.items() if k != "seconds"}


def equal(ours, theirs):
    (mine, about), (other, said) = ours, theirs
    assert about == said
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[n], t) and mine[n].dtype == t.dtype for n, t in other.items())


def outcome(cohort):
    (found,) = cohort.finish()
    assert isinstance(found, TrainResult)
    plain = {k: v for k, v in found.about.items() if k != "seconds"}
    states = [found.start, found.final, *found.snapshots.values()]
    tensors = {f"{i}/{n}": t for i, s in enumerate(states) for part in s for n, t in part.items()}
    masks = [found.mask, found.final_mask or {}, found.frozen]
    tensors |= {f"mask/{i}/{n}": m for i, part in enumerate(masks) for n, m in part.items()}
    curve = [tuple(p) for p in found.curve]
    plain["kept"] = [tuple(k) for k in plain.get("kept", [])]
    return tensors, [plain, found.measured, curve, found.diverged, list(found.snapshots)]


def run_block(cohort, start, stop):
    """Train ``start..stop`` and measure where it is due, as the hooks of a Lightning fit do."""
    for split in cohort.splits if cohort.fresh else ():
        cohort.evaluate(split)
    cohort.train_block(start, stop, backward)
    for split in cohort.splits if cohort.due else ():
        cohort.evaluate(split)


def goes_on_from_every_block(job, dataset, folder, kind=SequentialEngine):
    job = replace(job, key=member_key(job, dataset))
    whole, cut = Store(folder / "whole"), Store(folder / "cut")
    one = begin(job, dataset, whole, kind)
    plan, ends = one.blocks(), []
    for start, stop in plan:
        run_block(one, start, stop)
        one.save_partial(0.0)
        ends.append(kept(whole, job))
    expected = outcome(one)
    for number in range(1, len(plan)):
        cut.put_partial(job.key, *with_seconds(ends[number - 1]))
        again = begin(job, dataset, cut, kind)
        assert again.blocks() == plan[number:]
        run_block(again, *plan[number])
        again.save_partial(0.0)
        equal(kept(cut, job), ends[number])
    equal_outcomes(outcome(again), expected)
    return len(plan)


def with_seconds(state):
    return state[0], state[1] | {"seconds": 0.0}


def equal_outcomes(ours, theirs):
    equal((ours[0], ours[1]), (theirs[0], theirs[1]))


@pytest.mark.parametrize("arm", ARMS)
def test_a_member_goes_on_from_every_block_of_every_arm(arm, level, tmp_path):
    jobs, dataset = level
    assert goes_on_from_every_block(jobs[arm], dataset, tmp_path) >= 4
    if jobs[arm].ticket.gate is None:
        goes_on_from_every_block(jobs[arm], dataset, tmp_path / "stacked", VmapEngine)


def test_schedules_and_gates_are_among_them(level):
    jobs, _ = level
    targets = {str((j.ticket.dynamics or {}).get("_target_")) for j in jobs.values()}
    assert {t.rpartition(".")[2] for t in targets} >= {"rigl", "sparse_evolution", "gradual"}
    gates = {str((j.ticket.gate or {}).get("_target_")) for j in jobs.values()}
    assert {t.rpartition(".")[2] for t in gates} >= {"bernoulli", "edge_popup"}


@pytest.mark.parametrize("name", config.choices("recipe/optimizer"))
def test_every_optimizer_goes_on_under_a_mask_that_changes(name, level, tmp_path):
    jobs, dataset = level
    optimizer = config.load("recipe/optimizer", name) | {"weight_decay": 0.01}
    for arm in ("rigl", "gradual"):
        job = replace(jobs[arm], recipe=replace(jobs[arm].recipe, optimizer=optimizer))
        goes_on_from_every_block(job, dataset, tmp_path / arm)


@pytest.mark.parametrize("model", [dropout_net, norm_net], ids=lambda m: m.__name__)
def test_random_numbers_and_running_statistics_go_on_too(model, tmp_path):
    arms = ["winning_ticket", "rigl", "supermask"]
    jobs, dataset = jobs_of(tmp_path, model=model, arms=arms)
    assert draws_random_numbers(jobs["rigl"], dataset) == (model is dropout_net)
    for arm in arms:
        goes_on_from_every_block(jobs[arm], dataset, tmp_path / arm)
