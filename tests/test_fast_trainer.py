"""The fast trainer as a Lightning user finds it: what is registered, logged, called, refused."""

import csv
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger

import lth
from lth import LthError
from lth.config import compose
from lth.store.store import Store
from lth.study.setup import prepare
from lth.study.sweep import ready
from lth.train.cohort import Cohort
from lth.train.engine import SequentialEngine
from lth.train.fits import Fits
from lth.train.module import Block
from lth.train.options import Options
from lth.train.stacked import VmapEngine
from lth.train.trainer_options import TrainerOptions, acting, make_trainer
from lth.train.work import one_thread
from tests.test_training import NORM, frozen_job, in_turn, job, recipe, same, train
from tests.toys import blobs, mlp

ROOT = Path(__file__).parents[1]
HERE = "tests.test_fast_trainer"
SEEN = []


class Recorder(pl.Callback):
    """Writes down which hooks fire, and what a user sees in them."""

    def on_fit_start(self, trainer, module):
        SEEN.append(("fit", [n for n, _ in module.named_parameters()], module))

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        SEEN.append(("begin", batch, batch_idx, trainer.global_step))

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        SEEN.append(("end", batch, batch_idx, trainer.global_step, float(outputs["loss"])))

    def on_before_optimizer_step(self, trainer, module, optimizer):
        SEEN.append(("update", optimizer is trainer.optimizers[0], trainer.global_step))

    def on_validation_end(self, trainer, module):
        values = {n: float(v) for n, v in trainer.callback_metrics.items()}
        SEEN.append(("validation", trainer.sanity_checking, trainer.global_step, values))

    def on_save_checkpoint(self, trainer, module, checkpoint):
        SEEN.append(("checkpoint", checkpoint["global_step"], list(checkpoint["state_dict"])))

    def on_train_end(self, trainer, module):
        SEEN.append(("over", trainer.global_step))


class Scribbler(pl.Callback):
    """Writes over all weights and gradients: pruned ones must not come back to life."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        for parameter in module.parameters():
            parameter.data.add_(1.0)

    def on_before_optimizer_step(self, trainer, module, optimizer):
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad.add_(0.1)


@pytest.fixture(autouse=True)
def _nothing_seen():
    SEEN.clear()


def of(kind):
    return [event[1:] for event in SEEN if event[0] == kind]


def spec(name, **arguments):
    return {"_target_": name, **arguments}


def study(out, **changes):
    trainer = {"workers": 0, "device": "cpu"} | changes.pop("trainer", {})
    return lth.run(**{
        "data": partial(blobs, validation=40), "model": partial(mlp, width=8), "name": "fast",
        "recipe": {"steps": 40, "batch": 20, "lr": 0.02, "eval_every": 10}, "trials": 1,
        "levels": 1, "arms": ["winning_ticket"], "logger": "none", "progress": False,
        "trainer": trainer, "out": str(out),
    } | changes)  # fmt: skip


def numbers(found):
    return [tuple(r[1:]) for r in [*found.records, *found.curves]]


def fit_one(member, folder, values=None, kind=SequentialEngine, count=1, precision="32"):
    """Fit a cohort of members; return it, and the trainer's module as ``on_fit_start`` saw it."""
    jobs = [member] if count == 1 else [job(trial=n) for n in range(count)]
    made = in_turn if kind is SequentialEngine else VmapEngine
    cohort = Cohort(jobs, blobs(), Store(folder), made)
    given = {"callbacks": [spec(f"{HERE}.Recorder")]} | (values or {})
    ended = []
    with one_thread():
        Fits(lambda *now: ended.append(now[1]), precision, "cpu",
             TrainerOptions(given, folder / "files")).fit(cohort)  # fmt: skip
    assert ended[-1] is True and not any(ended[:-1])
    return cohort, of("fit")[-1][1]


def test_parameters_buffers_and_optimizer_are_the_members(tmp_path):
    cohort, module = fit_one(job(NORM), tmp_path)
    network = cohort.engine.network
    names = {f"member0.{n}" for n in network.leaves}
    assert {n for n, _ in module.named_parameters()} == names
    for name, leaf in network.leaves.items():
        assert module.get_parameter(f"member0.{name}") is leaf
    assert {n for n, _ in module.named_buffers()} == {f"member0.{n}" for n in network.buffers}
    assert module.get_buffer("member0.1.running_mean").abs().sum() > 0
    (optimizer,) = module.configure_optimizers()
    assert optimizer is cohort.engine.optimizer
    assert [p for g in optimizer.param_groups for p in g["params"]] == list(module.parameters())


def test_a_weight_seen_through_a_view_is_registered_by_its_leaf(tmp_path):
    cohort, module = fit_one(frozen_job(), tmp_path)
    leaves = cohort.engine.network.leaves
    assert {n: id(p) for n, p in module.member0.named_parameters()} == {
        n: id(p) for n, p in leaves.items()
    }


def test_a_stack_names_every_member(tmp_path):
    cohort, module = fit_one(None, tmp_path, kind=VmapEngine, count=3)
    names = [n for n, _ in module.member0.named_parameters()]
    assert len(list(module.named_parameters())) == 3 * len(names)
    for number in range(3):
        params = cohort.engine.state(number).params
        for name, parameter in getattr(module, f"member{number}").named_parameters():
            kept = cohort.courses[number].job.ticket.mask.get(name, torch.tensor(True))
            assert torch.equal(parameter.detach() * kept, params[name])
    assert "member2/validation/loss" in of("validation")[-1][2]
    inputs = blobs().prepare(blobs().train_inputs[:5])
    assert module(inputs).shape == (3, 5, 4)
    for number in range(3):
        alone = functional(cohort, number, inputs)
        torch.testing.assert_close(module(inputs, number), alone)


def functional(cohort, number, inputs):
    ticket = cohort.courses[number].job.ticket
    model, state = lth.networks.ticket.draw_model(ticket.model, 0), cohort.engine.state(number)
    model.load_state_dict({**state.params, **state.buffers})
    return model.eval()(inputs).detach()


def test_forward_gives_the_outputs(tmp_path):
    cohort, module = fit_one(job(), tmp_path)
    inputs = blobs().prepare(blobs().train_inputs[:5])
    assert torch.equal(module(inputs, 0), functional(cohort, 0, inputs))
    assert torch.equal(module(inputs)[0], module(inputs, 0))


def test_hooks_fire_with_honest_arguments(tmp_path):
    member = job(recipe=recipe(steps=35, eval_every=10), lightning={"callbacks": ["a recorder"]})
    cohort, _ = fit_one(member, tmp_path)
    blocks = [Block(0, 10), Block(10, 20), Block(20, 30), Block(30, 35)]
    assert of("begin") == [(b, n, b.start) for n, b in enumerate(blocks)]
    assert [e[:3] for e in of("end")] == [(b, n, b.stop) for n, b in enumerate(blocks)]
    assert of("update") == [(True, step) for step in range(35)]
    assert of("over") == [(35,)]
    measured = of("validation")
    assert [e[:2] for e in measured] == [(True, 0)] + [(False, b.stop) for b in blocks]
    curve = {(s, m): v for s, split, m, v in cohort.courses[0].curve if split == "validation"}
    for _, step, values in measured[1:]:
        for name in ("loss", "accuracy"):
            assert values[f"validation/{name}"] == pytest.approx(curve[step, name])
            assert values[f"member0/validation/{name}"] == values[f"validation/{name}"]
    means = [v for _, split, m, v in cohort.courses[0].curve if m == "batch_loss"]
    assert means == pytest.approx([e[3] for e in of("end")])


def test_snapshots_end_a_block_and_are_not_validated(tmp_path):
    fit_one(job(snapshots=(3, 17), recipe=recipe(steps=20)), tmp_path)
    assert [e[0] for e in of("begin")] == [(0, 3), (3, 10), (10, 17), (17, 20)]
    assert [e[1] for e in of("validation")] == [0, 10, 20]


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_no_number_depends_on_who_looks_on(precision, tmp_path):
    member = job(NORM, precision=precision)
    (quiet,) = train([member], tmp_path / "a", precision=precision)
    values = {
        "callbacks": [spec(f"{HERE}.Recorder")], "profiler": "simple", "logger": [
            spec("pytorch_lightning.loggers.CSVLogger", save_dir=str(tmp_path / "csv"))],
    }  # fmt: skip
    given = TrainerOptions(values, tmp_path / "files")
    (watched,) = train([member], tmp_path / "b", precision=precision, lightning=given)
    assert same(quiet, watched) and of("over")


def test_pruned_weights_stay_zero_whatever_a_callback_does(tmp_path):
    member = job(lightning={"callbacks": ["scribbles"]})
    cohort, module = fit_one(member, tmp_path, {"callbacks": [
        spec(f"{HERE}.Recorder"), spec(f"{HERE}.Scribbler")]})  # fmt: skip
    for name, mask in member.ticket.mask.items():
        weight = module.get_parameter(f"member0.{name}")
        assert not weight[~mask].any() and weight[mask].all()
    assert all(not slot[~member.ticket.mask[n]].any() for n, slot in moments(cohort, member))


def moments(cohort, member):
    for key, value in cohort.engine.optimizer_state(0).items():
        name = key.rpartition("/")[0]
        if name in member.ticket.mask and value.ndim:
            yield name, value


def test_a_whole_study_with_everything_lightning_offers(tmp_path):
    quiet = study(tmp_path / "quiet")
    given = {
        "callbacks": [LearningRateMonitor, partial(ModelCheckpoint, save_top_k=-1), Recorder],
        "logger": {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": str(tmp_path)},
        "profiler": "simple", "detect_anomaly": True, "enable_model_summary": False,
    }  # fmt: skip
    found = study(tmp_path / "out", trainer=given)
    assert numbers(found) == numbers(quiet) and found.id != quiet.id
    logs = sorted(tmp_path.glob("lightning_logs/winning_ticket-trial0-level*/metrics.csv"))
    assert len(logs) == 2
    with open(logs[0], newline="") as file:
        rows = list(csv.DictReader(file))
    rates = {int(r["step"]): float(r["lr-Adam"]) for r in rows if r["lr-Adam"]}
    assert rates == {0: 0.02, 10: 0.02, 20: 0.02, 30: 0.02}
    measured = [r for r in rows if r["member0/validation/loss"]]
    losses = {int(r["step"]): float(r["member0/validation/loss"]) for r in measured}
    curve = {s: v for s, *what, v in found.entry().curve if what == ["validation", "loss"]}
    # Lightning counts updates from 0: what is measured after the tenth is logged at 9
    assert losses == pytest.approx({max(0, s - 1): v for s, v in curve.items()})
    assert [e[0] for e in of("checkpoint")] == [10, 20, 30, 40] * 2
    assert (
        "validation_step"
        in next(tmp_path.glob("out/lightning/*level0*/fit-profile.txt")).read_text()
    )
    checkpoints = sorted(logs[0].parent.glob("checkpoints/*.ckpt"))
    state = torch.load(checkpoints[-1], weights_only=True)["state_dict"]
    assert torch.equal(state["member0.1.weight"], found.entry().final.params["1.weight"])


def test_early_stopping_reads_what_is_logged_and_is_part_of_the_identity(tmp_path):
    stop = partial(EarlyStopping, monitor="validation/loss", patience=1, min_delta=10.0)
    found = study(tmp_path, trainer={"callbacks": [stop]})
    plain = study(tmp_path)
    assert {r.step for r in found.records if r.metric == "training_flops"} == {20}
    assert {r.step for r in plain.records if r.metric == "training_flops"} == {40}
    assert found.id != plain.id and plain.provenance["trained"] == 2
    assert study(tmp_path, trainer={"callbacks": [stop]}).provenance["trained"] == 0
    with pytest.raises(LthError, match=r"ended the dense network of trial 0.* step 30: rewind"):
        study(tmp_path, trainer={"callbacks": [stop]}, rewind={"step": 30})


def test_what_only_looks_is_no_part_of_the_identity(tmp_path):
    looks = [spec("pytorch_lightning.callbacks.LearningRateMonitor"), LearningRateMonitor]
    assert acting({"callbacks": looks[:1], "logger": True, "profiler": "simple"}) == {}
    assert acting({"callbacks": [*looks[:1], spec("mine.Acts")], "max_time": "00:00:01:00"}) == {
        "callbacks": [spec("mine.Acts")], "max_time": ["00:00:01:00"],
    }  # fmt: skip
    first = study(tmp_path)
    assert study(tmp_path, trainer={"callbacks": looks, "profiler": "simple"}).id == first.id


def test_workers_build_their_own(tmp_path):
    given = {"workers": 1, "callbacks": [ModelCheckpoint], "profiler": "simple"}
    found = study(tmp_path, trainer=given, levels=0)
    files = {p.name for p in (tmp_path / "lightning").rglob("*.*") if p.is_file()}
    assert found.provenance["trained"] == 1 and files == {"epoch=0-step=40.ckpt", "fit-profile.txt"}


class StartedError(LthError):
    """In the place of a pool: so many workers would start."""


def start(workers, *_):
    raise StartedError(str(workers))


@pytest.mark.parametrize(("workers", "cores", "alone"), [
    ("auto", 1, True), ("auto", 2, False), (0, 8, True), (1, 1, False),
])  # fmt: skip
def test_auto_starts_workers_where_there_are_cores_for_them(
    workers, cores, alone, tmp_path, monkeypatch
):
    monkeypatch.setattr("lth.train.options.count_cores", lambda: cores)
    monkeypatch.setattr("lth.train.trainer.Pool", start)
    trainer = {"workers": workers, "device": "cpu"}
    if alone:
        assert study(tmp_path, trainer=trainer, levels=0).provenance["trained"] == 1
        return
    with pytest.raises(StartedError, match=f"^{cores}$"):
        study(tmp_path, trainer=trainer, levels=0)


REFUSED = [
    ({"max_steps": 3}, r"trainer.max_steps=3: recipe.steps=N says"),
    ({"strategy": "ddp"}, r"trainer.strategy='ddp': .*side by side.*task=lightning"),
    ({"gradient_clip_val": 1.0}, r"trainer.gradient_clip_val=1.0: .*on_before_optimizer_step"),
    ({"profilr": "simple"}, r"trainer.profilr: no such setting; did you mean trainer.profiler\?"),
    ({"worker": 2}, r"trainer.worker: no such setting; did you mean trainer.workers\?"),
    ({"profiler": "fast"}, r"trainer.profiler: 'fast': .*or one of simple, advanced, pytorch"),
    ({"callbacks": ["early"]}, r"trainer.callbacks: 'early': every fit makes its own"),
    ({"callbacks": [Recorder()]}, r"trainer.callbacks: a Recorder object cannot stand"),
    ({"callbacks": [CSVLogger]}, r"CSVLogger needs 'save_dir'"),
    ({"callbacks": [partial(CSVLogger, save_dir="x")]}, r"makes a CSVLogger, which is no"),
    ({"callbacks": [pl.callbacks.RichProgressBar]}, r"RichProgressBar: lth shows the progress"),
    ({"callbacks": [partial(EarlyStopping, monitr="x")]}, r"EarlyStopping takes no 'monitr'"),
    ({"enable_checkpointing": False, "callbacks": [ModelCheckpoint]}, r"Lightning's Trainer does"),
    ({"callbacks": [partial(EarlyStopping, monitor="val_loss")]}, r"`val_loss` which is not"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "words"), REFUSED, ids=[" ".join(g) for g, _ in REFUSED])
def test_what_would_not_act_is_refused_in_one_line(given, words, tmp_path):
    with pytest.raises(LthError, match=words) as caught:
        study(tmp_path, trainer=given, levels=0)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("store/members/*"))


def test_every_option_of_lightnings_is_known():
    """A new one is looked at before it is passed on: does it act on a cohort?"""
    import inspect

    from lth.train.trainer_options import ACCEPTED, REFUSED

    names = [*inspect.signature(pl.Trainer.__init__).parameters][1:]
    own = ("devices", "precision")
    assert sorted({*ACCEPTED, *REFUSED, *own}) == sorted(names)


def test_the_options_are_ours_and_lightnings():
    options = Options.of({"workers": 0, "precision": "bf16-mixed", "profiler": "simple",
                          "logger": None})  # fmt: skip
    assert (options.workers, options.precision) == (0, "bf16")
    assert options.lightning == {"profiler": "simple"}
    settings = {"model": partial(mlp, width=8), "data": blobs, "levels": 0, "logger": "none",
                "recipe": {"batch": 20, "steps": 20, "eval_every": 10}}  # fmt: skip
    by_name = [prepare(compose(**settings, trainer={"precision": p})) for p in ("32", "32-true")]
    assert by_name[0].id == by_name[1].id
    assert by_name[0].options.lightning == {}


def test_a_text_may_name_the_member(tmp_path):
    given = TrainerOptions({"callbacks": [
        spec("pytorch_lightning.callbacks.ModelCheckpoint", dirpath="x/{member}")]})  # fmt: skip
    trainer = make_trainer(given, "me", accelerator="cpu", precision="32-true")
    assert trainer.checkpoint_callback.dirpath.endswith("x/me")
    assert trainer.default_root_dir == "lightning/me"


PLAN = """
import sys
sys.argv = ["lth", "action=plan", "logger=none", "trials=1", "levels=0", "trainer.profiler=simple"]
from lth.__main__ import main
main()
print("imported" if "pytorch_lightning" in sys.modules else "lightly")
"""


def test_the_command_needs_no_plus_and_a_plan_no_lightning(tmp_path):
    assert ready(["trainer.profiler=simple", "trainer=cpu", "levels=1"]) == [
        "++trainer.profiler=simple", "trainer=cpu", "levels=1",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PLAN], cwd=tmp_path, text=True, capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("lightly\n")
