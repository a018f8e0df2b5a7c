"""KeepMask and modules of many kinds: compiled, late, tied, averaged, unfrozen, by hand."""

import warnings

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    BackboneFinetuning,
    EMAWeightAveraging,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from lth import LthError
from lth.lightning import KeepMask, RewindPoint
from tests.lightning_toys import (
    Lit,
    Watch,
    check_zero,
    loader,
    mask_of,
    net,
    trainer,
)


class Quiet(Lit):
    """Logs nothing: what torch.compile takes whole."""

    def training_step(self, batch, batch_idx):
        return functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        return functional.cross_entropy(self(batch[0]), batch[1])


def test_compiled_modules_and_compiled_parts():
    module = Quiet("sgd")
    mask = mask_of(module)
    compiled = torch.compile(module, backend="aot_eager")
    trainer(KeepMask(mask), Watch(mask)).fit(compiled, loader(), loader())
    check_zero(module, mask)
    module = Quiet("adamw")
    module.net = torch.compile(module.net, backend="aot_eager")
    trainer(KeepMask(mask)).fit(module, loader(), loader())  # by the names without _orig_mod
    check_zero(module.net._orig_mod, {n.removeprefix("net."): m for n, m in mask.items()})
    own = {n.replace("net.", "net._orig_mod."): m for n, m in mask.items()}
    trainer(KeepMask(own), Watch(own)).fit(module, loader(), loader())


class Late(Lit):
    """Makes its weights in configure_model."""

    def __init__(self):
        super().__init__()
        self.net = None

    def configure_model(self):
        self.net = self.net or net()


def test_weights_made_late_and_lazy_ones():
    module, mask = Late(), mask_of(Lit())
    trainer(KeepMask(mask), Watch(mask)).fit(module, loader(), loader())
    check_zero(module, mask)
    lazy = Lit(network=nn.Sequential(nn.LazyLinear(8), nn.LazyLinear(2)))
    with pytest.raises(LthError, match="is lazy"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer(KeepMask({"net.0.weight": mask["net.0.weight"]})).fit(lazy, loader(), loader())


class Language(pl.LightningModule):
    """Tied, recurrent and attention weights."""

    def __init__(self, sparse=False):
        super().__init__()
        self.embed, self.sparse = nn.Embedding(10, 8, sparse=sparse), sparse
        self.rnn, self.heads = nn.LSTM(8, 8, batch_first=True), nn.MultiheadAttention(8, 2)
        self.head = nn.Linear(8, 10, bias=False)
        if not sparse:
            self.head.weight = self.embed.weight

    def training_step(self, batch, batch_idx):
        tokens = (batch[0] * 3).long().remainder(10)
        hidden, _ = self.rnn(self.embed(tokens))
        hidden, _ = self.heads(hidden, hidden, hidden)
        return functional.cross_entropy(self.head(hidden).flatten(0, 1), tokens.flatten())

    def configure_optimizers(self):
        kind = torch.optim.SGD if self.sparse else torch.optim.AdamW
        return kind(self.parameters(), 0.05)


@pytest.mark.parametrize("sparse", [False, True])
def test_tied_recurrent_attention_and_sparse_weights(sparse):
    module = Language(sparse)
    mask = mask_of(module)
    assert len(mask) == (6 if sparse else 5)
    trainer(KeepMask(mask), Watch(mask)).fit(module, loader())
    check_zero(module, mask)
    if not sparse:
        other = {"head.weight" if n == "embed.weight" else n: m for n, m in mask.items()}
        module = Language()
        trainer(KeepMask(other), Watch(mask)).fit(module, loader())
        with pytest.raises(LthError, match="are one weight, and their masks differ"):
            both = mask | {"head.weight": ~mask["embed.weight"]}
            trainer(KeepMask(both)).fit(Language(), loader())


def test_a_weight_norm_whose_row_is_pruned_whole():
    first = parametrizations.weight_norm(nn.Linear(6, 8))
    module = Lit(network=nn.Sequential(first, nn.ReLU(), nn.Linear(8, 2)))
    kept = torch.ones(8, 6, dtype=torch.bool)
    kept[0] = False
    mask = {"net.0.parametrizations.weight.original1": kept}
    trainer(KeepMask(mask), Watch(mask)).fit(module, loader(), loader())
    assert all(p.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "average",
    [
        lambda: EMAWeightAveraging(decay=0.9),
        lambda: EMAWeightAveraging(update_starting_at_step=100),  # it keeps the first weights
        lambda: StochasticWeightAveraging(0.05, swa_epoch_start=1),
    ],
)
def test_averages_of_weights(average, first, tmp_path):
    module = Lit("sgd")
    mask = mask_of(module)
    callbacks = [KeepMask(mask), average()]
    save = ModelCheckpoint(tmp_path, save_last=True)
    loop = trainer(
        *(callbacks if first else callbacks[::-1]), save, enable_checkpointing=True, max_epochs=3
    )
    loop.fit(module, loader(), loader())
    check_zero(module, mask)
    for path in tmp_path.glob("*.ckpt"):
        check_zero(Lit.load_from_checkpoint(path), mask)


def test_layers_that_are_unfrozen_on_the_way():
    class Tuned(Lit):
        def __init__(self):
            super().__init__("sgd")
            self.backbone = self.net[0]

        def configure_optimizers(self):
            own = [p for p in self.parameters() if p.requires_grad]
            return torch.optim.SGD(own, 0.1, momentum=0.9)

    module = Tuned()
    mask = mask_of(module)
    before = module.backbone.weight.detach().clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tune = BackboneFinetuning(1, verbose=False)
        trainer(KeepMask(mask), Watch(mask), tune, max_epochs=3).fit(module, loader(), loader())
    assert not torch.equal(
        before[mask["net.0.weight"]], module.backbone.weight[mask["net.0.weight"]]
    )


class Odd:
    """No torch optimizer, but Lightning takes it; it moves weights without a gradient too."""

    def __init__(self, weights):
        self.param_groups, self.state, self.defaults = [{"params": list(weights)}], {}, {}

    def step(self, closure=None):
        loss = closure() if closure else None
        for weight in self.param_groups[0]["params"]:
            weight.data.sub_(0.1 * weight.grad + 0.01)
        return loss

    def zero_grad(self, set_to_none=True):
        for weight in self.param_groups[0]["params"]:
            weight.grad = None

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_optimizers_that_move_what_has_no_gradient():
    class Other(Lit):
        def configure_optimizers(self):
            return Odd(self.parameters())

    module = Other()
    mask = mask_of(module)
    trainer(KeepMask(mask), Watch(mask)).fit(module, loader(), loader())
    check_zero(module, mask)


def test_raw_optimizers_of_a_manual_loop():
    class Raw(Lit):
        def __init__(self):
            super().__init__("adamw")
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers(use_pl_optimizer=False)
            optimizer.zero_grad()
            functional.cross_entropy(self(batch[0]), batch[1]).backward()
            optimizer.step()

    module = Raw()
    mask, point = mask_of(module), RewindPoint(step=10)
    trainer(KeepMask(mask), Watch(mask), point).fit(module, loader(), loader())
    check_zero(module, mask)
    assert module.global_step == 0 and point.reached  # Lightning does not count them


def test_gradients_that_a_hook_changes_are_masked_before_they_are_clipped():
    class Noise(Lit):
        def on_after_backward(self):
            for weight in self.parameters():
                weight.grad.add_(1.0)

        def configure_gradient_clipping(self, optimizer, *args, **kwargs):
            for name, part in mask.items():
                assert not self.get_parameter(name).grad[~part].any()

    module = Noise()
    mask = mask_of(module)
    trainer(KeepMask(mask), Watch(mask)).fit(module, loader(), loader())
