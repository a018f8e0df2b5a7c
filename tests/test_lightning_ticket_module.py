"""TicketModule and the fast trainer are each other's oracle: bit for bit on a CPU."""

import pytest
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint

from lth import LthError, config
from lth.lightning import TicketData, TicketModule
from lth.recipe import Recipe
from lth.ticket import Ticket, draw_state, layers_of
from lth.train.engine import InTurn
from lth.train.job import Job, Streams
from lth.train.masking import Masking
from tests.conftest import blobs
from tests.lightning_toys import check_zero, trainer

OPTIMIZERS = config.choices("recipe/optimizer")
NETS = {
    "plain": {"_target_": "tests.toys.mlp", "input_shape": [1, 4, 4], "classes": 4, "width": 12},
    "norm": {"_target_": "tests.toys.norm_net", "input_shape": [1, 4, 4], "classes": 4},
    "tied": {"_target_": "tests.toys.Plain"},
    "dropout": {"_target_": "tests.toys.dropout_net", "input_shape": [1, 4, 4], "classes": 4},
}
MULTISTEP = {"_target_": "lth.schedule.multistep", "milestones": [6, 9], "warmup": 4}


def recipe(optimizer="adam", **settings):
    spec = config.load("recipe/optimizer", optimizer) | {"weight_decay": 0.05}
    given = {"steps": 13, "batch": 30, "lr": 0.02, "optimizer": spec, "schedule": MULTISTEP}
    return Recipe(**given | settings)


def ticket(net="plain", share=0.5, **fields):
    model = NETS[net]
    params, buffers = draw_state(model, 5)
    generator = torch.Generator().manual_seed(2)
    shapes = layers_of(model).shapes
    mask = {n: torch.rand(s, generator=generator) < share for n, s in shapes.items()}
    return Ticket(model=model, mask=mask, params=params, buffers=buffers, **fields)


def fast(start, rules, data):
    """Train a ticket by the fast trainer's engine."""
    job = Job(start, {}, rules.of(start.stretch, start.changes, start.step),
              start.changes.get("lr", rules.rates[0]), Streams(0, 1, 2, start.noise))  # fmt: skip
    engine, masking = InTurn(job, data), Masking(job)
    for step in range(start.step, job.last):
        masking.change(engine, 0, step)
        engine.advance(step, step + 1, lambda loss: loss.backward())
    return engine


def open_door(start, rules, data, *callbacks, **settings):
    """Train it by an ordinary trainer."""
    module = TicketModule(start, rules, seed=0, trial=1, level=2)
    batches = TicketData(data, 30, trial=1, level=2, noise=start.noise, step=start.step)
    given = {"max_steps": module.steps_left, "max_epochs": -1}
    loop = trainer(*callbacks, **given | settings)
    loop.fit(module, batches)
    return module, loop


def assert_same(engine, module):
    state = engine.state(0)
    params, buffers = dict(module.network.named_parameters()), dict(module.network.named_buffers())
    assert params.keys() == state.params.keys() and buffers.keys() == state.buffers.keys()
    for name, value in {**state.params, **state.buffers}.items():
        assert torch.equal(value, {**params, **buffers}[name]), name


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_bit_for_bit(optimizer, net):
    data, rules = blobs(), recipe(optimizer)
    start = ticket(net, step=2)
    before = {n: p.clone() for n, p in start.start.params.items()}
    engine = fast(start, rules, data)
    module, _ = open_door(start, rules, data)
    assert_same(engine, module)
    check_zero(module.network, start.mask)
    moved = dict(module.network.named_parameters())
    assert all(not torch.equal(moved[n], p) for n, p in before.items())
