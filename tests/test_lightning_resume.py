"""Masks, rewinding points and mask schedules travel in checkpoints."""

import warnings

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from lth import LthError
from lth.lightning import KeepMask, PruneDuring, RewindPoint
from lth.pruning.dynamic import rigl, sparse_evolution
from tests.lightning_toys import Gan, Lit, Watch, check_zero, loader, mask_of, trainer


def begin():
    torch.manual_seed(0)
    return Lit("adamw")


def saved(path, *callbacks, module=None, **settings):
    module = module or begin()
    loop = trainer(*callbacks, **settings)
    loop.fit(module, loader(), loader())
    loop.save_checkpoint(path)
    return module


def resumed(path, *callbacks, **settings):
    module = Lit("adamw")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*ckpt_path.*|.*resum.*")
        trainer(*callbacks, **{"max_epochs": 4} | settings).fit(
            module, loader(), loader(), ckpt_path=path
        )
    return module


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_the_mask_travels(tmp_path):
    path, mask = tmp_path / "a.ckpt", mask_of(Lit())
    whole = saved(path, KeepMask(mask), max_epochs=4)
    saved(path, KeepMask(mask))
    taken = KeepMask()
    module = resumed(path, taken, Watch(mask))
    assert same(module, whole)
    assert all(torch.equal(taken.mask[n], m) for n, m in mask.items())
    assert same(resumed(path, KeepMask(mask)), whole)
    check_zero(Lit.load_from_checkpoint(path), mask)
    with pytest.raises(LthError, match=r"another mask of net.0.weight: give KeepMask\(\) none"):
        resumed(path, KeepMask(mask_of(Lit(), 0.3)))
    kept = torch.load(path, weights_only=True)["callbacks"]["KeepMask"]  # plain data only
    assert kept["bits"]["net.0.weight"].numel() == 6


def test_moments_of_a_dense_run_are_masked(tmp_path):
    path, mask = tmp_path / "a.ckpt", mask_of(Lit())
    saved(path)
    module = resumed(path, KeepMask(mask), Watch(mask))
    check_zero(module, mask)
    with pytest.raises(LthError, match="there is no mask"):
        resumed(path, KeepMask())


SCHEDULES = {
    "cubic": lambda: PruneDuring(density=0.25, every=2),
    "set": lambda: PruneDuring(sparse_evolution(2, until=0.9), mask=mask_of(Lit())),
    "rigl": lambda: PruneDuring(rigl(2, until=0.9), mask=mask_of(Lit())),
    "by hand": lambda: PruneDuring(
        lambda step, mask, w: {n: m & (w[n].abs() > 0.02 * step) for n, m in mask.items()}
    ),
}  # fmt: skip


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_mask_schedule_goes_on(schedule, tmp_path):
    make = SCHEDULES[schedule]
    settings = {"accumulate_grad_batches": 2, "max_epochs": 4}
    whole = make()
    module = begin()
    trainer(whole, **settings).fit(module, loader(), loader())
    save = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    trainer(make(), save, enable_checkpointing=True, **settings).fit(begin(), loader(), loader())
    again = make()
    assert same(resumed(tmp_path / "epoch=1.ckpt", again, **settings), module)
    assert all(torch.equal(again.mask[n], m) for n, m in whole.mask.items())
    check_zero(module, whole.mask)


def test_a_rewinding_point_travels(tmp_path):
    path = tmp_path / "a.ckpt"
    whole = [RewindPoint(step=0), RewindPoint(step=12), RewindPoint(epoch=0.5)]
    module = begin()
    initial = {n: p.detach().clone() for n, p in module.named_parameters()}
    trainer(*whole, max_epochs=4).fit(module, loader(), loader())
    assert all(torch.equal(whole[0].state.params[n], p) for n, p in initial.items())
    saved(path, RewindPoint(step=0), RewindPoint(epoch=0.5))
    points = [RewindPoint(step=0), RewindPoint(step=12), RewindPoint(epoch=0.5)]
    resumed(path, *points)
    for mine, other in zip(points, whole, strict=True):
        assert all(torch.equal(mine.state.params[n], p) for n, p in other.state.params.items())
    point = RewindPoint.load(path)
    point.restore(module)
    assert all(torch.equal(p, initial[n]) for n, p in module.named_parameters())
    saved(path)
    with pytest.raises(LthError, match="holds no RewindPoint"):
        RewindPoint.load(path)
    with pytest.raises(LthError, match="no such checkpoint"):
        RewindPoint.load(tmp_path / "b.ckpt")


def test_steps_are_updates():
    """Not batches where gradients are accumulated, and once where two optimizers step."""
    module, point = Lit("sgd"), RewindPoint(step=2, optimizers=True)
    states = []

    class Note(Watch):
        def on_train_batch_end(self, trainer, module, *args):
            states.append(module.net[0].weight.detach().clone())

    trainer(point, Note({}), accumulate_grad_batches=2).fit(module, loader(), loader())
    assert torch.equal(point.state.params["net.0.weight"], states[3])
    assert not torch.equal(states[3], states[2]) and torch.equal(states[4 - 1], states[3])
    assert point.trained["optimizers"][0]["state"]
    gan, point = Gan(), RewindPoint(step=10)
    trainer(point).fit(gan, loader())
    assert point.reached and gan.trainer.global_step == 20


def test_points_that_cannot_be_are_refused():
    for make, words in (
        (lambda: RewindPoint(), "step= or epoch="),
        (lambda: RewindPoint(step=1, epoch=1), "one of them"),
        (lambda: RewindPoint(step=-1), "step=-1"),
        (lambda: RewindPoint(epoch=float("nan")), "epoch=nan"),
        (lambda: RewindPoint(epoch="1"), "epoch='1': an epoch is a number"),
        (lambda: RewindPoint(step=3).state, "has not come to it"),
        (lambda: trainer(RewindPoint(step=11)).fit(begin(), loader(), loader()), "makes 10 upd"),
    ):
        with pytest.raises(LthError, match=words):
            make()


class EverySecond(Lit):
    """Steps by hand on every second batch."""

    def __init__(self):
        super().__init__("adamw")
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        if self.trainer.fit_loop.epoch_loop.batch_progress.total.ready % 2 == 0:
            self.optimizers().step()
            self.optimizers().zero_grad()


def test_updates_of_a_manual_loop_are_counted_over_a_resume(tmp_path):
    path, point = tmp_path / "a.ckpt", RewindPoint(step=9)
    torch.manual_seed(0)
    saved(path, RewindPoint(step=9), module=EverySecond(), max_epochs=2)  # 5 updates, of 10 batches
    module = EverySecond()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*resum.*")
        trainer(point, max_epochs=4).fit(module, loader(), loader(), ckpt_path=path)
    assert point.reached and module.global_step == 10
    last = {n: p for n, p in module.named_parameters()}
    assert any(not torch.equal(p, last[n]) for n, p in point.state.params.items())
