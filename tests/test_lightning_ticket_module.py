"""TicketModule and the fast trainer are each other's oracle: bit for bit on a CPU."""

import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

import lth.pruning.rewind
import lth.pruning.rules
from lth import LthError, config
from lth.lightning import TicketData, TicketModule, find_tickets
from lth.networks.ticket import Ticket, draw_state, layers_of
from lth.recipe.recipe import Recipe
from lth.streams import stream_seed
from lth.train.engine import SequentialEngine
from lth.train.job import Job, Streams
from lth.train.masking import Masking
from tests.lightning_toys import check_zero, trainer
from tests.toys import blobs

OPTIMIZERS = config.choices("recipe/optimizer")
NETS = {
    "plain": {"_target_": "tests.toys.mlp", "input_shape": [1, 4, 4], "classes": 4, "width": 12},
    "norm": {"_target_": "tests.toys.norm_net", "input_shape": [1, 4, 4], "classes": 4},
    "tied": {"_target_": "tests.toys.Plain"},
    "dropout": {"_target_": "tests.toys.dropout_net", "input_shape": [1, 4, 4], "classes": 4},
}
MULTISTEP = {"_target_": "lth.recipe.schedule.multistep", "milestones": [6, 9], "warmup": 4}


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


def fast(start, rules, data, level=2, until=None):
    """Train a ticket by the fast trainer's engine."""
    job = Job(
        ticket=start, data={}, recipe=rules.for_ticket(start.stretch, start.changes, start.step),
        lr=start.changes.get("lr", rules.rates[0]), streams=Streams(0, 1, level, start.noise),
        until=until,
    )  # fmt: skip
    engine, masking = SequentialEngine(job, data), Masking(job)
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


@pytest.mark.parametrize("net", ["plain", "norm"])
def test_frozen_values_and_a_stretched_run_of_another_schedule(net):
    data, rules = blobs(), recipe("momentum")
    values = {n: torch.randn(m.shape) for n, m in ticket(net).mask.items()}
    frozen = {n: torch.where(m, 0.0, values[n]) for n, m in ticket(net).mask.items()}
    changes = {"schedule": {"_target_": "lth.recipe.schedule.constant"}, "lr": 0.05}
    start = ticket(net, frozen=frozen, step=3, stretch=1.5, changes=changes, noise=4)
    engine = fast(start, rules, data)
    module, loop = open_door(start, rules, data)
    assert loop.global_step == 15
    assert_same(engine, module)
    for name, mask in start.mask.items():
        assert torch.equal(module.network.get_parameter(name)[~mask], frozen[name][~mask])


@pytest.mark.parametrize(
    "dynamics",
    [
        {"_target_": "lth.pruning.dynamic.sparse_evolution", "every": 2, "until": 0.9},
        {
            "_target_": "lth.pruning.dynamic.gradual",
            "final": {"1.weight": 30},
            "every": 2,
            "until": 0.9,
        },
    ],
)
def test_masks_that_change_on_the_way(dynamics):
    data, rules = blobs(), recipe("adamw")
    start = ticket(dynamics=dynamics)
    if "final" in dynamics:
        start = replace(start, mask={"1.weight": start.mask["1.weight"]})
    engine = fast(start, rules, data)
    module, _ = open_door(start, rules, data)
    assert_same(engine, module)
    assert not torch.equal(engine.mask["1.weight"], start.mask["1.weight"])
    check_zero(module.network, engine.mask)


def test_fused_sgd_where_a_weight_has_its_first_gradient_late():
    data, rules = blobs(), recipe("momentum")
    model = {"_target_": "tests.lightning_toys.Sometimes"}
    params, buffers = draw_state(model, 1)
    start = Ticket(model=model, mask={}, params=params, buffers=buffers)
    engine = fast(start, rules, data)
    module, _ = open_door(start, rules, data)
    assert_same(engine, module)


@pytest.mark.parametrize("stop", [4, 5, 8])
def test_a_run_goes_on_from_a_checkpoint(stop, tmp_path):
    """Within an epoch (of 5 batches) or at its end, the batches, rates and moments go on."""
    data, rules = blobs(), recipe("adamw")
    start = ticket("norm", step=2)
    engine = fast(start, rules, data)
    keep = ModelCheckpoint(tmp_path, every_n_train_steps=stop, filename="{step}", save_top_k=-1)
    open_door(start, rules, data, keep, max_steps=stop, enable_checkpointing=True)
    module = TicketModule(start, rules, seed=0, trial=1, level=2)
    batches = TicketData(data, 30, trial=1, level=2, step=2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*resum.*|.*ckpt_path.*")
        again = trainer(max_steps=11, max_epochs=-1)
        again.fit(module, batches, ckpt_path=tmp_path / f"step={stop}.ckpt")
    assert again.global_step == 11
    assert_same(engine, module)


def test_what_is_logged_and_what_is_refused():
    data, rules = blobs(), recipe()
    module, loop = open_door(ticket(), rules, data)
    assert {"train_loss", "val_loss", "val_accuracy"} <= loop.callback_metrics.keys()
    (tested,) = loop.test(module, TicketData(data, 30, trial=1), verbose=False)
    assert tested.keys() == {"test_loss", "test_accuracy"}
    logits = module(data.prepare(data.test_inputs))
    accuracy = (logits.argmax(1) == data.test_targets).float().mean()
    assert tested["test_accuracy"] == pytest.approx(accuracy.item())
    gate = {"_target_": "lth.networks.gates.edge_popup", "density": 0.5}
    for given, words in (
        (lambda: TicketModule(ticket(gate=gate), rules), "gate"),
        (lambda: TicketModule(ticket(), recipe(lr=[0.1, 0.2])), "say which, lr="),
        (lambda: TicketModule(ticket(), {"steps": 3, "bach": 2}), "bach"),
        (lambda: TicketModule(ticket(), 3), "a Recipe or a mapping"),
        (lambda: TicketModule(None, rules), "ticket is a NoneType: give one of study.ticket"),
        (lambda: TicketData(data, 0), "batch=0"),
    ):
        with pytest.raises(LthError, match=words):
            given()


def test_a_recipe_of_python_things():
    given = {"steps": 4, "batch": 30, "lr": 0.1, "loss": torch.nn.CrossEntropyLoss,
             "optimizer": partial(torch.optim.SGD, momentum=0.5)}  # fmt: skip
    _, loop = open_door(ticket(), given, blobs())
    assert loop.global_step == 4
    assert loop.optimizers[0].param_groups[0]["momentum"] == 0.5


def test_find_tickets_and_the_fast_trainer_find_the_same_tickets():
    """The loop over TicketModule is the loop over the fast trainer's members, bit for bit."""
    data, rules = blobs(), recipe("sgd")
    dense = ticket("norm", share=2.0)
    module, batches = TicketModule(dense, rules, seed=0, trial=1), TicketData(data, 30, trial=1)
    steps = lth.pruning.rewind.to_step(4)
    by_hand, at = dense, None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*resum.*")
        for level, found in find_tickets(  # noqa: B007
            lambda: trainer(max_steps=13, max_epochs=-1), module, batches, rewind=steps, levels=2
        ):
            engine = fast(by_hand, rules, data, level=0)
            assert_same(engine, module)
            for name, mask in by_hand.mask.items():
                assert torch.equal(found.mask[f"network.{name}"], mask)
            at = at or fast(dense, rules, data, level=0, until=4).state(0)
            size = {n: p.abs() for n, p in engine.state(0).params.items()}
            mask = lth.pruning.rules.globally()(
                size, by_hand.mask, layers_of(dense.model), ties=stream_seed("ties", 0)
            )
            by_hand = replace(dense, mask=mask, params=at.params, buffers=at.buffers, step=4)
    assert level == 2
