"""Law 4: every arm changes exactly what it says."""

import inspect
from functools import partial

import pytest
import torch

from lth import LthError, config
from lth.arms import (
    constant,
    context_of,
    freeze,
    longer,
    noise,
    random_mask,
    random_reinit,
    rescaled,
    reshuffle,
    small_dense,
    winning_ticket,
)
from lth.arms.random_masks import erk_densities
from lth.arms.small import count_weights, narrow
from lth.networks import masks
from lth.networks.ticket import State, Ticket, draw_state, layers_of
from lth.spec.build import build
from lth.streams import stream

MODEL = {"_target_": "tests.toys.norm_net", "input_shape": [1, 4, 4], "classes": 4}
ARMS = (  # those that change one thing of the ticket; tests/laws.py has what holds for every arm
    "winning_ticket", "random_reinit", "signed_reinit", "reshuffle", "signed_reshuffle",
    "signed_constant", "random_signed_constant", "noise", "rescaled", "freeze", "freeze_grown",
    "random_mask", "random_mask_global", "random_mask_uniform", "random_mask_erk", "sgd_noise",
    "dense_child", "small_dense", "small_dense_longer",
)  # fmt: skip


def ticket(seed=0):
    layers, generator = layers_of(MODEL), stream("mask", seed)  # not the weights' own
    mask = {n: torch.rand(s, generator=generator) < 0.4 for n, s in layers.shapes.items()}
    params, buffers = draw_state(MODEL, seed)
    buffers = {n: b + 1 for n, b in buffers.items()}  # as after some steps
    return Ticket(model=MODEL, mask=mask, params=params, buffers=buffers, step=5)


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
    winner = Ticket(
        model=model, mask=masks.full(layers, layers.shapes), **draw_state(model, 0)._asdict()
    )
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


def made(name):
    """The arm of a YAML, with the context that the loop gives it."""
    spec = {k: v for k, v in config.load("arms", name)[name].items() if k != "copies"}
    arm = build(spec)
    given = {"trained": TRAINED, "input_shape": (1, 4, 4)}
    asked = inspect.signature(arm).parameters
    return partial(arm, **{k: v for k, v in given.items() if k in asked})


LENET = {"_target_": "lth.models.lenet", "input_shape": [1, 4, 4], "classes": 4,
         "widths": [24, 12], "init": "glorot_normal"}  # fmt: skip
TRAINED = {n: torch.randn(p.shape) for n, p in draw_state(LENET, 0).params.items()}


def lenet_ticket():
    layers, generator = layers_of(LENET), torch.Generator().manual_seed(0)
    mask = {n: torch.rand(s, generator=generator) < 0.3 for n, s in layers.shapes.items()}
    return Ticket(model=LENET, mask=mask, **draw_state(LENET, 0)._asdict(), step=5)


@pytest.mark.parametrize("name", ARMS)
def test_every_choice_is_a_pure_function_of_ticket_and_generator(name):
    arm, winner = made(name), lenet_ticket()
    before = State(*({n: t.clone() for n, t in part.items()} for part in winner.start))
    a, b, other = (arm(winner, stream("arm", seed)) for seed in (0, 0, 1))
    assert same_mask(a, b) and same_params(a, b) and a.step == b.step
    fixed = name in ("winning_ticket", "signed_constant", "rescaled", "freeze", "freeze_grown",
                     "sgd_noise", "dense_child")  # fmt: skip
    assert (a.noise != other.noise) == (name in ("sgd_noise", "dense_child"))
    assert (a.model == other.model and same_mask(a, other) and same_params(a, other)) == fixed
    for now, then in zip(winner.start, before, strict=True):
        assert all(torch.equal(now[n], t) for n, t in then.items())


@pytest.mark.parametrize("name", ARMS)
def test_every_choice_keeps_what_its_name_says(name):
    winner = lenet_ticket()
    found = made(name)(winner, stream("x"))
    if name.startswith("small_dense"):
        assert found.model != winner.model and all(m.all() for m in found.mask.values())
        return
    if name == "dense_child":
        assert found.density == 1 and same_params(found, winner) and found.step == 5
        return
    assert found.model == winner.model and found.weights == winner.weights
    assert same_mask(found, winner) == (not name.startswith("random_mask"))
    counts = masks.kept(found.mask) == masks.kept(winner.mask)
    assert counts == (name not in ("random_mask_global", "random_mask_uniform", "random_mask_erk"))
    assert found.step == (0 if "reinit" in name else 5)
    same_signs = all(
        torch.equal(found.params[n][m] < 0, winner.params[n][m] < 0) for n, m in winner.mask.items()
    )
    random_signs = ("random_reinit", "reshuffle", "random_signed_constant", "noise")
    assert same_signs == (name not in random_signs)
    unpruned = {n for n in winner.params if n not in winner.mask}
    if "reinit" not in name:
        assert all(torch.equal(found.params[n], winner.params[n]) for n in unpruned)


@pytest.mark.parametrize("name", ARMS)
def test_no_arm_moves_the_global_generator(name):
    before = torch.get_rng_state()
    made(name)(lenet_ticket(), stream("x"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("keep_signs", [False, True])
def test_a_reshuffle_deals_the_same_values(keep_signs):
    winner = lenet_ticket()
    found = reshuffle(keep_signs)(winner, stream("x"))
    for name, mask in winner.mask.items():
        ours, theirs = found.params[name][mask], winner.params[name][mask]
        if keep_signs:
            ours, theirs = ours.abs(), theirs.abs()
        assert torch.equal(ours.sort().values, theirs.sort().values)
        assert not torch.equal(found.params[name][mask], winner.params[name][mask])


@pytest.mark.parametrize("signs", ["ticket", "random", "positive"])
def test_constants_are_plus_or_minus_the_standard_deviation(signs):
    winner = lenet_ticket()
    found = constant(signs)(winner, stream("x"))
    for name, mask in winner.mask.items():
        expected = winner.params[name].std(correction=0)
        torch.testing.assert_close(found.params[name][mask].abs(), expected.expand(int(mask.sum())))
        if signs == "positive":
            assert bool((found.params[name][mask] > 0).all())


def test_noise_is_as_large_as_it_says_and_none_is_none():
    winner = big_ticket()
    found = noise(2.0)(winner, stream("x"))
    change = (found.params["fc1.weight"] - winner.params["fc1.weight"])[winner.mask["fc1.weight"]]
    expected = 2 * winner.params["fc1.weight"].std()
    assert abs(change.std() / expected - 1) < 0.02
    assert same_params(noise(0)(winner, stream("x")), winner)


def big_ticket():
    model = {**LENET, "input_shape": [1, 28, 28], "widths": [300, 100], "classes": 10}
    layers, generator = layers_of(model), torch.Generator().manual_seed(0)
    mask = {n: torch.rand(s, generator=generator) < 0.2 for n, s in layers.shapes.items()}
    return Ticket(model=model, mask=mask, **draw_state(model, 0)._asdict())


def test_rescaling_multiplies_by_a_power_of_the_inverse_density():
    winner = lenet_ticket()
    found = rescaled(winning_ticket(), 1.0)(winner, stream("x"))
    for name, mask in winner.mask.items():
        factor = mask.numel() / int(mask.sum())
        torch.testing.assert_close(found.params[name], winner.params[name] * factor)


def test_random_masks_keep_their_total_and_spread_it_as_they_say():
    winner = big_ticket()
    sizes = {n: m.numel() for n, m in winner.mask.items()}
    shares = {}
    for counts in ("global", "uniform", "erk"):
        mask = random_mask(counts=counts)(winner, stream("x")).mask
        assert sum(masks.kept(mask).values()) == sum(masks.kept(winner.mask).values())
        shares[counts] = {n: k / sizes[n] for n, k in masks.kept(mask).items()}
    density = winner.density
    assert all(abs(s - density) < 1e-3 for s in shares["uniform"].values())
    assert all(abs(s - density) < 0.08 for s in shares["global"].values())
    assert len({round(s, 6) for s in shares["global"].values()}) == 3
    erk = shares["erk"]
    raw = {n: sum(m.shape) / m.numel() for n, m in winner.mask.items()}
    assert erk["output.weight"] == 1.0  # the small layer is full, the others keep the ratio
    ratio = erk["fc2.weight"] / erk["fc1.weight"]
    assert ratio == pytest.approx(raw["fc2.weight"] / raw["fc1.weight"], rel=1e-2)
    assert erk_densities(winner.mask)["fc1.weight"] == pytest.approx(erk["fc1.weight"], rel=1e-3)


@pytest.mark.parametrize("values", ["init", "reinit"])
@pytest.mark.parametrize("only", ["all", "grew", "shrank"])
def test_frozen_weights_are_those_it_says_at_the_values_it_says(values, only):
    winner = lenet_ticket()
    found = freeze(values, only)(winner, stream("x"), trained=TRAINED)
    for name, mask in winner.mask.items():
        start, frozen = winner.params[name], found.frozen[name]
        grew = TRAINED[name].abs() > start.abs()
        wanted = ~mask & {"all": grew | ~grew, "grew": grew, "shrank": ~grew}[only]
        assert torch.equal(frozen != 0, wanted)
        assert torch.equal(frozen[wanted], start[wanted]) == (values == "init")
        assert torch.equal(found.start.params[name], torch.where(mask, start, frozen))


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
@pytest.mark.parametrize(
    "model",
    [
        {"_target_": "lth.models.lenet", "input_shape": [1, 28, 28], "widths": [300, 100]},
        {"_target_": "lth.models.conv", "input_shape": [3, 32, 32], "blocks": [64, 128],
         "hidden": 256},
        {"_target_": "lth.models.resnet", "input_shape": [3, 32, 32], "depth": 20, "width": 16},
    ],
    ids=["lenet", "conv4", "resnet20"],
)  # fmt: skip
def test_a_small_dense_network_has_as_many_weights_as_it_can(model, share):
    model = {**model, "classes": 10}
    wanted = round(share * count_weights(model))
    spec = narrow(model, wanted)
    found = count_weights(spec)
    step = {"resnet": 0.35, "lenet": 0.1, "conv": 0.2}[model["_target_"].rpartition(".")[2]]
    assert abs(found - wanted) < step * wanted
    assert spec["_target_"] == model["_target_"] and spec["classes"] == 10


def test_a_small_dense_network_trains_longer_on_the_same_budget():
    winner = big_ticket()
    same, longer, capped = (
        small_dense(budget, longest=longest)(winner, stream("x"), input_shape=(1, 28, 28))
        for budget, longest in (("steps", None), ("flops", None), ("flops", 2.0))
    )
    assert same.stretch == 1.0 and same.weights == longer.weights
    assert longer.stretch == pytest.approx(266_200 / longer.weights) and capped.stretch == 2.0
    assert not same.searched


def test_bad_arms_are_refused():
    for factory, words in (
        (partial(random_mask, counts="some"), "counts=some"),
        (partial(constant, "theirs"), "signs=theirs"),
        (partial(noise, -1), "scale=-1"),
        (partial(freeze, "zero"), "values=zero"),
        (partial(freeze, only="none"), "only=none"),
        (partial(small_dense, "time"), "budget=time"),
    ):
        with pytest.raises(LthError, match=words):
            factory()
    with pytest.raises(LthError, match=r"none of the arguments widths, .*arguments"):
        narrow(MODEL, 10)


def test_longer_trains_another_arm_with_all_it_asks_for():
    winner = big_ticket()
    given = {"input_shape": (1, 28, 28), "initial": None, "trained": {}}
    found = longer(small_dense("flops", longest=2.0), 3.0)(winner, stream("x"), **given)
    plain = small_dense("flops", longest=2.0)(winner, stream("x"), input_shape=(1, 28, 28))
    assert found.stretch == 6.0 == 3 * plain.stretch and found.weights == plain.weights
    assert same_params(longer(winning_ticket())(winner, stream("x")), winner)
    with pytest.raises(LthError, match="times=0: how many times"):
        longer(winning_ticket(), 0)
    assert context_of(small_dense(), {"input_shape": 1, "trained": 2}) == {"input_shape": 1}
