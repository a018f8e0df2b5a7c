"""Moves and methods: each move apart, whole methods against what they must equal, their costs."""

import dataclasses
import functools
import inspect
import re
from collections import Counter

import pytest
import torch
from rich.console import Console

import lth
from lth import LthError, config, imp, moves
from lth.moves.trained import Trained, nothing_to_train
from lth.networks import masks
from lth.pruning.rules import globally
from lth.pruning.score import large_init
from lth.pruning.turn import Turn
from lth.records.record import BEFORE_MOVES, COLUMNS, Record, last_phases, read_csv
from lth.records.statistics import Cell, summarise
from lth.spec.build import build
from lth.study.explain import explain
from lth.study.plan import plan
from lth.study.progress import Display
from lth.study.run import execute, study_of
from lth.study.setup import prepare
from lth.types import WINNER, MemberId, PruningChain
from tests import laws, paper

STEPS = laws.SETTINGS["recipe"]["steps"]
PART = functools.partial


def prepared(out, **settings):
    return prepare(config.compose(**laws.SETTINGS | {"trials": 1, "out": str(out)} | settings))


def run(out, **settings):
    """A finished study; ``(trained, reused)`` of the run are in its provenance."""
    setup = prepared(out, **settings)
    execute(setup, Display(Console(), enabled=False))
    return study_of(setup)


def counts(study):
    return study.provenance["trained"], study.provenance["reused"]


# -- each move, apart


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A study with its dense network trained, whose schedule falls on the way."""
    out = tmp_path_factory.mktemp("dense")
    falls = {"_target_": "lth.recipe.schedule.multistep", "milestones": [10, 20]}
    settings = {"levels": 0, "recipe": laws.SETTINGS["recipe"] | {"schedule": falls},
                "rewind": {"step": 4}, "method": {"m": {"at": "winners", "moves": [
                    {"_target_": "lth.moves.rewind", "to": 6}]}}}  # fmt: skip
    return prepared(out, **settings), run(out, **settings)


def trained(dense, level=1):
    setup, study = dense
    entry, chain = study.entry(), PruningChain(0, 0.02)
    turn = Turn(setup.parts, chain, level, entry, entry, run=0, took={})
    return Trained(imp.dense(setup.parts, chain), turn), turn, entry


def test_prune_keeps_the_other_weights_and_leaves_nothing_to_train(dense):
    member, turn, entry = trained(dense)
    ticket = moves.prune()(member, turn)
    expected = turn.rule(turn.score(entry.final, entry.mask), entry.mask, turn.layers)
    assert masks.kept(ticket.mask) == masks.kept(expected)
    for name, mask in ticket.mask.items():
        assert torch.equal(ticket.start.params[name], entry.final.params[name] * mask)
    assert nothing_to_train(ticket) and ticket.step == STEPS
    assert all(torch.equal(b, ticket.buffers[n]) for n, b in entry.final.buffers.items())


@pytest.mark.parametrize(
    ("move", "kept"),
    [
        (
            moves.prune(rate=0.5),
            {"0.weight": 27, "5.weight": 72},
        ),  # each at half, the last a fourth
        (moves.prune(to=0.5), None),
        (moves.prune(rule=globally(0.5)), None),
    ],
)
def test_prune_takes_a_rate_a_density_or_a_rule(move, kept, dense):
    member, turn, _ = trained(dense)
    ticket = move(member, turn).counted(turn.layers, turn.experiment.model)
    if kept is None:
        assert abs(ticket.density - 0.5) < 0.02
    else:
        assert masks.kept(ticket.mask) == kept


def test_prune_takes_a_score_of_its_own(dense):
    member, turn, entry = trained(dense)
    ticket = moves.prune(rate=0.5, score=large_init(), rule=None)(member, turn)
    weight, mask = entry.start.params["0.weight"].abs(), ticket.mask["0.weight"]
    assert weight[mask].min() >= weight[~mask].max()


def test_fine_tune_trains_at_the_last_rate_from_where_training_ended(dense):
    member, turn, _ = trained(dense)
    ticket = moves.fine_tune(7)(member, turn)
    recipe = turn.recipe.for_ticket(ticket.stretch, ticket.changes, ticket.step)
    assert (ticket.step, recipe.steps) == (STEPS, STEPS + 7)
    assert ticket.changes["lr"] == pytest.approx(0.02 * 0.01)  # two milestones passed
    assert {build(recipe.schedule)(s, recipe.steps) for s in range(STEPS, STEPS + 7)} == {1.0}
    assert moves.fine_tune(7, lr=0.5)(member, turn).changes["lr"] == 0.5
    assert moves.fine_tune()(member, turn).changes["steps"] == 2 * STEPS


def test_train_begins_the_recipes_schedule_anew(dense):
    member, turn, _ = trained(dense)
    ticket = moves.train(22)(member, turn)
    recipe = turn.recipe.for_ticket(ticket.stretch, ticket.changes, ticket.step)
    schedule, plain = build(recipe.schedule), build(turn.recipe.schedule)
    for step in range(22):
        assert schedule(STEPS + step, recipe.steps) == plain(step, 22)
    other = moves.train(5, optimizer={"kind": "torch.optim.Adam"}, schedule={
        "kind": "lth.recipe.schedule.cosine"}, lr=0.1)(member, turn)  # fmt: skip
    assert other.changes["optimizer"] == {"_target_": "torch.optim.Adam"}
    assert turn.recipe.for_ticket(1.0, other.changes, other.step).lr == 0.1


def test_rewind_goes_back_under_the_mask_there_is(dense):
    member, turn, entry = trained(dense)
    pruned = member.having(moves.prune(rate=0.5)(member, turn))
    ticket = moves.rewind(6)(pruned, turn)
    for name, mask in pruned.mask.items():
        assert torch.equal(ticket.start.params[name], entry.at(6).params[name] * mask)
        assert torch.equal(ticket.params[name], entry.at(6).params[name])  # beneath it too
    assert (ticket.step, "steps" in ticket.changes) == (6, False)
    assert moves.rewind()(pruned, turn).step == 4  # the study's rule


def test_a_later_move_of_a_phase_keeps_what_an_earlier_one_has_set(dense):
    member, turn, _ = trained(dense)
    ticket = moves.prune()(member, turn)
    said = dataclasses.replace(ticket, changes={**ticket.changes, "loss": {"_target_": "mine"}})
    for then in (moves.fine_tune(3), moves.train(3), moves.rewind(6)):
        assert then(member.having(said), turn).changes["loss"] == {"_target_": "mine"}


# -- methods


def test_prune_and_rewind_repeated_is_iterative_pruning_member_for_member(tmp_path):
    settings = {"rewind": {"step": 4}, "arms": [WINNER]}
    first = run(tmp_path, **settings)
    for number, each in enumerate(([moves.prune_and_rewind], [moves.prune, moves.rewind])):
        name = f"again{number}"
        study = run(tmp_path, method={name: {"at": "dense", "moves": each}}, **settings)
        assert counts(study) == (0, 3)
        for level in (1, 2):
            mine, winner = (MemberId(0, 0.02, a, level, 0, p) for a, p in ((name, 1), (WINNER, 0)))
            assert study.members[mine] == first.members[winner]
            rows = {(r.metric, r.split, r.step): r.value for r in laws.rows_of(study, mine)}
            assert rows == {
                (r.metric, r.split, r.step): r.value for r in laws.rows_of(study, winner)
            }  # what it cost, too


def test_the_loop_says_train_score_prune_rewind_repeat_on_one_screen():
    source = inspect.getsource(imp.imp)
    calls = re.findall(r"\b(train|score|prune|rewind)\(", source.partition('"""\n')[2])
    assert calls == ["train", "score", "prune", "rewind", "train"]
    assert len(source.splitlines()) < 30


def test_the_loop_written_out_is_the_loop_with_its_search(tmp_path):
    setup = prepared(tmp_path, rewind="learning_rate", score="random", levels=3)
    train = paper.Paper(setup)
    for one, other in zip(
        imp.imp(setup.parts, train), imp.searched(setup.parts, train), strict=True
    ):
        assert one[0] == other[0]


def test_a_longer_chain_reuses_the_shorter(tmp_path):
    few, more = PART(moves.fine_tune, steps=3), PART(moves.fine_tune, steps=5)
    short = run(tmp_path, method={"mine": {"moves": [few]}})
    assert counts(short) == (7, 0)  # dense, two winners, two reinits, two tuned
    long = run(tmp_path, method={"mine": {"moves": [few, moves.prune, more]}})
    assert counts(long) == (2, 7)
    assert Counter((p.level, p.phase) for p in long.members if p.arm == "mine") == {
        (1, 1): 1, (1, 2): 1, (2, 1): 1, (2, 2): 1}  # fmt: skip
    twice = run(tmp_path, method={"mine": {"moves": [few], "repeat": 2}})
    assert counts(twice) == (2, 7)
    again = run(tmp_path, method={"mine": {"moves": [few], "repeat": 2}})
    assert counts(again) == (0, 9) and again.records == twice.records


def test_a_deeper_chain_reuses_the_shallower_and_keeps_its_rows(tmp_path):
    run(tmp_path, levels=1, method="prune_fine_tune")
    study = run(tmp_path, levels=3, method="prune_fine_tune")
    assert {p.level for p in study.members if p.arm == "prune_fine_tune"} == {1, 2, 3}
    assert counts(study) == (6, 4)
    assert study.config["method"]["prune_fine_tune"]["repeat"] is None
    kept = run(tmp_path, levels=1)  # the method's rows stay, as an arm's do
    assert {p.level for p in kept.members if p.arm == "prune_fine_tune"} == {1, 2, 3}


def test_a_study_tells_phases_apart_and_gives_the_last(tmp_path):
    few = PART(moves.fine_tune, steps=3)
    study = run(tmp_path, method={"mine": {"moves": [few, moves.prune, few]}}, arms=[WINNER])
    rows = [r for r in study.records if r.arm == "mine" and r.level == 2]
    assert {(r.phase, r.move) for r in rows} == {(1, "fine_tune"), (2, "prune+fine_tune")}
    assert all((r.phase, r.move) == (0, "") for r in study.records if r.arm != "mine")
    first, last = (study.ticket(arm="mine", level=2, phase=p) for p in (1, None))
    assert last.density < first.density == study.ticket(level=2).density
    assert (first.step, last.step) == (STEPS, STEPS + 3)
    assert study.ticket(arm="mine", level=2) == last
    cell = summarise(study.records)[Cell(0.02, "mine", 2)]
    assert cell.density == last.density and cell.members == 1
    network = study.network(arm="mine", level=2)
    assert int((network.get_parameter("5.weight") != 0).sum()) == int(last.mask["5.weight"].sum())
    with pytest.raises(LthError, match=r"trial 0 has no phase 3; it has 1, 2"):
        study.entry(arm="mine", level=2, phase=3)


def mine(strength):
    """A move of one's own: the network shrunk by a factor, trained as the recipe says."""

    def move(trained, context):
        params = {n: strength * p for n, p in trained.state.params.items()}
        return dataclasses.replace(trained.ticket, params=params)

    return move


def bare(trained, context):
    """A move itself, where what makes one is asked for."""
    return trained.on(3)


def test_a_move_of_ones_own_from_python(tmp_path):
    study = run(tmp_path, method={"mine": {"at": 1, "moves": [PART(mine, strength=0.5)],
                                           "repeat": 1}})  # fmt: skip
    start, from_ = study.entry(arm="mine", level=2).start, study.entry(level=1).final
    assert all(torch.equal(p, 0.5 * from_.params[n]) for n, p in start.params.items())
    assert {p.level for p in study.members if p.arm == "mine"} == {2}


def test_plan_and_explain_know_the_phases(tmp_path):
    settings = {"method": ["prune_again", "prune_fine_tune"], "arms": [WINNER]}
    setup = prepared(tmp_path, **settings)
    before = plan(setup)
    assert before.to_train == {WINNER: 3, "prune_again": 4, "prune_fine_tune": 2}
    assert before.steps == 9 * STEPS
    run(tmp_path, **settings)
    after = plan(setup)
    assert not after.to_train and after.stored == before.to_train and after.steps == 0
    reasons = explain(setup)
    assert all(r.stored for r in reasons)
    assert sum(p.phase > 0 for r in reasons for p in r.places) == 6
    run(tmp_path, levels=1, **settings, seed=1)
    half = plan(prepared(tmp_path, **settings, seed=1))
    assert half.to_train == {WINNER: 1, "prune_again": 2, "prune_fine_tune": 1}


def test_a_phase_costs_all_that_led_to_it_each_run_once(tmp_path):
    few = PART(moves.fine_tune, steps=6)
    methods = {
        "hung": {"moves": [few, moves.prune, few]},
        "alone": {"at": "dense", "moves": [moves.prune, few]},
        "back": {"moves": [few, moves.rewind]},  # which takes the mask alone
    }
    study = run(tmp_path, method=methods, arms=[WINNER], score="snip", rewind="to_init")
    spent, search = {}, {}
    for r in study.records:
        own = {"training_flops": spent, "search_flops": search}.get(r.metric)
        if own is not None:
            own[r.arm, r.level, r.phase] = r.value
    dense = spent[WINNER, 0, 0]
    scored = 3 * 10 * 4 * dense / (3 * 20 * STEPS)  # ten examples of each of four classes
    one, two = spent[WINNER, 1, 0], spent[WINNER, 2, 0]
    assert search[WINNER, 2, 0] == dense + one + 2 * scored
    assert search["hung", 1, 1] == dense + one + scored
    assert search["hung", 1, 2] == dense + one + spent["hung", 1, 1] + 2 * scored
    assert search["hung", 2, 2] == dense + one + two + spent["hung", 2, 1] + 3 * scored
    assert search["alone", 1, 1] == dense + scored
    assert search["alone", 2, 1] == dense + spent["alone", 1, 1] + 2 * scored
    assert search["back", 2, 2] == search[WINNER, 2, 0]


def test_a_chain_ends_where_a_phase_diverges(tmp_path):
    blown = PART(moves.fine_tune, steps=3, lr=1e29)
    study = run(tmp_path, method={"mine": {"moves": [blown, moves.prune, blown]}}, arms=[WINNER])
    assert {p.phase for p in study.members if p.arm == "mine"} == {1}
    assert summarise(study.records)[Cell(0.02, "mine", 1)].diverged == 1
    assert max(p.level for p in study.members) == 2


def test_phases_hang_off_levels_and_chains_go_deeper_than_the_search(tmp_path):
    setup = prepared(tmp_path, search="one_shot", levels=[2], method={
        "deep": {"at": "dense", "repeat": 3, "moves": [moves.prune, moves.train]},
        "hung": {"moves": [moves.fine_tune]}, "late": {"at": 2, "repeat": 1, "moves": [
            moves.prune_and_rewind]}})  # fmt: skip
    places = [*paper.walk(setup)[0]]
    assert len(places) == len(set(places))
    assert [(m.arm, m.level) for m in places if m.phase] == [
        ("hung", 2), ("deep", 1), ("deep", 2), ("deep", 3), ("late", 3)]  # fmt: skip


# -- records of before, and of phases


def row(**values):
    plain = Record("s", 0, 0, 0.1, "mine", 1, 0.5, 9, "test", "accuracy", 0.5)
    return plain._replace(**values)


def test_records_of_before_are_read_and_new_columns_come_last(tmp_path):
    assert COLUMNS[-2:] == ("phase", "move") and COLUMNS[:-2] == BEFORE_MOVES
    path = tmp_path / "records.csv"
    path.write_text(",".join(BEFORE_MOVES) + "\ns,0,0,0.1,a,1,0.5,9,test,accuracy,0.25\n")
    assert read_csv(path) == [row(arm="a", value=0.25)]


def test_last_phases_are_those_of_an_arm_and_level_and_what_diverged():
    plain, one, two = row(arm=WINNER), row(phase=1, move="a"), row(phase=2, move="b")
    assert last_phases([plain, one]) == [plain, one]
    assert last_phases([plain, one, two]) == [plain, two]
    behind, ended = row(trial=1, phase=1), row(trial=2, phase=1, metric="diverged")
    assert last_phases([one, two, behind, ended]) == [two, ended]


# -- what is refused, before any work


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ([moves.prune, moves.train], "method: a list is of names; moves of one's own need one"),
        ("nothing", "method=nothing: no such choice; there are .*distil, .*fine_tune"),
        ({"m": {}}, "method=m: no such choice"),
        ({"m": {"moves": []}}, r"method\.m\.moves=\[\]: a list of at least one"),
        ({"m": {"moves": [moves.fine_tune], "at": "tickets"}}, r"method\.m\.at='tickets': it is"),
        ({"m": {"moves": [moves.fine_tune], "at": 7}}, r"method\.m\.at=7: no level that is"),
        ({"m": {"moves": [moves.fine_tune], "repeat": 0}}, r"method\.m\.repeat=0: a whole"),
        ({"m": {"moves": [moves.fine_tune], "levels": 2}}, r"method\.m\.levels: no such setting"),
        ({"m": {"moves": [moves.prune]}}, r"method\.m: prune leaves nothing to train"),
        ({"m": {"moves": [PART(moves.fine_tune, steps=0)]}}, r"method\.m: moves: steps=0: a whole"),
        ({"m": {"moves": [PART(moves.prune, rate=1.5)]}}, r"method\.m: moves: rate=1\.5: a num"),
        ({"m": {"moves": [PART(moves.prune, rate=0.1, to=0.1)]}}, "give a rate or to, not both"),
        ({"m": {"moves": [PART(moves.prune, to=0.999), moves.train]}}, r"to=0\.999: it keeps"),
        ({"d": {"at": "dense", "moves": [PART(moves.prune, to=0.3), moves.train]}}, "are left"),
        ({"m": {"moves": [PART(moves.rewind, to=99)]}}, r"rewind\.step=99 leaves nothing"),
        ({"m": {"moves": [PART(moves.train, optimizer={"lr": 1})]}}, "name its kind"),
        ({"m": {"moves": [PART(lth.arms.noise, scale=1.0)]}}, r"method\.m: "),
        ({"m": [PART(mine, strength=1.0), bare]}, "needs 'trained'; give what makes it"),
        ({WINNER: {"moves": [moves.fine_tune]}}, "an arm has that name"),
    ],
)
def test_a_method_that_cannot_be_is_refused_in_one_line(method, words, tmp_path):
    with pytest.raises(LthError, match=words) as caught:
        prepared(tmp_path, method=method)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_the_command_takes_methods(tmp_path, monkeypatch, capsys):
    from lth import cli

    few = ["trials=1", "levels=1", "recipe.steps=6", "logger=none", "trainer=cpu", "action=plan",
           f"out={tmp_path}", "method=[fine_tune,prune_fine_tune]"]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["lth", *few])
    cli.main()
    said = capsys.readouterr().out
    assert "fine_tune" in said and "prune_fine_tune" in said
