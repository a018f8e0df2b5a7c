"""find_tickets: the loop over any LightningModule and Trainer."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

import lth
from lth import LthError
from lth.lightning import find_tickets
from tests.lightning_toys import Gan, Lit, check_zero, loader, trainer


def test_the_defaults_find_nested_tickets_at_the_initial_weights():
    torch.manual_seed(0)
    module = Lit("sgd")
    initial = {n: p.detach().clone() for n, p in module.named_parameters()}
    alive, tickets = 48 + 16, []
    for level, ticket in find_tickets(trainer, module, (loader(), loader()), levels=3):
        alive -= round(0.2 * alive) if level else 0
        assert ticket.density == alive / 64
        mask, start, step = ticket
        assert set(mask) == {"net.0.weight", "net.2.weight"} and step == 0
        for name, value in start.items():
            expected = initial[name] * mask[name] if name in mask else initial[name]
            assert torch.equal(value, expected)
        if level:
            check_zero(module, {n: m for n, m in mask.items() if not m.all()})
            assert lth.masks.is_nested(mask, tickets[-1].mask)
        assert any(not torch.equal(p, start[n]) for n, p in module.named_parameters())
        tickets.append(ticket)
    assert len(tickets) == 4
