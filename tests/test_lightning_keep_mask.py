"""KeepMask: any LightningModule stays a ticket, under whatever trains it."""

import pytest
import torch

from lth import LthError
from lth.lightning import KeepMask
from tests.lightning_toys import OPTIMIZERS, Gan, Lit, Watch, check_zero, loader, mask_of, trainer


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
    trainer(KeepMask(mask), Watch(mask), **settings).fit(
        module, loader(), loader()
    )
    check_zero(module, mask)


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
