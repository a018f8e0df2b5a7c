"""task=lightning: any LightningModule and LightningDataModule in the whole framework."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

import lth
from lth import LthError
from lth.config import compose
from lth.imp import dense
from lth.lightning import member, runner
from lth.lightning.position import Position
from lth.networks import masks
from lth.study.setup import prepare
from lth.train.options import Listener
from lth.train.trainer import store_at
from lth.types import WINNER, MemberId
from tests import tasks

SHORT = {"max_epochs": 3}


def settings(root, module=tasks.Line, **changes):
    """A study of a toy: 24 batches of 8 rows in 3 epochs, two levels."""
    given = {
        "task": {"module": module, "data": tasks.Points}, "trainer": SHORT, "trials": 1,
        "levels": 2, "arms": [WINNER], "out": str(root), "logger": "none",
    }  # fmt: skip
    return given | changes


def run(root, module=tasks.Line, **changes):
    """Run a study, quietly; its counts of members trained and reused come with it."""
    study = lth.run(progress=False, **settings(root, module, **changes))
    return study, (study.provenance["trained"], study.provenance["reused"])


def ready(root, module=tasks.Line, **changes):
    """A study made ready, and its trainer."""
    setup = prepare(compose(**settings(root, module, **changes)))
    return setup, setup.trainer(store_at(setup.out), Listener())


def key(root, module=tasks.Line, **changes):
    """The key of the dense member."""
    setup, trainer = ready(root, module, **changes)
    ticket = dense(setup.parts, setup.parts.lines[0])
    place = MemberId(0, setup.parts.lines[0].lr, WINNER, 0, 0)
    return trainer.jobs({place: ticket})[place].key


def viewed():
    """A move that lets the weights be seen otherwise, and trains as the module says."""

    def move(trained, context):
        views = {"mine": {"_target_": "tests.toys.unchanged"}}
        return replace(trained.now(), changes={}, views=views)

    return move


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """One study with arms, rewound to the middle of an epoch, and where it lies."""
    root = tmp_path_factory.mktemp("line")
    arms = [WINNER, "random_reinit", "random_mask", "freeze", "sgd_noise"]
    return run(root, rewind={"step": 6}, arms=arms, trials=2)


def test_a_task_runs_through_records_and_store(line):
    study, counts = line
    assert counts == (2 * (1 + 2 * 5), 0)
    rows = [r for r in study.records if r.arm == WINNER and r.level == 0 and r.trial == 0]
    found = {(r.split, r.metric) for r in rows}
    assert {("validation", "loss"), ("test", "loss"), ("validation", "early_stop_step"),
            ("train", "training_flops")} <= found  # fmt: skip
    assert study.config["name"] == "line"
    again, counts = run(study.folder.parents[1], rewind={"step": 6}, trials=2,
                        arms=[*study.config["arms"]])  # fmt: skip
    assert counts == (0, 22) and again.records == study.records


def test_tickets_start_at_the_dense_run_and_keep_their_mask(line):
    study, _ = line
    dense = study.entry(level=0)
    for level in (1, 2):
        ticket, entry = study.ticket(level=level), study.entry(level=level)
        start = masks.apply(dense.at(6).params, ticket.mask)
        assert ticket.step == 6 and entry.about["steps"] == 12 - 6
        assert all(torch.equal(start[n], p) for n, p in ticket.start.params.items())
        for name, mask in ticket.mask.items():
            assert not entry.final.params[name][~mask].any() and (~mask).any()
        assert not torch.equal(entry.final.params["net.0.weight"], start["net.0.weight"])
    other = study.ticket(level=2, arm="random_mask").mask
    assert masks.kept(other) == masks.kept(study.ticket(level=2).mask)
    frozen = study.entry(level=2, arm="freeze")
    for name, mask in frozen.mask.items():
        assert torch.equal(frozen.final.params[name][~mask], dense.at(6).params[name][~mask])


def test_frozen_weights_stay_where_they_are(tmp_path):
    setup, trainer = ready(tmp_path)
    ticket = dense(setup.parts, setup.parts.lines[0])
    mask = {n: p > 0 for n, p in ticket.params.items() if n in ticket.mask}
    ticket = replace(
        ticket, mask=mask, frozen={n: torch.full(m.shape, 0.5) * ~m for n, m in mask.items()}
    )
    place = MemberId(0, 0.02, WINNER, 0, 0)
    result = runner.run_member(
        setup.task, trainer.jobs({place: ticket})[place], None, tmp_path / "a"
    )
    for name, kept in mask.items():
        weight = result.final.params[name]
        assert bool((weight[~kept] == 0.5).all()) and not torch.equal(
            weight, result.start.params[name]
        )


def test_the_network_of_a_member_is_the_module_itself(line):
    study, _ = line
    network = study.network(level=1)
    assert isinstance(network, tasks.Line) and not network.training


def test_early_stop_is_where_the_monitor_is_best(line):
    study, _ = line
    entry = study.entry(level=1)
    curve = {
        s: v for s, split, metric, v in entry.curve if (split, metric) == ("validation", "loss")
    }
    early = next(int(v) for _, _, metric, v in entry.measured if metric == "early_stop_step")
    assert curve[early] == min(curve.values()) and set(curve) == {8, 12}


@pytest.mark.parametrize("module", [tasks.Plain, tasks.Scheduled])
@pytest.mark.parametrize("step", [3, 8])
def test_a_ticket_goes_on_as_the_dense_run_did(tmp_path, module, step, monkeypatch):
    monkeypatch.setattr(tasks.Points, "train_dataloader", _in_order)
    rates = []
    monkeypatch.setattr(module, "on_train_batch_end", lambda self, *_: rates.append(
        (self.global_step, self.trainer.current_epoch, self.optimizers().param_groups[0]["lr"])
    ))  # fmt: skip
    _, trainer = ready(tmp_path, module, rewind={"step": step})
    setup, _ = ready(tmp_path, module, rewind={"step": step})
    ticket = dense(setup.parts, setup.parts.lines[0])
    place = MemberId(0, 0.02, WINNER, 0, 0)
    rates.clear()
    entry = trainer({place: ticket})[place]
    whole = list(rates)
    rates.clear()
    state = entry.at(step)
    later = replace(ticket, params=state.params, buffers=state.buffers, step=step)
    again = trainer({place._replace(level=1): later})[place._replace(level=1)]
    assert rates == [r for r in whole if r[0] > step] and len(rates) == 12 - step
    if step % 4 == 0:  # in the middle of an epoch its data begins anew
        for name, weight in again.final.params.items():
            assert torch.equal(weight, entry.final.params[name])


def _in_order(self):
    return torch.utils.data.DataLoader(self.parts[0], self.batch)


class Stopping:
    """Asks a fit to stop after so many batches."""

    def __init__(self, after):
        self.left = after

    def report(self, step):
        self.left -= 1

    def __call__(self):
        return self.left <= 0


@pytest.mark.parametrize(("after", "epoch", "begins"), [(6, 0.0, 5), (11, 20.0, 13)])
def test_a_member_that_is_interrupted_goes_on_to_the_same_bits(
    tmp_path, after, epoch, begins, monkeypatch
):
    stopping = {"trainer": {"max_epochs": 4, "callbacks": [{
        "_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "val_loss",
        "patience": 3}]}, "levels": 0}  # fmt: skip
    setup, _ = ready(tmp_path, tasks.Restless, **stopping)
    place, ticket = MemberId(0, 0.02, WINNER, 0, 0), dense(setup.parts, setup.parts.lines[0])
    job = setup.trainer(store_at(setup.out), Listener()).jobs({place: ticket})[place]
    whole = runner.run_member(setup.task, job, None, tmp_path / "none" / "a.ckpt")
    monkeypatch.setattr(member, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(member, "SHORT_EPOCH", epoch)
    kept = tmp_path / "kept" / "a.ckpt"
    with pytest.raises(member.Stopped):
        stopping = Stopping(after)
        runner.run_member(setup.task, job, None, kept, stopping.report, stopping)
    begun = []
    resumed = runner.run_member(setup.task, job, None, kept, report=begun.append)
    assert begun[0] == begins
    assert resumed.curve == whole.curve and resumed.measured == whole.measured
    for kind in range(2):
        for name, value in whole.final[kind].items():
            assert torch.equal(value, resumed.final[kind][name]), name


def test_a_damaged_checkpoint_begins_the_member_anew(tmp_path):
    setup, trainer = ready(tmp_path, levels=0)
    place, ticket = MemberId(0, 0.02, WINNER, 0, 0), dense(setup.parts, setup.parts.lines[0])
    path = tmp_path / "store" / "partial" / f"{trainer.jobs({place: ticket})[place].key}.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no checkpoint")
    assert trainer({place: ticket})[place].about["steps"] == 12 and not path.exists()


def test_equal_members_have_equal_bits_and_data_is_prepared_once(tmp_path, capsys):
    first, _ = run(tmp_path / "a", levels=0)
    assert capsys.readouterr().out == "prepared\n"
    second, _ = run(tmp_path / "b", levels=0)
    for name, weight in first.entry().final.params.items():
        assert torch.equal(weight, second.entry().final.params[name])
    assert first.records == second.records


def test_the_command_and_python_name_one_study(tmp_path):
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    from lth.config import conf_folder
    from lth.study.sweep import ready as made_ready

    words = ["task=lightning", "task.module._target_=tests.tasks.Line", "task.module.hidden=6",
             "task.data._target_=tests.tasks.Points", "trainer.max_epochs=3", "logger=none",
             "recipe.lr=[0.1,0.2]", "task.monitor=val_loss"]  # fmt: skip
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        theirs = OmegaConf.to_container(hydra_compose("config", made_ready(words)), resolve=True)
    theirs.pop("experiment", None)
    theirs["arms"] = {n: a for n, a in theirs["arms"].items() if "_target_" in a}
    ours = compose(
        task={"module": partial(tasks.Line, hidden=6), "data": tasks.Points},
        trainer={"max_epochs": 3}, logger="none", recipe={"lr": [0.1, 0.2]},
    )  # fmt: skip
    assert ours | {"name": None} == theirs


MINE = {
    "task/mine.yaml": """# @package _global_
defaults: [lightning, _self_]
task:
  module: {_target_: tests.tasks.Line, hidden: 5}
  data: {_target_: tests.tasks.Points}
trainer: {max_epochs: 2}
""",
    "experiment/short.yaml": """# @package _global_
defaults: [override /task: mine]
recipe: {lr: [0.1, 0.2]}
task: {module: {hidden: 6}}
levels: 3
""",
}


@pytest.mark.parametrize("choice", ["task=mine", "experiment=short"])
def test_tasks_of_ones_own_in_yaml(tmp_path, choice):
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    from lth.config import conf_folder

    for name, text in MINE.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    search = f"hydra.searchpath=[file://{tmp_path}]"
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        theirs = OmegaConf.to_container(hydra_compose("config", [choice, search]), resolve=True)
    theirs.pop("experiment", None)
    theirs["arms"] = {n: a for n, a in theirs["arms"].items() if "_target_" in a}
    group, _, name = choice.partition("=")
    ours = compose(tmp_path, **{group: name})
    assert ours.pop("name") == "line" and ours | {"name": None} == theirs


def test_a_dense_run_is_looked_at_again_where_a_later_study_needs_it(tmp_path):
    assert run(tmp_path, levels=1)[1] == (2, 0)
    study, counts = run(tmp_path, levels=1, rewind={"step": 6})
    assert counts == (2, 0) and study.entry(level=1).about["step"] == 6
    assert run(tmp_path, levels=1)[1] == (0, 2)


def test_a_sweep_of_the_modules_rate(tmp_path):
    study, counts = run(tmp_path, levels=1, recipe={"lr": [0.01, 0.02]})
    assert counts == (4, 0) and {r.lr for r in study.records} == {0.01, 0.02}
    _, counts = run(tmp_path, levels=1)  # its own rate is one of them
    assert counts == (0, 2)
    starts = [study.entry(lr=lr).start.params["net.0.weight"] for lr in (0.01, 0.02)]
    assert torch.equal(*starts)


LINES = '''
from tests.tasks import Line, nn

class Mine(Line):
    """{doc}"""
    def training_step(self, batch, batch_idx):
        return {times} * super().training_step(batch, batch_idx)
'''


def test_what_changes_results_changes_the_key(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    from importlib import import_module

    keys = {}
    for number, (doc, times) in enumerate([("One.", 1), ("Two.", 1), ("One.", 2)]):
        (tmp_path / f"mine{number}.py").write_text(LINES.format(doc=doc, times=times))
        keys[doc, times] = key(tmp_path, import_module(f"mine{number}").Mine)
    assert keys["One.", 1] == keys["Two.", 1] != keys["One.", 2]
    plain = key(tmp_path)
    moved = {"module": tasks.Line, "data": partial(tasks.Points, shift=1.0)}
    assert key(tmp_path, task=moved) != plain
    for name, value in (("max_epochs", 4), ("accumulate_grad_batches", 2), ("precision", "bf16"),
                        ("gradient_clip_val", 0.1)):  # fmt: skip
        assert key(tmp_path, trainer=SHORT | {name: value}) != plain, name
    quiet = SHORT | {"enable_progress_bar": False, "log_every_n_steps": 3, "profiler": "simple"}
    assert key(tmp_path, trainer=quiet) == plain


def test_data_is_known_by_what_its_loaders_give(tmp_path):
    path, keys = tmp_path / "rows.pt", []
    for shift in (0.0, 0.0, 1.0):
        rows = torch.arange(48 * 5).reshape(48, 5).sin()
        rows[47] += shift  # of validation
        torch.save(rows, path)
        data = partial(tasks.FromFile, path=str(path))
        keys.append(key(tmp_path, task={"module": tasks.Line, "data": data}))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trainer": {"max_epoch": 3}}, r"trainer\.max_epoch: .* did you mean max_epochs"),
        ({"trainer": {}}, r"trainer\.max_epochs: say how long"),
        ({"trainer": SHORT | {"devices": 2, "strategy": "fsdp"}}, "ddp_spawn or ddp_fork"),
        ({"trainer": SHORT | {"strategy": "ddpp"}}, "no such strategy; did you mean ddp"),
        ({"method": "fine_tune"}, r"method\.fine_tune: it changes .*recipe of this package's"),
        ({"method": {"long": {"moves": [{"_target_": "lth.moves.train"}]}}}, "method.long: it"),
        ({"method": "neuron_tickets"}, r"method\.neuron_tickets: it trains another network"),
        ({"method": "few_labels_alone"}, r"method\.few_labels_alone: it sees chosen examples"),
        ({"method": "neurons_apoz"}, r"method\.neurons_apoz: a task's data are its module's own"),
        ({"method": "quantize_inputs"}, r"quantize_inputs: a task's data are its module's own"),
        ({"method": {"viewed": {"moves": [viewed]}}}, r"viewed: it sees its weights through views"),
        ({"task": {"module": tasks.Line, "data": tasks.Points, "monitor": "train_loss_epoch"}},
         "its mean over an epoch is train_loss: say that"),
        ({"recipe": {"steps": 3}}, r"recipe\.steps: it does not apply to task=lightning"),
        ({"model": "lenet"}, "model: it does not apply"),
        ({"arms": ["rigl"]}, r"arms\.rigl: it changes its mask"),
        ({"arms": ["random_mask_longer"]}, "arms.random_mask_longer: it trains longer"),
        ({"arms": ["small_dense"]}, "arms.small_dense: it needs a recipe"),
        ({"arms": ["supermask"]}, "arms.supermask: it changes lr"),
        ({"rewind": {"step": 12}}, "leaves nothing to train"),
        ({"rewind": {"_target_": "lth.pruning.rewind.fine_tune", "length": 2}}, "cannot be held"),
        ({"task": {"module": tasks.Line, "data": tasks.Points, "monitor": "val_los"}},
         r"task\.monitor=val_los: .* it logs train_loss, val_loss"),
        ({"task": tasks.Line}, "task=Line: a YAML's name, or a mapping"),
        ({"task": "lightning"}, r"task\.module=None: name your LightningModule"),
        ({"task": {"module": tasks.Points, "data": tasks.Points}}, "it is no LightningModule"),
        ({"task": {"module": tasks.Line, "daat": tasks.Points}}, "task.daat: no such .* data"),
        ({"task": {"module": tasks.Pair, "data": tasks.Points, "monitor": "gap"},
          "recipe": {"lr": [0.1]}}, "takes no lr and no learning_rate"),
        ({"task": {"module": partial(tasks.Line, lr=0.1), "data": tasks.Points},
          "recipe": {"lr": [0.1]}}, "recipe.lr=.* is set too"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name_before_any_work(tmp_path, changes, words):
    with pytest.raises(LthError, match=words):
        run(tmp_path, **changes)
    assert not (tmp_path / "store" / "members").exists()


def test_an_error_in_the_modules_code_shows_before_any_work(tmp_path, monkeypatch):
    def broken(self, batch, batch_idx):
        raise ValueError("no such layer")

    monkeypatch.setattr(tasks.Line, "test_step", broken)
    with pytest.raises(LthError, match=r"one batch of the test fails: .*no such layer"):
        run(tmp_path)


def test_a_monitor_that_is_no_number_is_a_divergence(tmp_path):
    with pytest.raises(LthError, match="every member diverged"):
        run(tmp_path, tasks.Diverging)


def test_two_optimizers_by_hand(tmp_path):
    task = {"module": tasks.Pair, "data": tasks.Points, "monitor": "gap"}
    study, counts = run(tmp_path, task=task, rewind={"step": 4}, arms=[WINNER, "random_reinit"])
    assert counts == (5, 0) and study.entry(level=2).about["steps"] == 24 - 4
    final, mask = study.entry(level=2).final.params, study.ticket(level=2).mask
    assert all(not final[n][~m].any() for n, m in mask.items())
    with pytest.raises(LthError, match=r"manual optimization .* no one loss; take magnitude"):
        run(tmp_path, task=task, score="snip", search="at_init")


def test_a_step_at_which_no_batch_begins_is_refused_when_it_is_passed(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(tasks.Pair, "on_train_batch_start", lambda self, *_: seen.append(1))
    task = {"module": tasks.Pair, "data": tasks.Points, "monitor": "gap"}
    with pytest.raises(LthError, match=r"rewind\.step=5: .* now stands at step 6: take that one"):
        run(tmp_path, task=task, rewind={"step": 5})
    assert len(seen) < 6  # of 12 batches of the dense network: its whole training is not lost


def test_a_method_that_only_prunes_and_rewinds(tmp_path):
    moves = [{"_target_": "lth.moves.prune_and_rewind", "rate": 0.5, "to": 7}]
    study, counts = run(tmp_path, method={"half": {"at": "dense", "moves": moves}})
    assert counts == (5, 0) and study.entry(level=2, arm="half").about["step"] == 7


def test_callbacks_that_need_a_logger_have_the_one_that_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logger = {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": str(tmp_path / "log")}
    rates = {"_target_": "pytorch_lightning.callbacks.LearningRateMonitor"}
    trainer = SHORT | {"logger": logger, "callbacks": [rates], "log_every_n_steps": 1}
    run(tmp_path, trainer=trainer, levels=0)
    assert [p.name for p in (tmp_path / "log" / "lightning_logs").iterdir()] == ["version_0"]


def test_gradient_scores_go_through_the_training_step(tmp_path):
    found = {}
    for score in ("snip", "grasp", "synflow", "magnitude"):
        study, _ = run(tmp_path, score=score, search="at_init", levels=1, name=score)
        found[score] = study.ticket(level=1).mask["net.0.weight"]
    assert all(int(m.sum()) == int(found["snip"].sum()) for m in found.values())
    assert not torch.equal(found["snip"], found["magnitude"])


def test_a_stream_without_a_length(tmp_path):
    task = {"module": tasks.Line, "data": tasks.Stream}
    steps = {"max_steps": 6, "val_check_interval": 2, "max_epochs": -1, "limit_val_batches": 1}
    study, counts = run(tmp_path, task=task, trainer=steps, levels=1)
    assert counts == (2, 0) and study.entry().about["steps"] == 6
    with pytest.raises(LthError, match=r"trainer\.max_steps"):
        run(tmp_path, task=task)


def test_more_is_better_where_the_name_or_the_mode_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks.Line, "validation_step", _accuracy)
    task = {"module": tasks.Line, "data": tasks.Points, "monitor": "val_acc"}
    study, _ = run(tmp_path, task=task, levels=0)
    early = next(r for r in study.records if r.metric == "early_stop_step")
    assert early.value == 12  # it rises with the epochs
    task |= {"mode": "min"}
    study, _ = run(tmp_path, task=task, levels=0)
    assert next(r for r in study.records if r.metric == "early_stop_step").value == 4


def _accuracy(self, batch, batch_idx):
    self.log("val_acc", 0.1 * (1 + self.current_epoch))


def test_two_processes_have_one_mask(tmp_path):
    trainer = {"max_epochs": 2, "devices": 2, "strategy": "ddp"}
    study, counts = run(tmp_path, trainer=trainer, levels=1, rewind={"step": 2})
    assert counts == (2, 0) and study.entry(level=1).about["steps"] == 4 - 2
    final, mask = study.entry(level=1).final.params, study.ticket(level=1).mask
    assert all(not final[n][~m].any() and (~m).any() for n, m in mask.items())


def test_a_position_is_text_and_back():
    position = Position(1, 2, 6, 6, 6, [{"last_epoch": 3}], [[{"lr": 0.1, "betas": (0.9, 0.99)}]])
    assert json.loads(position.text())["groups"] == [[{"lr": 0.1, "betas": [0.9, 0.99]}]]
    assert Position.read(position.text()).step == 6
