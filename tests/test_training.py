"""Laws 1 and 5: what training does to a member, whoever trains beside it and whatever happens."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from lth import config
from lth.data import tensors
from lth.networks import masks
from lth.networks.ticket import draw_model, layers_of
from lth.spec.build import build
from lth.store.store import Store
from lth.train import work as work_module
from lth.train.batches import Batches, blocks
from lth.train.engine import SequentialEngine
from lth.train.exact import exact
from lth.train.job import Streams
from lth.train.options import Options
from lth.train.pool import Pool
from lth.train.stacked import group_alike, run_stacked
from lth.train.work import Stopped, one_thread, stop_after_block, work
from tests.toys import (
    DATA,
    DROPOUT,
    MLP,
    NORM,
    OPTIMIZERS,
    PLAIN,
    Deaf,
    blobs,
    changed,
    in_turn,
    job,
    recipe,
    run_study,
    ticket,
    train,
    train_member,
    train_stacked,
)
from tests.toys import same_entries as same


def by_hand(member):
    """Train the member by a bare loop that masks weights and gradients by hand."""
    data, ticket, r = blobs(), member.ticket, member.recipe
    model = draw_model(ticket.model, 0)
    leaves = {n: p.clone().requires_grad_() for n, p in ticket.start.params.items()}
    buffers = {n: b.clone() for n, b in ticket.buffers.items()}
    arguments = {k: v for k, v in r.optimizer.items() if k != "_target_"}
    kind = getattr(torch.optim, r.optimizer["_target_"].rpartition(".")[2])
    optimizer = kind(list(leaves.values()), lr=member.lr, fused=True, **arguments)
    batches = Batches(data, member.streams, r.batch)
    factor = build(r.schedule)
    for step, rows in enumerate(batches.indices(0, r.steps)):
        optimizer.param_groups[0]["lr"] = member.lr * factor(step, r.steps)
        x = (data.train_inputs[rows].float() - data.mean[0]) / data.std[0]
        loss = F.cross_entropy(functional_call(model, (leaves, buffers), (x,)),
                               data.train_targets[rows])  # fmt: skip
        loss.backward()
        for name, mask in ticket.mask.items():
            leaves[name].grad *= mask
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for name, mask in ticket.mask.items():
                leaves[name] *= mask
    return {n: p.detach() for n, p in leaves.items()}


@pytest.mark.parametrize("model", [MLP, NORM, PLAIN], ids=["linear", "norm", "tied"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_mask_on_the_gradient_is_the_mask_in_the_graph(name, model, tmp_path):
    optimizer = config.load("recipe/optimizer", name) | {"weight_decay": 0.01}
    member = job(model, recipe=recipe(optimizer=optimizer))
    fast = train_member(member, tmp_path / "a")
    in_graph = changed(member, views={"same": {"_target_": "tests.toys.unchanged"}})
    plain = train_member(in_graph, tmp_path / "b")
    assert same(fast, plain)


@pytest.mark.parametrize("model", [MLP, NORM], ids=["linear", "norm"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_trajectory_is_that_of_a_hand_masked_copy(name, model, tmp_path):
    optimizer = config.load("recipe/optimizer", name) | {"weight_decay": 0.01}
    member = job(model, recipe=recipe(optimizer=optimizer, steps=25))
    entry = train_member(member, tmp_path)
    for leaf, value in by_hand(member).items():
        torch.testing.assert_close(entry.final.params[leaf], value, rtol=1e-5, atol=1e-7)
    assert not torch.equal(entry.final.params[leaf], member.ticket.params[leaf])


def frozen_job(**changes):
    """A member whose pruned weights are frozen at 1."""
    member = job(**changes)
    return changed(member, frozen={n: (~m).float() for n, m in member.ticket.mask.items()})


@pytest.mark.parametrize("compiler", [None, "aot_eager"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_weights_take_part_and_never_move(name, compiler, tmp_path):
    optimizer = config.load("recipe/optimizer", name) | {"weight_decay": 0.1}
    member = frozen_job(recipe=recipe(optimizer=optimizer), compile=compiler)
    entry = train_member(member, tmp_path)
    for weight, mask in member.ticket.mask.items():
        assert torch.equal(entry.final.params[weight][~mask], torch.ones(int((~mask).sum())))
        assert torch.equal(entry.start.params[weight], member.ticket.start.params[weight])
        assert not torch.equal(entry.final.params[weight][mask], entry.start.params[weight][mask])
    model = draw_model(member.ticket.model, 0).eval()
    outputs = functional_call(model, dict(entry.final.params), (blobs().prepare(
        blobs().test_inputs),))  # fmt: skip
    right = (outputs.argmax(1) == blobs().test_targets).double().mean()
    measured = {(s, split, m): v for s, split, m, v in entry.measured}
    early = measured.get((30, "test", "accuracy"))
    assert early is None or early == pytest.approx(float(right))


def test_frozen_members_stack_with_others(tmp_path):
    sgd = recipe(optimizer=config.load("recipe/optimizer", "momentum"))
    jobs = [make(trial=t, recipe=sgd) for t, make in enumerate((frozen_job, job, frozen_job))]
    alone = train(jobs, tmp_path / "a")
    for entry, other in zip(alone, train_stacked(jobs, tmp_path / "b"), strict=True):
        for name, value in entry.final.params.items():
            torch.testing.assert_close(other.final.params[name], value, rtol=1e-4, atol=1e-5)


def test_members_that_freeze_different_weights_stack(tmp_path):
    sgd = recipe(optimizer=config.load("recipe/optimizer", "momentum"), steps=10)
    jobs = []
    for trial, weight in enumerate(("1.weight", "3.weight")):
        made = job(trial=trial, recipe=sgd)
        jobs.append(changed(made, frozen={weight: (~made.ticket.mask[weight]).float()}))
    alone = train(jobs, tmp_path / "a")
    for entry, other in zip(alone, train_stacked(jobs, tmp_path / "b"), strict=True):
        for name, value in entry.final.params.items():
            torch.testing.assert_close(other.final.params[name], value, rtol=1e-4, atol=1e-5)


def test_a_stretched_member_trains_longer_under_a_stretched_schedule(tmp_path):
    base = recipe(schedule={"_target_": "lth.recipe.schedule.multistep", "milestones": [15]})
    long = base.for_ticket(stretch=2.0)
    assert long.steps == 60 and base.for_ticket() == base
    factor = build(long.schedule)
    assert [factor(s, 60) for s in (0, 29, 30, 59)] == [1.0, 1.0, 0.1, 0.1]
    entry = train_member(ticket(), tmp_path, recipe=long)
    assert entry.about["steps"] == 60


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("compiler", [None, "aot_eager"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pruned_weights_and_all_their_moments_are_exactly_zero(name, compiler, precision, tmp_path):
    optimizer = config.load("recipe/optimizer", name) | {"weight_decay": 0.1}
    member = job(recipe=recipe(optimizer=optimizer, steps=20), compile=compiler,
                 precision=precision)  # fmt: skip
    engines = []

    def keep(jobs, dataset):
        engines.append(SequentialEngine(jobs[0], dataset))
        return engines[-1]

    entry = train_member(member, tmp_path, make=keep)
    leaves = engines[0].network.leaves  # as training left them, nothing masked afterwards
    for weight, mask in member.ticket.mask.items():
        assert bool((leaves[weight][~mask] == 0).all())
        assert bool((leaves[weight][mask] != 0).any())
        assert bool((entry.final.params[weight][~mask] == 0).all())
        for slot, value in engines[0].optimizer.state[leaves[weight]].items():
            if isinstance(value, torch.Tensor) and value.ndim:
                assert bool((value[~mask] == 0).all()), slot


@pytest.mark.parametrize("model", [MLP, NORM, DROPOUT, PLAIN], ids=["mlp", "norm", "drop", "tied"])
def test_a_member_alone_is_the_member_in_company(model, tmp_path):
    jobs = [job(model, trial) for trial in range(3)]
    together = train(jobs, tmp_path / "a")
    alone = train(jobs[2:], tmp_path / "b")
    assert same(together[2], alone[0])


def test_a_member_is_the_same_in_a_worker_process(tmp_path):
    jobs = [job(MLP, 0), job(NORM, 1), job(DROPOUT, 2)]
    here = train(jobs, tmp_path / "here")
    reports = []
    pool = Pool(2, DATA, tmp_path / "there", "32")
    try:
        pool.run(jobs, lambda *report: reports.append(report))
    finally:
        pool.close()
    there = [Store(tmp_path / "there").get(j.key) for j in jobs]
    assert all(same(a, b) for a, b in zip(here, there, strict=True))
    assert {(r[0].key, r[2]) for r in reports} >= {(j.key, True) for j in jobs}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("model", [MLP, DROPOUT, NORM], ids=["mlp", "drop", "norm"])
def test_a_stopped_member_goes_on_bit_for_bit(name, model, tmp_path):
    schedule = config.load("recipe/schedule", "cosine")
    member = job(
        model, recipe=recipe(optimizer=config.load("recipe/optimizer", name), schedule=schedule),
        snapshots=(7,),
    )  # fmt: skip
    whole = train_member(member, tmp_path / "whole")
    calls = []

    def stop():
        calls.append(1)
        return len(calls) > 1  # after the second block, at step 10

    with pytest.raises(Stopped):
        train_member(member, tmp_path / "cut", stop=stop)
    kept = Store(tmp_path / "cut").get_partial(member.key)
    assert kept is not None and kept[1]["step"] == 10
    resumed = train_member(member, tmp_path / "cut")
    assert same(whole, resumed)
    assert all(torch.equal(whole.at(7).params[n], p) for n, p in resumed.at(7).params.items())
    assert Store(tmp_path / "cut").get_partial(member.key) is None


@pytest.fixture
def ctrl_c():
    """Hear SIGINT as in a terminal: a shell makes its background jobs deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    after = signal.signal(signal.SIGINT, before)
    assert after is signal.default_int_handler  # as it was found


class Pressing(Deaf):
    """Presses Ctrl-C when a member first reaches these steps."""

    def __init__(self, *steps):
        self.steps, self.seen, self.said = list(steps), [], ""

    def step(self, member, step, done):
        self.seen.append(step)
        while step in self.steps:
            self.steps.remove(step)
            os.kill(os.getpid(), signal.SIGINT)


WAYS = {
    "in turn": lambda jobs, store, listener, stop: work(
        [[j] for j in jobs], blobs(), store, in_turn, listener.step, stop=stop),
    "stacked": lambda jobs, store, listener, stop: run_stacked(
        jobs, blobs(), store, Options(device="cpu"), listener, device="cpu", stop=stop),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_keeps_the_block_and_what_goes_on_is_the_same(way, tmp_path, ctrl_c):
    jobs, pressing = [job(trial=t) for t in range(2)], Pressing(10)
    WAYS[way](jobs, Store(tmp_path / "whole"), Deaf(), lambda: False)
    store = Store(tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt), one_thread(), stop_after_block(pressing.note) as stop:
        WAYS[way](jobs, store, pressing, stop)
    assert set(pressing.seen) == {10} and "Ctrl-C again stops at once" in pressing.said
    assert store.get_partial(jobs[0].key)[1]["step"] == 10
    assert bool(store.get_partial(jobs[1].key)) == (way == "stacked")
    resumed = Pressing()
    with one_thread():
        WAYS[way](jobs, store, resumed, lambda: False)
    assert min(resumed.seen[:2]) == 20
    assert all(same(Store(tmp_path / "whole").get(j.key), store.get(j.key)) for j in jobs)


def test_ctrl_c_again_ends_at_once(tmp_path, ctrl_c):
    store, pressing = Store(tmp_path), Pressing(20, 20)
    with pytest.raises(KeyboardInterrupt), one_thread(), stop_after_block(pressing.note) as stop:
        work([[job()]], blobs(), store, in_turn, pressing.step, stop=stop)
    assert store.get_partial(job().key) is None  # it did not wait to keep anything


def test_ctrl_c_after_the_last_block_is_not_lost(tmp_path, ctrl_c):
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt), one_thread(), stop_after_block(Deaf().note):
        work([[job()]], blobs(), store, in_turn, Pressing(30).step)
    assert store.get(job().key)


def test_an_error_on_the_way_is_not_taken_for_ctrl_c(tmp_path, ctrl_c):
    def report(*_):
        sys.exit(3)

    with pytest.raises(SystemExit, match="3"), one_thread(), stop_after_block(Deaf().note) as stop:
        work([[job()]], blobs(), Store(tmp_path), in_turn, report, stop=stop)


def test_a_process_that_is_deaf_to_ctrl_c_stays_so(ctrl_c):
    with stop_after_block(Deaf().note):
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    for handler in (signal.SIG_IGN, signal.SIG_DFL):
        signal.signal(signal.SIGINT, handler)
        with stop_after_block(Deaf().note) as stop:
            assert signal.getsignal(signal.SIGINT) is handler and not stop()
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_threads_leave_signals_alone(ctrl_c):
    def inside():
        with stop_after_block(Deaf().note) as stop:
            return signal.getsignal(signal.SIGINT), stop()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() == (signal.default_int_handler, False)


def test_a_damaged_partial_is_not_trusted(tmp_path):
    member = job()
    whole = train_member(member, tmp_path / "whole")
    with pytest.raises(Stopped):
        train_member(member, tmp_path / "cut", stop=lambda: True)
    path = next((tmp_path / "cut" / "partial").iterdir())
    path.write_bytes(path.read_bytes()[:-3] + b"xyz")
    assert Store(tmp_path / "cut").get_partial(member.key) is None
    assert same(whole, train_member(member, tmp_path / "cut"))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("model", [MLP, NORM], ids=["mlp", "norm"])
def test_stacked_members_agree_with_members_in_turn(name, model, tmp_path):
    optimizer = config.load("recipe/optimizer", name)
    jobs = [job(model, trial, lr=lr, recipe=recipe(optimizer=optimizer))
            for lr in (0.03, 0.003) for trial in range(2)]  # fmt: skip
    turn = train(jobs, tmp_path / "turn")
    train_stacked(jobs, tmp_path / "stacked")
    stacked = Store(tmp_path / "stacked")
    for mine, member in zip(turn, jobs, strict=True):
        other = stacked.get(member.key)
        for a, b in zip(mine.final, other.final, strict=True):
            for key in a:
                torch.testing.assert_close(a[key], b[key], rtol=1e-3, atol=1e-4)
        assert [p[:3] for p in mine.curve] == [p[:3] for p in other.curve]
        for weight, mask in member.ticket.mask.items():
            assert bool((other.final.params[weight][~mask] == 0).all())


def test_a_stack_that_does_not_fit_is_halved_and_nothing_is_lost(tmp_path, monkeypatch):
    from lth.train import stacked

    jobs = [job(trial=t) for t in range(5)]
    sizes = []
    real = stacked.make_engine

    def small(group, dataset):
        sizes.append(len(group))
        if len(group) > 2:
            raise torch.OutOfMemoryError("too large")
        return real(group, dataset)

    monkeypatch.setattr(stacked, "make_engine", small)
    listener, store = Deaf(), Store(tmp_path)
    run_stacked(jobs, blobs(), store, Options(device="cpu"), listener, device="cpu")
    assert sizes == [5, 2, 2, 1]
    assert "5 members do not fit" in listener.said
    assert all(store.get(j.key) for j in jobs)


def test_stacks_hold_one_model_and_one_start():
    late = changed(job(trial=3), step=5)
    groups = group_alike([job(), job(NORM), job(trial=1), late])
    assert sorted(len(g) for g in groups) == [1, 1, 2]


def test_models_that_draw_random_numbers_train_alone_on_a_gpu(tmp_path):
    jobs = [job(DROPOUT, t) for t in range(2)]
    turn = train(jobs, tmp_path / "turn")
    train_stacked(jobs, tmp_path / "stacked")
    store = Store(tmp_path / "stacked")
    assert all(same(a, store.get(j.key)) for a, j in zip(turn, jobs, strict=True))


def test_only_elementwise_optimizers_are_stacked(tmp_path):
    odd = job(recipe=recipe(optimizer={"_target_": "torch.optim.Adafactor"}))
    with pytest.raises(ValueError, match="must be one of SGD, Adam"):
        run_stacked([odd], blobs(), Store(tmp_path), Options(device="cpu"), Deaf(), device="cpu")


def test_a_diverged_member_is_recorded_and_its_neighbours_are_unharmed(tmp_path):
    wild = job(trial=1, lr=1e25, recipe=recipe(optimizer=config.load("recipe/optimizer", "sgd")))
    calm = job(trial=0)
    diverged, beside = train([wild, calm], tmp_path / "both")
    alone = train_member(calm, tmp_path / "alone")
    assert diverged.diverged is not None and diverged.measured == []
    with pytest.raises(ValueError, match="diverged at step"):
        _ = diverged.final
    assert same(beside, alone)


def test_early_stop_is_the_first_minimum_and_its_values_belong_to_that_state(tmp_path):
    member = job(recipe=recipe(steps=60, lr=0.05, eval_every=5))
    entry = train_member(member, tmp_path)
    losses = {
        s: v for s, split, metric, v in entry.curve if (split, metric) == ("validation", "loss")
    }
    assert list(losses) == list(range(0, 61, 5))
    early = min(losses, key=lambda s: (losses[s], s))
    found = {(s, split, metric): v for s, split, metric, v in entry.measured}
    assert found[early, "validation", "early_stop_step"] == early
    assert found[early, "validation", "loss"] == losses[early]
    assert {s for s, *_ in entry.measured} == {early, 60}
    splits = {split for _, split, _, _ in entry.measured}
    assert splits == {"train", "validation", "test"}


def test_measured_values_are_those_of_the_state_at_that_step(tmp_path):
    """The test accuracy at early stop, again by a plain forward pass over the snapshot there."""
    member = job(NORM, recipe=recipe(steps=40, lr=0.05, eval_every=10), density=0.8)
    first = train_member(member, tmp_path / "a")
    early = int(first.measured[0][0])
    watched = replace(member, snapshots=(early,))
    entry = train_member(watched, tmp_path / "b")
    for step, state in ((early, entry.at(early)), (40, entry.final)):
        model = draw_model(NORM, 0)
        model.load_state_dict(state.params | state.buffers)
        data = blobs()
        x = (data.test_inputs.float() - data.mean[0]) / data.std[0]
        right = (model.eval()(x).argmax(1) == data.test_targets).float().mean()
        values = {(s, p, m): v for s, p, m, v in entry.measured}
        assert values[step, "test", "accuracy"] == pytest.approx(float(right))


def test_a_missing_snapshot_is_made_again_with_the_same_bits(tmp_path):
    member = job(snapshots=(12,))
    entry = train_member(member, tmp_path)
    before = entry.at(12)
    (entry.folder / "step-12.safetensors").unlink()
    assert not entry.has(12)
    again = replace(member, until=12)
    with one_thread():
        work([[again]], blobs(), Store(tmp_path), in_turn, lambda *_: None)
    assert all(torch.equal(entry.at(12).params[n], p) for n, p in before.params.items())


def test_batches_see_every_example_once_an_epoch_and_depend_on_names_alone():
    data = blobs()
    batches = Batches(data, Streams(0, 1, 2), 16)
    size = len(batches.train)
    assert size == 160
    rows = batches.indices(0, 20).flatten()
    assert sorted(rows[:160].tolist()) == sorted(rows[160:].tolist()) == batches.train.tolist()
    assert not torch.equal(rows[:160], rows[160:])
    fresh = Batches(data, Streams(0, 1, 2), 16)
    assert torch.equal(fresh.indices(7, 13), batches.indices(0, 20)[7:13])
    for other in (Streams(1, 1, 2), Streams(0, 2, 2), Streams(0, 1, 3), Streams(0, 1, 2, noise=1)):
        assert not torch.equal(Batches(data, other, 16).indices(0, 5), rows[:80].reshape(5, 16))


def test_the_same_trial_and_level_see_the_same_batches_whatever_the_arm():
    assert torch.equal(*(Batches(blobs(), Streams(0, 1, 2), 16).indices(3, 9) for _ in range(2)))


def test_batches_that_do_not_divide_the_epoch_straddle_it():
    data = tensors("t", (torch.rand(11, 2), torch.arange(11) % 2),
                   (torch.rand(4, 2), torch.arange(4) % 2), validation=4)  # fmt: skip
    rows = Batches(data, Streams(0, 0, 0), 3).indices(0, 7).flatten()
    for epoch in rows.reshape(3, 7):
        assert len(set(epoch.tolist())) == 7


@pytest.mark.parametrize("start", [0, 3])
def test_blocks_cover_the_run_and_stop_at_every_mark(start):
    found = blocks(start, 50, {10, 20, 49}, longest=8)
    assert found[0][0] == start and found[-1][1] == 50
    assert all(a[1] == b[0] for a, b in pairwise(found))
    assert {10, 20, 49} <= {stop for _, stop in found}
    assert max(stop - first for first, stop in found) <= 8


def test_results_do_not_depend_on_the_blocks(tmp_path, monkeypatch):
    from lth.train import cohort

    member = job(NORM)
    usual = train_member(member, tmp_path / "a")
    monkeypatch.setattr(cohort, "blocks", partial(blocks, longest=3))
    cut = train_member(member, tmp_path / "b")
    assert same(usual, cut)


def test_the_caller_keeps_its_threads_and_random_numbers(tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    torch.set_num_threads(2)
    try:
        train_member(ticket(DROPOUT), tmp_path)
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.rand(3), expected)
    finally:
        torch.set_num_threads(1)


def test_dense_and_full_mask_are_the_same_network(tmp_path):
    member = job(density=1.1)
    assert masks.density(member.ticket.mask, layers_of(MLP)) == 1.0
    entry = train_member(member, tmp_path)
    for leaf, value in by_hand(member).items():
        torch.testing.assert_close(entry.final.params[leaf], value, rtol=1e-5, atol=1e-7)


def test_partials_are_written_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(work_module, "SAVE_EVERY", 0.0)
    seen = []

    def report(member, step, done):
        kept = Store(tmp_path).get_partial(member.key)
        seen.append((step, done, kept and kept[1]["step"]))

    with one_thread():
        work([[job()]], blobs(), Store(tmp_path), in_turn, report)
    assert seen == [(10, False, 10), (20, False, 20), (30, True, None)]


NEWER = """
import torch
from lth.train.exact import exact
torch.backends.cudnn.conv.fp32_precision = "tf32"  # the older switch cannot be read any more
torch.backends.cudnn.rnn.fp32_precision = "ieee"
with exact():
    print(torch.backends.cudnn.conv.fp32_precision)
print(torch.backends.cudnn.conv.fp32_precision)
"""

FOR_ALL = """
import torch
from lth.train.exact import exact
torch.backends.fp32_precision = "tf32"
before = torch.backends.cudnn.allow_tf32
with exact():
    print(torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.allow_tf32 == before)
print(torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.allow_tf32 == before)
"""


@pytest.mark.parametrize(
    ("program", "said"), [(NEWER, "tf32\ntf32"), (FOR_ALL, "tf32 True\ntf32 True")]
)
def test_what_a_user_has_said_by_torchs_newer_switch_stays(program, said):
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == said, found.stderr


def test_studies_in_two_threads_share_the_switch():
    cudnn, first, second = torch.backends.cudnn, exact(), exact()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not cudnn.allow_tf32
    second.__exit__(None, None, None)
    assert cudnn.allow_tf32


def test_a_study_convolves_in_float32_as_it_is_and_leaves_the_switch_as_it_was(tmp_path):
    """By torch's default a GPU rounds to ten bits (TF32), which moves gradients by percents."""
    seen, cudnn = [], torch.backends.cudnn

    class Noting(SequentialEngine):
        def __init__(self, made, dataset):
            super().__init__(made, dataset)
            seen.append(cudnn.allow_tf32)

    assert cudnn.allow_tf32
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lth.train.engine.SequentialEngine", Noting)
        run_study(tmp_path, trials=1, levels=1)
    assert seen and not any(seen) and cudnn.allow_tf32
    with pytest.raises(ZeroDivisionError), exact():
        raise ZeroDivisionError
    assert cudnn.allow_tf32


def test_whether_a_stack_agrees_with_one_alone_is_seen_in_exact_float32(monkeypatch):
    from lth.train import stacked

    seen = []

    def noting(*_):
        seen.append(torch.backends.cudnn.allow_tf32)
        return True

    monkeypatch.setattr(stacked, "_agrees", noting)
    monkeypatch.setattr(stacked, "_unstackable", {})
    assert not stacked.trains_alone(job(NORM), blobs())
    assert seen == [False]
