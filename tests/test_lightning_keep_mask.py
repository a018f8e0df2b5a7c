"""KeepMask: any LightningModule stays a ticket, under whatever trains it."""

import copy
import subprocess
import sys

import pytest
import torch
from pytorch_lightning.plugins import MixedPrecision
from pytorch_lightning.strategies import FSDPStrategy
from torch import nn

from lth import LthError
from lth.lightning import KeepMask
from tests.lightning_toys import (
    OPTIMIZERS,
    Gan,
    Lit,
    Watch,
    check_zero,
    loader,
    mask_of,
    trainer,
)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_pruned_weights_and_moments_are_zero_after_every_step(optimizer):
    module = Lit(optimizer)
    mask = mask_of(module)
    watch = Watch(mask)
    trainer(KeepMask(mask), watch).fit(module, loader(), loader())
    assert watch.looks == 10
    check_zero(module, mask)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_precisions(precision):
    module = Lit()
    mask = mask_of(module)
    trainer(KeepMask(mask), Watch(mask), precision=precision).fit(module, loader(), loader())
    check_zero(module, mask)


def test_accumulated_and_clipped_gradients():
    module = Lit("sgd")
    mask = mask_of(module)
    settings = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.01}
    trainer(KeepMask(mask), Watch(mask), **settings).fit(module, loader(), loader())
    check_zero(module, mask)


def test_a_loss_scaler():
    module = Lit("sgd")
    mask = mask_of(module)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    settings = {"plugins": plugin, "gradient_clip_val": 0.1}
    trainer(KeepMask(mask), Watch(mask), **settings).fit(module, loader(), loader())
    check_zero(module, mask)


def test_a_gradient_that_is_no_number_stays_out_of_pruned_weights():
    """An update of a kept weight would be lost too if its own gradient were no number."""

    class Broken(Lit):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss + (self.net[0].weight[~mask["net.0.weight"]] * float("inf")).sum() * 0

        def on_after_backward(self):
            self.seen = self.net[0].weight.grad.isfinite().all()

    module = Broken("adam")
    mask = mask_of(module)
    trainer(KeepMask(mask), Watch(mask)).fit(module, loader(), loader())
    assert module.seen
    assert all(p.isfinite().all() for p in module.parameters())


def test_a_gan_of_two_optimizers_clips_the_masked_norm():
    module = Gan()
    mask = mask_of(module)
    watch, module.mask = Watch(mask), mask
    trainer(KeepMask(mask), watch).fit(module, loader())
    assert watch.looks == 10 and len(module.norms) == 20
    assert all(norm == pytest.approx(expected) for norm, expected in module.norms)


def test_wrong_masks_are_refused_by_name():
    module = Lit()
    right = mask_of(module)
    for mask, words in (
        ({"0.weight": right["net.0.weight"]}, "no parameter 0.weight; did you mean net.0.weight?"),
        ({"net.0.weigth": right["net.0.weight"]}, "did you mean net.0.weight?"),
        ({"net.0.weight": right["net.0.weight"].T}, r"has shape \(6, 8\)"),
    ):
        with pytest.raises(LthError, match=words):
            trainer(KeepMask(mask)).fit(module, loader(), loader())
    with pytest.raises(LthError, match="not booleans"):
        KeepMask({"net.0.weight": torch.ones(8, 6)})
    with pytest.raises(LthError, match="there is no mask"):
        trainer(KeepMask()).fit(module, loader(), loader())


def test_masks_are_taken_in_any_form():
    mask = mask_of(Lit())
    nested = {"net": {0: {"weight": mask["net.0.weight"]}, "2": {"weight": mask["net.2.weight"]}}}
    for form in (
        {n: m.numpy() for n, m in mask.items()}, {n: m.tolist() for n, m in mask.items()}, nested,
        {n: m.to_sparse() for n, m in mask.items()},
    ):  # fmt: skip
        module = Lit()
        trainer(KeepMask(form), max_epochs=1).fit(module, loader(), loader())
        check_zero(module, mask)
    for form, words in (
        (3, "is a int"), ({}, "names no weight"), ({"a": "b"}, "a is a str"), ([1], "is a list")
    ):  # fmt: skip
        with pytest.raises(LthError, match=words):
            KeepMask(form)


def test_strategies_that_shard_weights_are_refused():
    keep, module = KeepMask(mask_of(Lit())), Lit()
    loop = trainer(keep)
    loop.strategy.__class__ = type("Sharded", (type(loop.strategy), FSDPStrategy), {})
    with pytest.raises(LthError, match="Sharded shards weights"):
        keep.on_fit_start(loop, module)


def test_the_module_is_left_as_it_was():
    module = Lit()
    mask = mask_of(module)
    loop = trainer(KeepMask(mask), max_epochs=1)
    loop.fit(module, loader(), loader())
    again = copy.deepcopy(module)
    trainer(max_epochs=1).fit(module, loader(), loader())  # with no mask it trains freely
    assert module.net[0].weight[~mask["net.0.weight"]].any()
    trainer(KeepMask(mask), Watch(mask), max_epochs=1).fit(again, loader(), loader())
    fresh = Lit()
    trainer(KeepMask(mask)).validate(fresh, loader(), verbose=False)
    check_zero(fresh, mask)


def test_importing_lth_imports_no_lightning():
    code = "import sys, lth; lth.Ticket; assert 'pytorch_lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


class Target(Lit):
    """A target network that no optimizer holds, copied from the net as in Q-learning."""

    def __init__(self, how):
        super().__init__("sgd")
        self.how, self.target = how, copy.deepcopy(self.net)

    def training_step(self, batch, batch_idx):
        target = [p for p in self.target.parameters() if p.ndim > 1]
        assert all((p == 0).any() for p in target)
        if self.how == "load":
            self.target.load_state_dict(self.net.state_dict())
        return super().training_step(batch, batch_idx)

    def on_train_batch_end(self, *args):
        for own, other in zip(self.net.parameters(), self.target.parameters(), strict=True):
            if self.how == "average":
                other.data = 0.9 * other.data + 0.1 * own.data
            elif self.how == "noise":
                own.data.add_(0.01)

    def configure_optimizers(self):
        return OPTIMIZERS[self.optimizer](self.net.parameters())


@pytest.mark.parametrize("how", ["load", "average", "noise"])
def test_weights_that_the_module_moves_itself(how):
    module = Target(how)
    mask = mask_of(module)
    watch = Watch(mask)
    trainer(KeepMask(mask), watch).fit(module, loader(), loader())
    assert watch.looks == 10
    check_zero(module, mask)


class Renewing(Lit):
    """Puts a new weight in the place of an old one when its second epoch starts."""

    def on_train_epoch_start(self):
        if self.current_epoch == 1:
            self.net[0].weight = nn.Parameter(self.net[0].weight.detach() + 1)
            self.trainer.optimizers[0].add_param_group({"params": [self.net[0].weight]})


def test_a_weight_that_is_replaced_between_epochs():
    module = Renewing("sgd")
    mask = mask_of(module)
    trainer(KeepMask(mask), Watch(mask)).fit(module, loader(), loader())
    check_zero(module, mask)
