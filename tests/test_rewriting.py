"""Rewrites as moves: another form of the network, with the weights that are asked for."""

from itertools import pairwise

import pytest
import torch
from rich.console import Console

from lth import LthError, config
from lth.networks.net import Net
from lth.networks.rewrites.carry import carried, full_mask
from lth.networks.ticket import draw_state
from lth.study.progress import Display
from lth.study.run import execute, study_of
from lth.study.setup import prepare
from tests import laws, toys

STEPS = laws.SETTINGS["recipe"]["steps"]
TURN = {"_target_": "tests.toys.turn_units"}
MEASURE = {"_target_": "lth.moves.measure"}
PRUNE = {"_target_": "lth.moves.prune"}
FINE_TUNE = {"_target_": "lth.moves.fine_tune", "steps": 6}


def run(out, *moves, at="winners", **settings):
    method = {"m": {"at": at, "moves": list(moves)}}
    given = laws.SETTINGS | {"trials": 1, "out": str(out), "model": toys.mlp, "levels": 1}
    setup = prepare(config.compose(**given | {"method": method} | settings))
    execute(setup, Display(Console(), enabled=False))
    return study_of(setup)


def outputs(network):
    return network.eval()(torch.linspace(-1, 1, 3 * 16).reshape(3, 1, 4, 4))


def values(study, **where):
    """What was measured at the end of one member, by split and metric."""
    return {(r.split, r.metric): r.value for r in study.records
            if all(getattr(r, k) == v for k, v in where.items())
            and not r.metric.endswith(("flops", "_step"))}  # fmt: skip


def test_a_phase_that_is_only_measured_trains_nothing_and_measures_the_same(tmp_path):
    study = run(tmp_path, MEASURE)
    entry = study.entry(level=1, arm="m", phase=1)
    assert (entry.about["step"], entry.about["steps"]) == (STEPS, 0)
    winner = study.entry(level=1)
    assert all(torch.equal(t, winner.final.params[n]) for n, t in entry.final.params.items())
    at_end = {k: v for k, v in values(study, arm="winning_ticket", level=1, step=STEPS).items()}
    assert values(study, arm="m", level=1, step=STEPS) == at_end
    flops = [r.value for r in study.records if r.arm == "m" and r.metric == "training_flops"]
    assert flops == [0.0]


def test_a_rewrite_computes_the_same_and_carries_the_mask(tmp_path):
    study = run(tmp_path, TURN, MEASURE)
    entry, winner = study.entry(level=1, arm="m", phase=1), study.entry(level=1)
    order = list(range(12))[::-1]
    assert entry.about["model"]["_target_"] == "tests.toys.turned"
    assert torch.equal(entry.final.params["1.weight"], winner.final.params["1.weight"][order])
    assert torch.equal(entry.mask["1.weight"], winner.mask["1.weight"][order])
    ticket = study.ticket(level=1, arm="m", phase=1)
    assert ticket.density == study.ticket(level=1).density
    ours = outputs(study.network(level=1, arm="m", phase=1))
    torch.testing.assert_close(ours, outputs(study.network(level=1)), atol=1e-6, rtol=0)


def test_a_rewritten_network_is_pruned_by_its_own_layers_and_trains_on(tmp_path):
    study = run(tmp_path, TURN, PRUNE, FINE_TUNE, at="dense", levels=2)
    for level in (1, 2):
        ticket = study.ticket(level=level, arm="m", phase=1)
        assert ticket.weights == study.ticket(level=level).weights
        assert ticket.model["_target_"] == "tests.toys.turned"
    inner = study.ticket(level=2, arm="m", phase=1).model["model"]
    assert inner["_target_"] == "tests.toys.turned"  # a rewrite of a rewrite
    one, two = (study.ticket(level=n, arm="m", phase=1).mask["1.weight"] for n in (1, 2))
    assert (one[list(range(12))[::-1]] | ~two).all()  # nested, through the second turn


@pytest.mark.parametrize("weights", ["rewound", "drawn"])
def test_a_form_is_rewound_or_drawn_anew(weights, tmp_path):
    study = run(tmp_path, TURN | {"weights": weights}, at="dense", rewind={"step": 4})
    ticket, order = study.ticket(level=1, arm="m", phase=1), list(range(12))[::-1]
    dense = study.entry()
    if weights == "rewound":
        assert ticket.step == 4
        assert torch.equal(ticket.params["1.weight"], dense.at(4).params["1.weight"][order])
        assert torch.equal(ticket.params["3.bias"], dense.at(4).params["3.bias"])
    else:
        assert ticket.step == 0
        assert not torch.equal(ticket.params["1.weight"], dense.start.params["1.weight"][order])
    entry = study.entry(level=1, arm="m", phase=1)
    assert entry.about["step"] + entry.about["steps"] == STEPS


def test_a_rewrite_of_a_ticket_keeps_its_mask_whatever_the_weights(tmp_path):
    for weights in ("rewound", "drawn"):
        study = run(tmp_path / weights, TURN | {"weights": weights})
        found = study.entry(level=1, arm="m", phase=1)
        expected = study.entry(level=1).mask["1.weight"][list(range(12))[::-1]]
        assert torch.equal(found.mask["1.weight"], expected)
        assert not found.final.params["1.weight"][~expected].any()


def test_a_second_run_trains_nothing(tmp_path):
    first = run(tmp_path, TURN, MEASURE)
    again = run(tmp_path, TURN, MEASURE)
    assert again.provenance["trained"] == 0 and first.records == again.records


def test_what_a_rewrite_would_break_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.delitem(vars(toys.turned), "masked")
    with pytest.raises(LthError, match=r"turned: it would break the network's mask: rewrite first"):
        run(tmp_path, PRUNE, TURN, MEASURE)
    rounded = {"_target_": "lth.networks.views.rounded", "bits": 4}
    model = {**toys.MLP}
    state = draw_state(model, 0)
    net = Net(model=model, mask=full_mask(model), params=state.params, buffers={},
              views={"bits": rounded})  # fmt: skip
    turned = {"_target_": "tests.toys.turned", "model": model, "order": list(range(12))}
    with pytest.raises(LthError, match=r"turned: .* views \(bits\): rewrite before them"):
        carried(net, turned)
    with pytest.raises(LthError, match=r"lth\.models\.lenet is no form of tests\.toys\.mlp"):
        carried(net, {"_target_": "lth.models.lenet", "input_shape": [1, 4, 4], "classes": 4})
    with pytest.raises(LthError, match=r"weights=other: .*trained, rewound, drawn"):
        toys.turn_units(weights="other")


def test_what_views_own_goes_on_as_it_was_trained(tmp_path):
    see = {"_target_": "tests.toys.see_scaled"}
    study = run(tmp_path, see, FINE_TUNE, FINE_TUNE, PRUNE, FINE_TUNE, MEASURE)
    entries = [study.entry(level=1, arm="m", phase=n) for n in (1, 2, 3, 4)]
    scale = "1.weight/scale"
    for before, after in pairwise(entries):
        assert torch.equal(before.final.params[scale], after.start.params[scale])
    assert not torch.equal(entries[0].start.params[scale], entries[0].final.params[scale])
    assert not torch.equal(entries[1].start.params[scale], entries[1].final.params[scale])
    kept = [int(e.mask["1.weight"].sum()) for e in entries]
    assert kept[0] == kept[1] > kept[2] == kept[3]


def test_what_is_chosen_is_chosen_on_the_trials_validation_split(tmp_path):
    given = laws.SETTINGS | {"trials": 2, "out": str(tmp_path), "model": toys.mlp, "levels": 1}
    setup = prepare(config.compose(**given))
    rows = [setup.parts.validation(trial) for trial in (0, 1)]
    assert all(len(inputs) == len(targets) == 40 for inputs, targets in rows)
    assert not torch.equal(rows[0][0], rows[1][0])
