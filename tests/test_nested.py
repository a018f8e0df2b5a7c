"""Nested tickets: one set of weights that holds the winning tickets of several levels."""

import pytest
import torch

from lth import LthError, moves
from lth.networks import masks
from lth.networks.net import Net
from lth.networks.rewrites.carry import carried
from lth.networks.rewrites.nesting import with_ranks
from lth.networks.ticket import Ticket, draw_state, layers_of, network_of
from tests import laws, toys
from tests.toys import NORM, counts, run_study

REWRITES = "lth.networks.rewrites"
LEVELS = [1, 2, 4]


def nested(model=NORM, levels=LEVELS):
    return {"_target_": f"{REWRITES}.nested", "model": model, "levels": levels}


def at(level, model=None):
    return {"_target_": f"{REWRITES}.at_ticket", "model": model or nested(), "level": level}


def three(model=NORM):
    """A net, and three nested masks of it."""
    state, generator = draw_state(model, 3), torch.Generator().manual_seed(3)
    found = [{n: torch.ones(s, dtype=torch.bool) for n, s in layers_of(model).shapes.items()}]
    for share in (0.8, 0.6, 0.5):
        draw = {n: torch.rand(m.shape, generator=generator) < share for n, m in found[0].items()}
        found.append(masks.intersect(found[-1], draw))
    return Net(model=model, mask=found[1], **state._asdict()), found[1:]


def held():
    net, each = three()
    return with_ranks(carried(net, nested()), each), net, each


def examples():
    return torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(5))


def test_it_is_the_network_under_its_largest_mask_bit_for_bit():
    made, net, _ = held()
    network, plain, x = made.module(), net.module(), examples()
    assert torch.equal(network.eval()(x), plain.eval()(x))
    outputs = network.train()(x)
    assert len(outputs) == 3 and torch.equal(outputs[-1], plain.train()(x))
    alone = carried(net, nested(levels=[7]))
    assert torch.equal(alone.module().train()(x)[0], net.module().train()(x))


@pytest.mark.parametrize(("level", "place"), [(1, 0), (2, 1), (4, 2)])
def test_every_ticket_is_taken_out_as_it_is_inside(level, place):
    made, net, each = held()
    ticket, x = carried(made, at(level)), examples()
    assert all(torch.equal(m, each[place][n]) for n, m in ticket.mask.items())
    assert ticket.mask.keys() == net.mask.keys() and ticket.params.keys() == net.params.keys()
    for name, mask in ticket.mask.items():
        assert torch.equal(ticket.params[name], net.params[name] * mask)
    inside = network_of(made.model, made.start).eval()
    assert torch.equal(ticket.module().eval()(x), inside.networks[-1 - place](x))


def test_every_ticket_has_norms_of_its_own_and_gradients_of_its_weights_alone():
    made, _, each = held()
    network = made.module()
    network(examples())[0].sum().backward()
    gradient = (
        dict(network.named_parameters())["model.0.parametrizations.weight.original"].grad
        if "model.0.weight" not in dict(network.named_parameters())
        else network.model[0].weight.grad
    )
    assert bool(gradient.any()) and not bool(gradient[~each[2]["0.weight"]].any())
    norms = [n for n, _ in made.params.items() if n.endswith("1.weight")]
    assert norms == ["model.1.weight", "smaller.0.1.weight", "smaller.1.1.weight"]


def test_one_file_holds_all_of_them(tmp_path):
    made, _, each = held()
    ticket = Ticket(**{n: getattr(made, n) for n in ("model", "mask", "params", "buffers")})
    ticket.save(tmp_path / "nested.safetensors")
    again = Ticket.load(tmp_path / "nested.safetensors", trust=["tests.toys"])
    assert again == ticket
    for level, mask in zip(LEVELS, each, strict=True):
        assert carried(again.net, at(level)).mask["0.weight"].equal(mask["0.weight"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: carried(three()[0], nested(levels=[2, 1])).module(), "they rise"),
        (lambda: carried(three()[0], nested(levels=[])).module(), "at least one"),
        (lambda: carried(held()[0], at(3)), "level=3: the network holds tickets of 1, 2, 4"),
        (lambda: carried(three()[0], at(1, NORM)), "holds no nested tickets"),
        (lambda: with_ranks(held()[0], held()[2][::-1]), "keeps weights that the one before it"),
        (lambda: moves.nested_tickets([]), "a list of levels, or null"),
        (lambda: moves.nested_tickets([-1]), "a list of levels, or null"),
        (lambda: moves.nested_tickets(weights="drawn"), "weights"),
        (lambda: moves.at_ticket(-1), "level=-1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, words):
    with pytest.raises(LthError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


# in a study

ALL = {"_target_": "lth.moves.nested_tickets"}
MEASURE = {"_target_": "lth.moves.measure"}


def hanging(*listed):
    return {"at": "last", "moves": list(listed)}


def take(level):
    return {"_target_": "lth.moves.at_ticket", "level": level}


def test_a_chains_tickets_train_together_and_are_measured_one_by_one(tmp_path):
    method = {"all": hanging(ALL)} | {f"at{n}": hanging(ALL, take(n), MEASURE) for n in (1, 2, 3)}
    settings = {"model": toys.norm_net, "levels": 3, "trials": 1, "rewind": {"step": 4}}
    study = run_study(tmp_path, **settings, method=method, arms=["winning_ticket"])
    assert counts(study) == (4 + 1 + 3, 0)
    assert {(p.level, p.phase) for p in study.members if p.arm == "all"} == {(3, 1)}
    whole = study.entry(arm="all", level=3)
    assert (whole.about["step"], whole.about["steps"]) == (4, 16)
    assert whole.about["model"]["levels"] == [1, 2, 3]
    for level in (1, 2, 3):
        own, ticket = study.entry(arm=f"at{level}", level=3), study.ticket(level=level)
        assert all(torch.equal(m, ticket.mask[n]) for n, m in own.mask.items())
        rows = [r for r in study.records if r.arm == f"at{level}" and r.phase == 2]
        assert {r.density for r in rows} == {ticket.density}
        assert own.about["model"]["_target_"] == f"{REWRITES}.at_ticket"
        name = "model.0.weight"
        assert torch.equal(
            own.final.params["0.weight"], whole.final.params[name] * own.mask["0.weight"]
        )
        start = study.entry().at(4).params["0.weight"] * study.ticket(level=1).mask["0.weight"]
        assert torch.equal(whole.start.params[name], start)
    again = run_study(tmp_path, **settings, method=method, arms=["winning_ticket"])
    assert counts(again) == (0, 8) and again.records == study.records


def test_the_laws_hold_and_what_it_took_is_what_the_lowest_ticket_took(tmp_path):
    study, setup = laws.run(out=str(tmp_path), method={"m": hanging(ALL, take(1), MEASURE)})
    laws.check(study, setup)
    costs = {
        r.arm: r.value for r in study.records
        if r.metric == "search_flops" and (r.level, r.trial) == (2, 0) and r.phase < 2
    }  # fmt: skip
    assert costs["m"] == costs["winning_ticket"]


def test_what_does_not_compose_is_refused_before_work(tmp_path):
    def refused(words, *listed, **settings):
        with pytest.raises(LthError, match=words):
            toys.setup_of(tmp_path, method={"m": hanging(*listed)}, **settings)

    refused(
        r"method.m: moves.at_ticket: level=9: it holds 1, 2: nested_tickets comes", ALL, take(9)
    )
    refused(r"method.m: moves.at_ticket: level=1: it holds no tickets", take(1), MEASURE)
    refused(r"method.m: level 7: no winning ticket of it so far", ALL | {"levels": [1, 7]})
    line = "method.m: moves.nested_tickets: no winning ticket is compared, .*: levels=2"
    refused(line, ALL, levels=0)
    refused(line, ALL, take(1), MEASURE, levels=0)
    with pytest.raises(
        LthError, match=r"method.m.at='lst': it is winners, last, dense, or a level"
    ):
        toys.setup_of(tmp_path, method={"m": {"at": "lst", "moves": [ALL]}})
