"""LightningModules of many kinds, as their users write them, and trainers that say nothing."""

import logging

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

for name in ("pytorch_lightning", "lightning.pytorch", "lightning_utilities"):
    logging.getLogger(name).setLevel(logging.ERROR)


def loader(count=40, batch=8, size=6, shuffle=False):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, size, generator=generator)
    targets = (inputs.sum(1) > 0).long()
    return DataLoader(TensorDataset(inputs, targets), batch_size=batch, shuffle=shuffle)


def net():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


class Sometimes(nn.Module):
    """A layer that takes part from the third training batch on."""

    def __init__(self):
        super().__init__()
        self.first, self.late, self.last = nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.seen = 0

    def forward(self, inputs):
        self.seen += self.training
        hidden = self.first(inputs.flatten(1)).relu()
        return self.last(hidden + self.late(hidden) if self.seen > 3 else hidden)


class Drifting(torch.optim.Adam):
    """Moves every weight a little, whatever its gradient, and keeps moments that are never 0."""

    def step(self, closure=None):
        loss = super().step(closure)
        for weight in self.param_groups[0]["params"]:
            weight.data.add_(0.01)
            self.state[weight]["drift"] = torch.ones_like(weight, dtype=torch.float64)
        return loss


OPTIMIZERS = {
    "drifting": lambda p: Drifting(p, 0.02),
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, 0.02, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, 0.02, weight_decay=0.1, amsgrad=True),
    "fused": lambda p: torch.optim.AdamW(p, 0.02, weight_decay=0.1, fused=True),
    "foreach": lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, foreach=True),
    "nadam": lambda p: torch.optim.NAdam(p, 0.02, weight_decay=0.1, decoupled_weight_decay=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.1, initial_accumulator_value=0.1),
    "rprop": lambda p: torch.optim.Rprop(p, 0.01),
    "asgd": lambda p: torch.optim.ASGD(p, 0.1, t0=0, weight_decay=0.1),
    "lbfgs": lambda p: torch.optim.LBFGS(p, 0.5, max_iter=3, line_search_fn="strong_wolfe"),
}  # fmt: skip


class Lit(pl.LightningModule):
    def __init__(self, optimizer="adamw", network=None):
        super().__init__()
        self.optimizer = optimizer
        self.net = net() if network is None else network

    def forward(self, inputs):
        return self.net(inputs)

    def training_step(self, batch, batch_idx):
        loss = functional.cross_entropy(self(batch[0]).float(), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        loss = functional.cross_entropy(self(batch[0]).float(), batch[1])
        self.log("val_loss", loss)

    def configure_optimizers(self):
        return OPTIMIZERS[self.optimizer](self.parameters())


class Gan(pl.LightningModule):
    """Two networks, two optimizers, stepped by hand; the gradients are clipped before the step."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.judge = nn.Linear(4, 6), net()
        self.norms, self.mask = [], {}

    def training_step(self, batch, batch_idx):
        first, second = self.optimizers()
        made = self.generator(torch.ones(len(batch[0]), 4))
        self.toggle_optimizer(first)
        loss = functional.cross_entropy(self.judge(made), torch.ones_like(batch[1]))
        first.zero_grad()
        self.manual_backward(loss)
        self.clip(self.generator, "generator.")
        first.step()
        self.untoggle_optimizer(first)
        self.toggle_optimizer(second)
        loss = functional.cross_entropy(self.judge(made.detach()), torch.zeros_like(batch[1]))
        second.zero_grad()
        loss.backward()
        self.clip(self.judge, "judge.")
        second.step()
        self.untoggle_optimizer(second)

    def clip(self, part, prefix):
        """Clip, and note the norm that was seen beside that of what is kept."""
        kept = [
            p.grad * self.mask.get(prefix + n, torch.tensor(True))
            for n, p in part.named_parameters()
        ]
        expected = torch.cat([g.flatten() for g in kept]).norm().item()
        self.norms.append((nn.utils.clip_grad_norm_(part.parameters(), 0.01).item(), expected))

    def configure_optimizers(self):
        return [
            torch.optim.Adam(self.generator.parameters(), 0.02),
            torch.optim.SGD(self.judge.parameters(), 0.1, momentum=0.9, weight_decay=0.1),
        ]


def trainer(*callbacks, **settings):
    given = {
        "max_epochs": 2, "accelerator": "cpu", "devices": 1, "logger": False,
        "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False, "callbacks": list(callbacks),
    }  # fmt: skip
    return pl.Trainer(**given | settings)


def mask_of(module, share=0.5, names=None):
    generator = torch.Generator().manual_seed(3)
    return {
        n: torch.rand(p.shape, generator=generator) < share
        for n, p in module.named_parameters()
        if p.ndim > 1 and (names is None or n in names)
    }


class Watch(pl.Callback):
    """Looks before and after every batch whether what is pruned is 0: weights and moments."""

    def __init__(self, mask):
        self.mask, self.looks = mask, 0

    def on_train_batch_start(self, trainer, module, *args):
        check_zero(module, self.mask, trainer.optimizers)

    def on_train_batch_end(self, trainer, module, *args):
        check_zero(module, self.mask, trainer.optimizers)
        self.looks += 1


def check_zero(module, mask, optimizers=()):
    weights = dict(module.named_parameters())
    for name, part in mask.items():
        gone = ~part
        assert gone.any()
        assert not weights[name][gone].any(), name
        assert not torch.signbit(weights[name][gone].float()).any(), name
        assert weights[name][part].any(), name
        for optimizer in optimizers:
            for slot, value in optimizer.state.get(weights[name], {}).items():
                if isinstance(value, torch.Tensor) and value.shape == part.shape:
                    assert not value[gone].any(), (name, slot)
