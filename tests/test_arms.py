"""Law 4: every arm changes exactly what it says."""

import pytest
import torch

from lth import config, masks
from lth.arms import random_mask, random_reinit, winning_ticket
from lth.spec import build
from lth.streams import stream
from lth.ticket import State, Ticket, draw_state, layers_of

MODEL = {"_target_": "tests.toys.norm_net", "input_shape": [1, 4, 4], "classes": 4}
ARMS = config.choices("arms")


def ticket(seed=0):
    layers, generator = layers_of(MODEL), torch.Generator().manual_seed(seed)
    mask = {n: torch.rand(s, generator=generator) < 0.4 for n, s in layers.shapes.items()}
    params, buffers = draw_state(MODEL, seed)
    buffers = {n: b + 1 for n, b in buffers.items()}  # as after some steps
    return Ticket(MODEL, mask, params, buffers, step=5)


def same_mask(a, b):
    return all(torch.equal(a.mask[n], m) for n, m in b.mask.items())


def same_params(a, b):
    return all(torch.equal(a.params[n], p) for n, p in b.params.items())


def test_the_winning_ticket_is_itself():
    winner = ticket()
    assert winning_ticket()(winner, stream("x")) is winner


def test_random_reinit_keeps_the_mask_and_draws_all_else_anew():
    winner = ticket()
    found = random_reinit()(winner, stream("x"))
    assert same_mask(found, winner) and found.step == 0
    for name in winner.mask:
        assert not (found.params[name] == winner.params[name]).any()
    assert all(torch.equal(found.buffers[n], b) for n, b in draw_state(MODEL, 3).buffers.items())


def test_random_reinit_draws_from_the_models_own_distribution():
    model = {"_target_": "lth.models.lenet", "input_shape": [1, 28, 28], "classes": 10}
    layers = layers_of(model)
    winner = Ticket(model, masks.full(layers, layers.shapes), *draw_state(model, 0))
    found = random_reinit()(winner, stream("x"))
    for name, (out, into) in layers.shapes.items():
        drawn = found.params[name]
        expected = (2 / (out + into)) ** 0.5  # Glorot's
        assert abs(drawn.std() / expected - 1) < 4 / (2 * drawn.numel()) ** 0.5
        assert abs(drawn.mean()) < 4 * expected / drawn.numel() ** 0.5


@pytest.mark.parametrize("reinit", [False, True])
def test_random_mask_keeps_the_counts_of_every_layer(reinit):
    winner = ticket()
    found = random_mask(reinit)(winner, stream("x"))
    assert masks.kept(found.mask) == masks.kept(winner.mask)
    assert all(not torch.equal(found.mask[n], m) for n, m in winner.mask.items())
    assert same_params(found, winner) == (not reinit)
    assert found.step == (0 if reinit else 5)
    assert found.buffers["1.running_mean"].sum() == (0 if reinit else 6)


def test_a_random_mask_is_uniform_over_places():
    winner, counts = ticket(), torch.zeros(4, 24)
    share = winner.mask["5.weight"].float().mean()
    for draw in range(1500):
        counts += random_mask()(winner, stream(draw)).mask["5.weight"]
    spread = (share * (1 - share) / 1500) ** 0.5
    assert ((counts / 1500 - share).abs() < 5 * spread).all()


@pytest.mark.parametrize("name", ARMS)
def test_every_choice_is_a_pure_function_of_ticket_and_generator(name):
    spec = {k: v for k, v in config.load("arms", name)[name].items() if k != "copies"}
    arm, winner = build(spec), ticket()
    before = State(*({n: t.clone() for n, t in part.items()} for part in winner.start))
    a, b, other = (arm(winner, stream("arm", seed)) for seed in (0, 0, 1))
    assert same_mask(a, b) and same_params(a, b) and a.step == b.step
    if name != "winning_ticket":
        assert not (same_mask(a, other) and same_params(a, other))
    assert a.model == MODEL and a.mask.keys() == winner.mask.keys()
    assert a.params.keys() == winner.params.keys() and a.buffers.keys() == winner.buffers.keys()
    for now, then in zip(winner.start, before, strict=True):
        assert all(torch.equal(now[n], t) for n, t in then.items())


@pytest.mark.parametrize("name", ARMS)
def test_no_arm_moves_the_global_generator(name):
    spec = {k: v for k, v in config.load("arms", name)[name].items() if k != "copies"}
    before = torch.get_rng_state()
    build(spec)(ticket(), stream("x"))
    assert torch.equal(torch.get_rng_state(), before)
