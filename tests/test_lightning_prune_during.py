"""PruneDuring: a mask that changes on the way."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from lth import LthError
from lth.lightning import KeepMask, PruneDuring
from lth.networks import masks
from lth.pruning.dynamic import rigl, sparse_evolution
from tests.lightning_toys import Gan, Lit, Watch, check_zero, loader, mask_of, trainer


class MaskUpdate(Watch):
    """Notes the mask of a PruneDuring after every batch, and that what it prunes is 0."""

    def __init__(self, pruning):
        super().__init__({})
        self.pruning, self.kept = pruning, []

    def on_train_batch_end(self, trainer, module, *args):
        mask = self.pruning.mask
        self.kept.append({n: int(m.sum()) for n, m in mask.items()})
        check_zero(module, {n: m for n, m in mask.items() if not m.all()}, trainer.optimizers)


def run(pruning, module=None, *others, **settings):
    module, look = module or Lit(), MaskUpdate(pruning)
    validation = None if isinstance(module, Gan) else loader()
    trainer(*others, pruning, look, **settings).fit(module, loader(), validation)
    return module, look.kept


def test_the_cubic_schedule():
    """Zhu & Gupta 2017, Equation 1: from 48 weights to 12 over 8 of 10 updates."""
    _, kept = run(PruneDuring(density=0.25, every=2, begin=0.0, until=0.8))
    expected = [12 + round(36 * (1 - t / 8) ** 3) for t in (0, 0, 2, 2, 4, 4, 6, 6, 8, 8)]
    assert [k["net.0.weight"] for k in kept] == expected
    assert kept[-1] == {"net.0.weight": 12, "net.2.weight": 4}


@pytest.mark.parametrize("rule", [sparse_evolution, rigl])
def test_dropping_and_growing_keeps_the_counts(rule):
    mask = mask_of(Lit())
    pruning = PruneDuring(rule(every=1, until=1.0), mask=mask)
    _, kept = run(pruning)
    assert all(k == {n: int(m.sum()) for n, m in mask.items()} for k in kept)
    assert any(not torch.equal(m, pruning.mask[n]) for n, m in mask.items())


def test_rigl_grows_where_the_gradient_of_the_dense_network_is_greatest():
    module = Lit("sgd")
    mask = {"net.0.weight": mask_of(module)["net.0.weight"]}
    seen = {}

    class First(Watch):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            if batch_idx == 1 and not seen:
                loss = functional.cross_entropy(module(batch[0]), batch[1])
                (seen["gradient"],) = torch.autograd.grad(loss, module.net[0].weight)
                seen["weight"] = module.net[0].weight.detach().abs()

    rule = rigl(every=1, fraction=0.3, until=0.11, decay="constant")
    wide = PruneDuring(rigl(every=1, fraction=0.3, until=0.2, decay="constant"), mask=mask)
    trainer(First({}), wide, gradient_clip_val=0.01).fit(module, loader(), loader())
    assert rule.updates(10) == () and wide.schedule.updates(10) == (1,)
    kept = mask["net.0.weight"]
    count = round(0.3 * int(kept.sum()))
    stays = kept.clone()
    stays[kept] = seen["weight"][kept] > seen["weight"][kept].sort().values[count - 1]
    merit = seen["gradient"].abs().masked_fill(stays, -1)
    grown = merit >= merit.flatten().sort(descending=True).values[count - 1]
    assert torch.equal(wide.mask["net.0.weight"], stays | grown)


def test_a_function_changes_the_mask():
    steps = []

    def smaller(step, mask, weights):
        steps.append(step)
        assert set(weights) == set(mask)
        assert not any(w[~mask[n]].any() for n, w in weights.items())
        return {"net.0.weight": (mask["net.0.weight"] & (weights["net.0.weight"] > -0.1)).numpy()}

    module, kept = run(PruneDuring(smaller, every=3), accumulate_grad_batches=2)
    assert steps == [0, 3]  # 6 updates, of 2 batches
    assert kept[-1]["net.0.weight"] < 48 and kept[-1]["net.2.weight"] == 16
    assert not (
        module.net[0].weight[~torch.tensor(smaller(9, *state(module))["net.0.weight"])] > 0
    ).any()


def state(module):
    weights = {n: p.detach() for n, p in module.named_parameters() if p.ndim > 1}
    return {n: w != 0 for n, w in weights.items()}, weights


def test_a_keep_mask_beside_it_bounds_it():
    bound = mask_of(Lit())
    pruning = PruneDuring(sparse_evolution(1, until=1.0), mask=mask_of(Lit(), 0.3))
    module, _ = run(pruning, None, KeepMask(bound))
    check_zero(module, bound)
    never = PruneDuring(sparse_evolution(every=100), mask=mask_of(Lit(), 0.3))
    run(never, None, KeepMask(bound))
    assert masks.is_nested(never.mask, bound)  # from the start
    assert masks.is_nested(pruning.mask, bound)


def test_two_optimizers_by_hand():
    pruning = PruneDuring(density=0.5, every=1)
    _, kept = run(pruning, Gan())
    assert len(kept) == 10 and kept[-1]["judge.0.weight"] == 24
    growing = PruneDuring(rigl(every=1), mask=mask_of(Gan()))
    with pytest.raises(LthError, match="needs its weights in one optimizer"):
        run(growing, Gan())


class EverySecond(Lit):
    """Steps by hand on every second batch, which no trainer knows."""

    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        self.manual_backward(super().training_step(batch, batch_idx))
        if batch_idx % 2:
            self.optimizers().step()
            self.optimizers().zero_grad()


def test_a_run_that_ends_before_the_schedule_does_warns():
    with pytest.warns(UserWarning, match=r"ended after 4 updates.* last at 5.*say steps="):
        run(PruneDuring(density=0.5, every=1), EverySecond())
    pruning = PruneDuring(density=0.5, every=1, steps=4)
    run(pruning, EverySecond())
    assert [int(m.sum()) for m in pruning.mask.values()] == [24, 8]


def test_what_no_optimizer_holds_is_not_pruned():
    class Beside(Lit):
        def configure_optimizers(self):
            return torch.optim.SGD(self.net[2].parameters(), 0.1)

    pruning = PruneDuring(density=0.5, every=1)
    module, _ = run(pruning, Beside())
    assert list(pruning.mask) == ["net.2.weight"] and module.net[0].weight.all()


def test_what_cannot_be_is_refused():
    for make, words in (
        (lambda: PruneDuring(), "a schedule or density="),
        (lambda: PruneDuring(density=2.0), "density=2.0"),
        (lambda: PruneDuring(density=0.5, every=0), "every=0"),
        (lambda: PruneDuring(density=0.5, begin=0.9), "begin < until"),
        (lambda: PruneDuring(3), "int is no schedule"),
        (lambda: run(PruneDuring(rigl())), "the mask is dense"),
        (lambda: run(PruneDuring(lambda s, m, w: {"a": m["net.0.weight"]})), "a mask of a"),
        (lambda: run(PruneDuring(lambda s, m, w: 3)), "is a int"),
        (lambda: run(PruneDuring(lambda s, m, w: {"net.0.weight": [True]})), r"shape \(1,\)"),
        (lambda: run(PruneDuring(density=0.5), Lit(network=nn.LazyLinear(2))), "is lazy"),
        (lambda: run(PruneDuring(density=0.5), Lit(network=nn.Embedding(6, 2))), "mask={name"),
        (lambda: run(PruneDuring(density=0.5), max_epochs=-1), "no known end: say steps="),
    ):
        with pytest.raises(LthError, match=words):
            make()
