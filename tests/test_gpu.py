"""What trains on a GPU, where there is one: every choice keeps the laws, and is that of a CPU.

    python -m pytest -m gpu -n 8 tests/test_gpu.py

A GPU adds in another order, so what a CPU gives to the bit is asked for up to rounding here.
"""

from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch

import lth
from lth.lightning import find_tickets
from lth.networks import masks
from lth.networks.ticket import draw_model
from lth.store.entry import StoredMember
from lth.store.restore import net_of
from lth.store.store import Store
from lth.train.options import Options
from lth.train.stacked import run_stacked
from lth.train.work import Stopped, one_thread
from lth.types import WINNER
from tests import laws, tasks
from tests.lightning_toys import Lit, check_zero, loader
from tests.test_laws import CASES, settings_of
from tests.toys import DROPOUT, MLP, NORM, PLAIN, Deaf, blobs, job, recipe, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here"),
]

CUDA = {"trainer": {"device": "cuda"}}


def train_on_gpu(jobs, root, precision="32", **options) -> list[StoredMember]:
    """Train members as a GPU does, on it, and read them back."""
    store = Store(root)
    with one_thread():
        given = Options(device="cuda", precision=precision)
        run_stacked(jobs, blobs(), store, given, Deaf(), **options)
    return [store.get(j.key) for j in jobs]  # type: ignore[misc]


def check_close(ours, theirs, loss=1e-3):
    """Two entries of one member agree up to rounding."""
    losses = [{p[:3]: p[3] for p in e.curve if p[2] == "loss"} for e in (ours, theirs)]
    assert losses[0].keys() == losses[1].keys() and losses[0]
    assert losses[0] == pytest.approx(losses[1], rel=loss, abs=loss)
    for name, value in ours.final.params.items():
        torch.testing.assert_close(value, theirs.final.params[name], rtol=1e-2, atol=2e-3)
    for name, mask in ours.final_mask.items():
        assert torch.equal(mask, theirs.final_mask[name])
        assert not ours.final.params[name][~mask].any()


@pytest.mark.parametrize(("group", "name"), CASES)
def test_every_choice_keeps_every_law(group, name, tmp_path):
    settings = settings_of(group, name) | CUDA
    study, setup = laws.run(out=str(tmp_path), **settings)
    laws.check(study, setup)
    assert study.provenance["machine"]["gpu"] and study.provenance["trained"] > 0
    again, _ = laws.run(out=str(tmp_path), **settings)
    assert again.provenance["trained"] == 0  # the store has it all
    records = [(s.folder / "records.csv").read_bytes() for s in (study, again)]
    assert records[0] == records[1]


@pytest.mark.parametrize("model", [MLP, NORM, PLAIN, DROPOUT], ids=["mlp", "norm", "tied", "drops"])
def test_a_cohort_is_that_of_a_cpu(model, tmp_path):
    short = recipe(steps=12, eval_every=4)
    jobs = [job(model, t, d, recipe=short) for t in range(2) for d in (0.3, 1.1)]
    if model is DROPOUT:  # the GPU's random numbers are not the CPU's
        jobs = [job(model, recipe=short)]
        assert train_on_gpu(jobs, tmp_path / "gpu")[0].diverged is None
        return
    theirs = train(jobs, tmp_path / "cpu")
    for ours, other in zip(train_on_gpu(jobs, tmp_path / "gpu"), theirs, strict=True):
        check_close(ours, other)


def test_company_and_a_stop_change_a_member_by_rounding_only(tmp_path):
    jobs = [job(NORM, t) for t in range(3)]
    together = train_on_gpu(jobs, tmp_path / "a")
    check_close(together[1], train_on_gpu(jobs[1:2], tmp_path / "b")[0])
    calls = []
    with pytest.raises(Stopped):
        train_on_gpu(jobs, tmp_path / "c", stop=lambda: bool(calls) or calls.append(1))
    assert Store(tmp_path / "c").get_partial(jobs[0].key)
    for whole, resumed in zip(together, train_on_gpu(jobs, tmp_path / "c"), strict=True):
        check_close(resumed, whole)


def test_half_precision_trains_and_is_a_member_of_its_own(tmp_path):
    jobs = [job(MLP, t) for t in range(2)]
    halves = [replace(j, precision="bf16") for j in jobs]
    halves = [replace(j, key=k) for j, k in zip(halves, ("a" * 64, "b" * 64), strict=True)]
    ours = train_on_gpu(halves, tmp_path / "half", "bf16")
    for half, whole in zip(ours, train_on_gpu(jobs, tmp_path / "whole"), strict=True):
        assert all(p.dtype == torch.float32 for p in half.final.params.values())
        last = [next(v for *_, m, v in reversed(e.curve) if m == "loss") for e in (half, whole)]
        assert last[0] == pytest.approx(last[1], rel=0.1)


def test_what_a_gpu_trained_is_packed_as_it_was_weighed(tmp_path):
    study, _ = laws.run(out=str(tmp_path), method=["cluster_ticket"], **CUDA)
    place = next(m for m in study.members if m.arm == "cluster_ticket" and m.phase)
    content = lth.pack(net_of(study.entry(**place._asdict()), study.trust))
    budget = study.budget(**place._asdict())
    assert len(content) == budget.bytes
    module, data = lth.unpack(content, trust=["tests"]).module().eval(), blobs()
    inputs = data.prepare(data.test_inputs)
    with torch.no_grad():
        there, here = module.cuda()(inputs.cuda()).cpu(), module.cpu()(inputs)
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5)
    right = (there.argmax(1) == data.test_targets).double().mean().item()
    assert right == pytest.approx(budget.accuracy, abs=1.01 / len(data.test_targets))


def test_a_module_on_a_gpu_packs_to_the_file_of_a_cpu():
    module = draw_model(NORM, 0)
    assert lth.pack(module.cuda(), model=NORM) == lth.pack(module.cpu(), model=NORM)


def test_a_task_trains_on_a_gpu(tmp_path):
    settings = {
        "task": {"module": tasks.Line, "data": tasks.Points}, "trials": 1, "levels": 2,
        "trainer": {"device": "cuda", "max_epochs": 3}, "arms": [WINNER, "random_reinit"],
        "out": str(tmp_path), "logger": "none", "progress": False,
    }  # fmt: skip
    study = lth.run(**settings)
    assert study.ticket(level=2).density < study.ticket(level=1).density < 1
    for place in study.members:
        entry = study.entry(**place._asdict())
        gone = [entry.final.params[n][~m] for n, m in entry.mask.items()]
        assert not any(g.any() for g in gone) and not entry.final.params["net.0.weight"].is_cuda
    assert lth.run(**settings).provenance["trained"] == 0


def test_the_loop_over_a_module_runs_on_a_gpu():
    def make():
        return pl.Trainer(
            accelerator="gpu", devices=1, max_epochs=2, logger=False, enable_progress_bar=False,
            enable_checkpointing=False, enable_model_summary=False,
        )  # fmt: skip

    module, found = Lit("adam"), []
    for _, drawn in find_tickets(make, module, (loader(), loader()), levels=2):
        check_zero(module, {n: m for n, m in drawn.mask.items() if not m.all()})
        found.append(drawn)
    assert masks.is_nested(found[2].mask, found[1].mask)
    assert found[2].density < found[1].density < found[0].density == 1
