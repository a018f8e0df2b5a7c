"""Whole studies on tiny data: what trains, what is reused, and what is written down."""

import importlib
import json
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

import lth
from lth.networks import masks
from lth.networks.ticket import layers_of
from lth.records.record import COLUMNS
from lth.spec.build import spec_of
from lth.study.plan import plan
from lth.types import MemberId
from tests.toys import SETTINGS, blobs, counts, mlp, norm_net, run_study, setup_of


@pytest.fixture
def run(tmp_path):
    def call(**changes):
        study = run_study(**{"out": tmp_path / "out"} | changes)
        return study, counts(study)

    return call


def lines(study):
    """The records as text, without the study's name."""
    text = (study.folder / "records.csv").read_text().splitlines()
    return [line.partition(",")[2] for line in text]


def test_a_study_trains_every_level_trial_and_arm_once(tmp_path):
    study = lth.run(**SETTINGS, out=str(tmp_path), progress=False)
    assert counts(study) == (2 * (1 + 2 * 2), 0)
    assert set(study.members) == {
        MemberId(t, 0.02, arm, level, 0)
        for t in range(2)
        for arm, first in (("winning_ticket", 0), ("random_reinit", 1))
        for level in range(first, 3)
    }
    names = {p.name for p in study.folder.iterdir()}
    assert names >= {"config.yaml", "provenance.json", "records.csv", "curves.csv", "figures"}
    assert (study.folder / "records.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert {p.name for p in (study.folder / "figures").iterdir()} == {"tickets.png", "curves.png"}


def test_run_twice_trains_nothing_and_changes_nothing(run):
    study, _ = run()
    before = lines(study), (study.folder / "curves.csv").read_bytes()
    study, count = run()
    assert count == (0, 10)
    assert (lines(study), (study.folder / "curves.csv").read_bytes()) == before


@pytest.mark.parametrize(
    ("changes", "trained", "reused"),
    [
        ({"levels": 3}, 4, 10),
        ({"trials": 3}, 5, 10),
        ({"arms": ["winning_ticket", "random_reinit", "random_mask"]}, 4, 10),
        ({"arms": ["winning_ticket"]}, 0, 6),
        ({"arms": {"winning_ticket": {}, "random_reinit": {"copies": 3}}}, 8, 10),
        ({"rewind": {"step": 5}}, 6, 4),  # the dense runs stay, and the reinits of the same masks
        ({"recipe": SETTINGS["recipe"] | {"lr": [0.02, 0.01]}}, 10, 10),
        ({"seed": 1}, 10, 0),
        ({"prune": {"rate": 0.3}}, 8, 2),
        ({"score": "random"}, 8, 2),
        ({"name": "other", "logger": "csv"}, 0, 10),
    ],
    ids=str,
)
def test_only_what_is_missing_trains(run, changes, trained, reused):
    run()
    _, count = run(**changes)
    assert count == (trained, reused)


def test_what_is_added_does_not_change_what_was_there(run, tmp_path):
    first, _ = run()
    kept = set(lines(first))
    grown, _ = run(trials=3, levels=3, arms=["winning_ticket", "random_reinit", "random_mask"])
    assert kept <= set(lines(grown))
    fresh, _ = run(out=str(tmp_path / "new"), trials=3, levels=3,
                   arms=["random_mask", "random_reinit"])  # fmt: skip
    assert sorted(lines(fresh)) == sorted(lines(grown))


@pytest.mark.parametrize("step", [0, 5, 7])
def test_level_n_starts_at_its_mask_times_the_dense_run_at_step_k(run, step):
    study, _ = run(model=norm_net, rewind={"_target_": "lth.pruning.rewind.to_step", "step": step})
    for trial in range(2):
        dense = study.entry(trial=trial, level=0).at(step)
        above = study.ticket(trial=trial, level=0).mask
        for level in (1, 2):
            ticket = study.ticket(trial=trial, level=level)
            mask, params, start = ticket
            assert start == step
            assert masks.is_nested(mask, above)
            for name, value in params.items():
                expected = dense.params[name] * mask[name] if name in mask else dense.params[name]
                assert torch.equal(value, expected)
            assert all(torch.equal(ticket.buffers[n], b) for n, b in dense.buffers.items())
            reinit = study.ticket(trial=trial, level=level, arm="random_reinit")
            assert reinit.step == 0
            assert all(torch.equal(reinit.mask[n], m) for n, m in mask.items())
            above = mask


def test_each_line_prunes_by_its_own_trained_ticket(run):
    study, _ = run(recipe=SETTINGS["recipe"] | {"lr": [0.02, 0.05]})
    for lr in (0.02, 0.05):
        for level in (1, 2):
            before = study.entry(trial=1, lr=lr, level=level - 1)
            mask = study.ticket(trial=1, lr=lr, level=level).mask
            for name, kept in mask.items():
                scores = before.final.params[name].abs()
                gone = before.mask[name] & ~kept
                assert scores[kept].min() >= scores[gone].max()
                rate = 0.1 if name == "3.weight" else 0.2
                assert int(gone.sum()) == round(rate * int(before.mask[name].sum()))
    assert any(
        not torch.equal(m, study.ticket(trial=1, lr=0.05, level=1).mask[n])
        for n, m in study.ticket(trial=1, lr=0.02, level=1).mask.items()
    )


def test_records_say_what_the_store_holds(run):
    study, _ = run()
    for place, key in study.members.items():
        entry = study.store.get(key)
        rows = [
            r for r in study.records if MemberId(r.trial, r.lr, r.arm, r.level, r.copy) == place
        ]
        measured = [r for r in rows if not r.metric.endswith("_flops")]
        assert [(r.step, r.split, r.metric, r.value) for r in measured] == entry.measured
        kept = sum(int(m.sum()) for m in entry.mask.values())
        assert {r.density for r in rows} == {kept / (16 * 10 + 10 * 4)}
        curve = [
            r for r in study.curves if MemberId(r.trial, r.lr, r.arm, r.level, r.copy) == place
        ]
        assert {r.step for r in curve} == {0, 5, 10, 15, 20}


def test_test_and_train_are_on_the_way_only_when_a_recipe_asks(run, tmp_path, capsys):
    more = {"recipe": SETTINGS["recipe"] | {"curves": ["test", "train"]}}
    study, _ = run(levels=0, seed=1)
    assert {r.split for r in study.curves if r.metric == "accuracy"} == {"validation"}
    asked = lth.run(**SETTINGS | {"levels": 0, "seed": 1, "out": str(tmp_path / "out")} | more)
    assert counts(asked) == (0, 2)  # no result depends on it
    assert "no curve of test and train" in capsys.readouterr().out
    assert {r.split for r in asked.curves if r.metric == "accuracy"} == {"validation"}
    whole, _ = run(levels=0, **more)
    splits = {"train", "validation", "test"}
    assert {r.split for r in whole.curves if r.metric == "accuracy"} == splits
    again, count = run(levels=0)
    assert count == (0, 2)
    assert {r.split for r in again.curves if r.metric == "accuracy"} == {"validation"}


def test_a_rate_that_diverges_is_recorded_and_its_neighbours_are_bit_identical(run, capsys):
    sgd = {"optimizer": "sgd"}
    calm, _ = run(recipe=SETTINGS["recipe"] | sgd)
    swept, count = run(recipe=SETTINGS["recipe"] | sgd | {"lr": [0.02, 1e25]})
    assert count == (2, 10)
    wild = [r for r in swept.records if r.lr == 1e25]
    assert {(r.level, r.arm) for r in wild} == {(0, "winning_ticket")}
    diverged = [r for r in wild if r.metric == "diverged"]
    assert len(diverged) == 2 and all(r.value == r.step for r in diverged)
    assert {r.metric for r in wild} == {"diverged", "training_flops", "search_flops"}
    assert [line for line in lines(swept) if ",1e+25," not in line] == lines(calm)


def test_a_study_of_which_every_member_diverged_fails(tmp_path):
    wild = SETTINGS["recipe"] | {"optimizer": "sgd", "lr": 1e25}
    settings = SETTINGS | {"out": str(tmp_path), "recipe": wild, "levels": 0}
    with pytest.raises(lth.LthError, match="every member diverged"):
        lth.run(**settings, progress=False)


def test_copies_draw_afresh_from_the_same_mask(run):
    study, _ = run(arms={"random_reinit": {"copies": 3}}, trials=1, levels=1)
    tickets = [study.ticket(arm="random_reinit", level=1, copy=c) for c in range(3)]
    winner = study.ticket(level=1)
    weights = [t.params["1.weight"] for t in tickets]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])
    assert all(torch.equal(t.mask["1.weight"], winner.mask["1.weight"]) for t in tickets)


def test_a_ticket_comes_back_from_one_file(run, tmp_path):
    study, _ = run()
    ticket = study.ticket(trial=1, level=2)
    ticket.save(tmp_path / "ticket.safetensors")
    back = lth.Ticket.load(tmp_path / "ticket.safetensors", model=mlp)
    assert back.step == ticket.step and back.model == ticket.model
    assert back.origin == ticket.origin
    assert back.origin.items() >= {"study": study.id, "trial": 1, "level": 2}.items()
    for name, value in ticket.params.items():
        assert torch.equal(back.params[name], value)
    assert all(torch.equal(back.mask[n], m) for n, m in ticket.mask.items())
    inputs = blobs().prepare(blobs().test_inputs)
    assert torch.equal(back.module()(inputs), ticket.module()(inputs))


def test_asking_for_a_ticket_that_is_not_there_says_what_is(run):
    study, _ = run()
    with pytest.raises(lth.LthError, match="winning_ticket at level 0 has no trial 7; it has 0, 1"):
        study.ticket(trial=7)


def test_the_study_folder_is_the_same_for_more_of_the_same(run):
    first, _ = run(levels=0)
    second, _ = run(levels=1, trials=1, arms=["random_mask"], logger="csv")
    third, _ = run(levels=0, recipe=SETTINGS["recipe"] | {"steps": 25})
    assert first.folder == second.folder != third.folder


def test_the_plan_counts_what_a_run_then_trains(run, tmp_path):
    def planned(**changes):
        found = plan(setup_of(tmp_path / "out", **changes))
        return found.to_train.total(), found.stored.total(), found.steps

    assert planned() == (10, 0, 200)
    assert not list((tmp_path).rglob("*.safetensors"))
    run(levels=1)
    assert planned() == (4, 6, 80)
    assert planned(trials=3, levels=1) == (3, 6, 60)
    assert planned(arms=["random_mask"], levels=1) == (2, 4, 40)
    assert planned(rewind={"step": 5}) == (8, 2, 4 * 15 + 4 * 20 + 2 * 5)
    run(levels=2)
    assert planned() == (0, 10, 0)


def test_the_plan_estimates_time_from_this_machine_only(run, tmp_path):
    setup = setup_of(tmp_path / "out")
    assert plan(setup).seconds is None
    study, _ = run(levels=0)
    assert plan(setup).seconds > 0
    for path in study.store.root.glob("members/*/*/entry.json"):
        about = json.loads(path.read_text())
        path.write_text(json.dumps(about | {"machine": {"host": "elsewhere"}}))
    with pytest.warns(UserWarning, match="damaged"):
        assert plan(setup).seconds is None


def test_a_damaged_entry_is_trained_again_and_the_rest_is_kept(run):
    study, _ = run()
    expected = lines(study)
    key = study.members[MemberId(0, 0.02, "random_reinit", 2, 0)]
    (study.store.folder(key) / "tensors.safetensors").write_bytes(b"rubbish")
    with pytest.warns(UserWarning, match="damaged"):
        study, count = run()
    assert count == (1, 9)
    assert lines(study) == expected


def test_the_same_study_at_once_is_refused(run, tmp_path):
    from lth.study.run import locked

    study, _ = run(levels=0)
    with locked(study.folder), pytest.raises(lth.LthError, match="running already"):
        run(levels=0)
    run(levels=0)


def test_the_source_of_a_model_is_part_of_its_members_keys(run, tmp_path, monkeypatch):
    module = tmp_path / "edited_model.py"
    text = (Path(__file__).parent / "toys.py").read_text()
    module.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = {"model": {"_target_": "edited_model.mlp", "width": 10}, "levels": 0}
    assert run(**settings)[1] == (2, 0)
    module.write_text(text + "\n# a comment changes nothing\n")
    assert run(**settings)[1] == (0, 2)
    module.write_text(text.replace("nn.ReLU()", "nn.Tanh()"))
    with pytest.raises(lth.LthError, match="edited after it was imported: mlp"):
        run(**settings)  # what is written is not what would run
    importlib.reload(sys.modules["edited_model"])
    assert run(**settings)[1] == (2, 0)


def test_python_and_yaml_name_the_same_members(run):
    run(data="digits", model="lenet", levels=0, trials=1)
    from lth.data import digits
    from lth.models import lenet

    assert spec_of(lenet)["_target_"] == "lth.models.lenet"
    assert run(data=digits, model=lenet, levels=0, trials=1)[1] == (0, 1)
    assert run(data=digits, model=partial(lenet, widths=(300, 100)), levels=0, trials=1)[1] == (
        0,
        1,
    )
    assert run(data=digits, model=partial(lenet, widths=[30]), levels=0, trials=1)[1] == (1, 0)


def test_bad_settings_are_refused_before_any_work(run, tmp_path):
    bad = {
        "recipe.stepz": {"recipe": {"stepz": 3}},
        "no such setting; did you mean levels": {"level": 3},
        "model=nope": {"model": "nope"},
        "takes no 'ratee'": {"prune": {"ratee": 0.1}},
        "prune.rate=1.0": {"prune": {"rate": 1.0}},
        "levels=80": {"levels": 80},
        "rewind.step=20 leaves nothing": {"rewind": {"step": 20}},
        "copies=2: there is one": {"arms": {"winning_ticket": {"copies": 2}}},
        "trials=0": {"trials": 0},
        "trainer.precision=16": {"trainer": {"precision": "16"}},
        "importing|no module": {"model": {"_target_": "nowhere.at.all"}},
        "is neither a spec": {"model": 3},
        "recipe.batch=500": {"recipe": {"batch": 500}},
        "unexpected keyword": {"recipe": {"optimizer": {"momentum": 0.9}}},
    }
    for words, changes in bad.items():
        with pytest.raises(lth.LthError, match=words) as caught:
            run(**changes)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.safetensors"))


def costs(study, arm, level, trial=0):
    rows = [r for r in study.records if (r.arm, r.level, r.trial) == (arm, level, trial)]
    return {r.metric: r.value for r in rows if r.metric.endswith("_flops")}


def test_every_member_carries_what_it_and_its_search_cost(run):
    study, _ = run(arms=["winning_ticket", "random_reinit", "random_mask_uniform"])
    weights = [round(study.ticket(level=level).density * 200) for level in range(3)]
    each = [3 * 2 * w * 20 * 20 for w in weights]  # passes, multiply-add, batch, steps
    for level in range(3):
        found = costs(study, "winning_ticket", level)
        assert found == {"training_flops": each[level], "search_flops": sum(each[:level])}
    assert costs(study, "random_reinit", 2)["search_flops"] == each[0] + each[1]
    assert costs(study, "random_mask_uniform", 2) == {"training_flops": each[2], "search_flops": 0}


@pytest.mark.parametrize(
    ("search", "searched"),
    [("one_shot", 1), ({"_target_": "lth.pruning.search.at_init"}, 0)],
    ids=str,
)
def test_other_searches_cost_what_they_train(run, search, searched):
    study, _ = run(search=search, score="large_init", arms=["winning_ticket"])
    dense = costs(study, "winning_ticket", 0)["training_flops"]
    for level in (1, 2):
        assert costs(study, "winning_ticket", level)["search_flops"] == searched * dense


def test_scoring_by_gradients_and_the_way_to_the_rewinding_step_are_costs(run):
    at_init = {"_target_": "lth.pruning.search.at_init", "rounds": 3}
    snip = {"_target_": "lth.pruning.score.snip", "per_class": 2}
    study, _ = run(search=at_init, score=snip, levels=1,
                   rewind={"_target_": "lth.pruning.rewind.to_step", "step": 5})  # fmt: skip
    found = costs(study, "winning_ticket", 1)["search_flops"]
    assert found == costs(study, "winning_ticket", 0)["training_flops"] / 4 + 3 * 400 * 3 * 8


def test_a_list_of_levels_trains_these_and_the_tickets_that_lead_to_them(run, tmp_path):
    study, count = run(levels=[2, 3], trials=1)
    assert count == (1 + 3 + 2, 0)
    assert {(p.arm, p.level) for p in study.members} == {
        ("random_reinit", 2), ("random_reinit", 3),
        *(("winning_ticket", level) for level in range(4)),
    }  # fmt: skip
    assert run(levels=3, trials=1)[1] == (1, 6)  # the same study, one reinit more
    jumps, _ = run(levels=[3], trials=1, search="one_shot", arms=["winning_ticket"])
    assert [p.level for p in jumps.members] == [0, 3]
    found = plan(setup_of(tmp_path / "new", levels=[1, 3], trials=1))
    assert found.to_train == {"winning_ticket": 4, "random_reinit": 2}
    for wrong in ([], [1.5], "3"):
        with pytest.raises(lth.LthError, match=r"levels=.*levels=\[7,13\]"):
            run(levels=wrong)


def test_one_shot_fine_tunes_the_dense_network_at_every_level(run):
    rule = {"_target_": "lth.pruning.rewind.learning_rate"}
    study, _ = run(search="one_shot", rewind=rule, trials=1,
                   arms=["winning_ticket"])  # fmt: skip
    final = study.entry(level=0).final.params
    for level in (1, 2):
        ticket = study.ticket(level=level)
        assert all(
            torch.equal(ticket.start.params[n], m * final[n]) for n, m in ticket.mask.items()
        )


def test_the_small_dense_network_is_another_model_in_the_same_study(run):
    from lth.models import lenet

    study, _ = run(model=partial(lenet, widths=(20, 10)), arms=["winning_ticket", "small_dense",
                   "small_dense_longer"])  # fmt: skip
    winner, small = study.ticket(level=2), study.ticket(level=2, arm="small_dense")
    assert small.model["widths"] < winner.model["widths"]
    assert abs(small.weights - winner.weights) < 0.15 * winner.weights
    density = {r.arm: r.density for r in study.records if r.level == 2 and r.trial == 0}
    assert density["small_dense"] == small.weights / layers_of(winner.model).total
    last = {r.arm: r.step for r in study.records if r.metric == "training_flops" and r.level == 2}
    assert last["small_dense"] == 20 and 25 < last["small_dense_longer"] <= 40
    dense = costs(study, "winning_ticket", 0)["training_flops"]
    longer = costs(study, "small_dense_longer", 1)
    assert abs(longer["training_flops"] / dense - 1) < 0.05 and longer["search_flops"] == 0


def test_frozen_weights_stay_where_they_are(run):
    study, _ = run(arms=["winning_ticket", "freeze", "freeze_grown"])
    dense = study.entry(level=0)
    for arm in ("freeze", "freeze_grown"):
        entry = study.entry(level=2, arm=arm)
        for name, mask in entry.mask.items():
            gone, start = ~mask, dense.start.params[name]
            grew = dense.final.params[name].abs() > start.abs()
            wanted = start[gone] * (1 if arm == "freeze" else grew[gone])
            assert torch.equal(entry.start.params[name][gone], wanted)
            assert torch.equal(entry.final.params[name][gone], wanted)
            assert not torch.equal(entry.final.params[name][mask], start[mask])


def test_learning_rate_rewinding_trains_on_from_the_trained_weights(run):
    study, _ = run(rewind={"_target_": "lth.pruning.rewind.learning_rate", "step": 4})
    before, after = study.entry(level=0).final, study.ticket(level=1)
    assert after.step == 4
    expected = masks.apply(before.params, after.mask)
    assert all(torch.equal(after.start.params[n], p) for n, p in expected.items())


def test_one_shot_takes_every_mask_from_the_dense_network(run):
    study, _ = run(search="one_shot", levels=3)
    final = study.entry(level=0).final.params
    for level in (1, 2, 3):
        for name, mask in study.ticket(level=level).mask.items():
            size = final[name].abs()
            assert size[mask].min() >= size[~mask].max()


def test_at_init_prunes_what_is_not_trained_yet(run):
    study, _ = run(
        search={"_target_": "lth.pruning.search.at_init", "rounds": 3}, score="snip", levels=3
    )
    iterative, _ = run(levels=3)
    for level in (1, 2, 3):
        ticket = study.ticket(level=level)
        assert masks.kept(ticket.mask) == masks.kept(iterative.ticket(level=level).mask)
    again, count = run(search={"_target_": "lth.pruning.search.at_init", "rounds": 3}, score="snip",
                       levels=3, recipe=SETTINGS["recipe"] | {"lr": 0.5})  # fmt: skip
    assert count[0] > 0
    assert torch.equal(again.ticket(level=3).mask["1.weight"], ticket.mask["1.weight"])


def test_tickets_transfer_to_other_data_with_their_masks_and_weights(run, tmp_path):
    from lth.data import random_labels
    from tests.toys import fewer

    source, _ = run()
    there = {
        "search": {"_target_": "lth.pruning.transfer.transferred", "study": str(source.folder)}
    }
    spec = {"_target_": "tests.toys.blobs", "validation": 40}
    moved, _ = run(**there, data=partial(random_labels, of=spec), arms=["winning_ticket"])
    for trial, level in ((0, 1), (1, 2)):
        ours, theirs = (s.ticket(trial=trial, level=level) for s in (moved, source))
        assert all(torch.equal(ours.mask[n], m) for n, m in theirs.mask.items())
        assert all(torch.equal(ours.start.params[n], p) for n, p in theirs.start.params.items())
    assert costs(moved, "winning_ticket", 2)["search_flops"] == 0
    two, _ = run(**there, data=partial(fewer, classes=2), arms=["winning_ticket"], levels=1)
    ours, theirs = two.ticket(level=1), source.ticket(level=1)
    assert torch.equal(ours.start.params["1.weight"], theirs.start.params["1.weight"])
    assert ours.start.params["3.weight"].shape == (2, 10) and ours.mask["3.weight"].all()
    with pytest.raises(lth.LthError, match=r"1\.weight has shape .* only the output layer"):
        run(**there, model=partial(mlp, width=11))
    with pytest.raises(lth.LthError, match="not a study's folder"):
        run(search={"_target_": "lth.pruning.transfer.transferred", "study": "nowhere"})
    with pytest.raises(lth.LthError, match="has no trial 2"):
        run(**there, trials=3, out=str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()  # refused before any work


def test_the_weights_of_rewound_tickets_transfer_when_asked(run):
    from tests.toys import fewer

    source, _ = run(rewind={"step": 5}, trials=1)
    search = {"_target_": "lth.pruning.transfer.transferred", "study": str(source.folder),
              "weights": "source"}  # fmt: skip
    moved, _ = run(search=search, data=partial(fewer, classes=2), arms=["winning_ticket"], trials=1)
    ours, theirs = moved.ticket(level=2), source.ticket(level=2)
    assert theirs.step == 5 and ours.step == 0
    assert torch.equal(ours.start.params["1.weight"], theirs.start.params["1.weight"])
    assert not torch.equal(ours.start.params["1.weight"], ours.mask["1.weight"] * (
        moved.ticket(level=0).params["1.weight"]))  # fmt: skip
    assert torch.equal(ours.start.params["3.weight"], moved.ticket(level=0).params["3.weight"])


def test_a_score_that_tells_nothing_apart_before_training_is_refused(run, tmp_path):
    for score in ("movement", "magnitude_increase"):
        with pytest.raises(lth.LthError, match="every untrained weight the same value"):
            run(search="at_init", score=score, out=str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_an_early_bird_asks_the_dense_run_for_its_states(run, monkeypatch):
    from lth.train import work

    search = {
        "_target_": "lth.pruning.search.early_bird",
        "every": 4,
        "threshold": 0.99,
        "patience": 1,
    }
    run()
    again, publish_members = [], work.publish_members

    def counting(cohort, store):
        again.extend(c.job for c in cohort.courses if c.job.until is not None)
        publish_members(cohort, store)

    monkeypatch.setattr(work, "publish_members", counting)
    study, count = run(search=search)
    assert [(j.until, j.snapshots) for j in again] == 2 * [(16, (4, 8, 12, 16))]  # once a trial
    assert count[0] >= 4  # the dense runs stay; their states on the way are made with the same bits
    dense = study.entry(level=0)
    assert all(dense.has(step) for step in (4, 8, 12, 16))
    whole = costs(study, "winning_ticket", 0)["training_flops"]
    assert costs(study, "winning_ticket", 2)["search_flops"] == whole * 8 // 20
    size = dense.at(8).params["1.weight"].abs()
    mask = study.ticket(level=2).mask["1.weight"]
    assert size[mask].min() >= size[~mask].max()
