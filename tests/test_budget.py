"""What networks cost: counted by hand, by torch and by lth/networks/cost.py; kept, never stale."""

import json
from functools import partial

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import lth
from lth import LthError
from lth.budget import Budget, macs_of, weighing
from lth.budget import measure as measuring
from lth.budget.macs import counted
from lth.budget.stored import NAME
from lth.data import tensors
from lth.networks.cost import forward_flops
from lth.networks.net import Net
from lth.networks.ticket import draw_model
from lth.networks.trace import twice_differentiable
from lth.packing import pack, unpack
from lth.recipe.adapt import as_loss
from lth.recipe.evaluation import Measures
from lth.recipe.loss import cross_entropy
from lth.recipe.measures import accuracy
from lth.records.budget import PREFIX, budget_of, is_budget
from lth.records.record import Record
from lth.store.restore import net_of
from lth.study.progress import Display
from lth.study.run import execute
from lth.train.batches import Batches
from lth.train.job import Streams
from tests import tasks
from tests.toys import MLP, NORM, mlp, run_study, setup_of, ticket, upsampler

LENET = {"_target_": "lth.models.lenet", "input_shape": [1, 28, 28], "classes": 10}
LENET5 = {"_target_": "lth.models.lenet5", "input_shape": [1, 28, 28], "classes": 10}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.output = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, inputs):
        return self.output(self.cells(inputs.flatten(2).squeeze(1).reshape(-1, 4, 4))[0][:, -1])


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.output = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, inputs):
        rows = inputs.reshape(-1, 4, 4)
        return self.output(self.attention(rows, rows, rows)[0].mean(1))


def separable():
    return nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 6, 1),
        nn.Flatten(), nn.Linear(96, 4),
    )  # fmt: skip


class Gated(nn.Module):
    """Images whose first pixel is above 0 go through a second layer; only they do."""

    def __init__(self, classes=4):
        super().__init__()
        self.first, self.second = nn.Linear(16, 8), nn.Linear(8, 8)
        self.output = nn.Linear(8, classes)

    def forward(self, inputs):
        hidden = self.first(inputs.flatten(1)).relu()
        on = inputs.flatten(1)[:, 0] > 0
        hidden = hidden.index_put((on.nonzero()[:, 0],), self.second(hidden[on]).relu())
        return self.output(hidden)


class Shared(nn.Module):
    """A weight that is used twice, a constant that is stored, one that is not."""

    def __init__(self, classes=4):
        super().__init__()
        self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 16)
        self.two.weight = self.one.weight
        self.output = nn.Linear(16, classes)
        self.register_buffer("kept", torch.ones(3))
        self.register_buffer("made", torch.ones(5), persistent=False)

    def forward(self, inputs):
        return self.output(self.two(self.one(inputs.flatten(1)).relu()))


def count(network, inputs):
    return macs_of(network.eval(), inputs, lambda: [inputs])


# --- multiply-adds --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "macs"),
    [(LENET | {"widths": [300, 100]}, 266_200), (LENET5, 2_293_000)],
    ids=["lenet-300-100", "lenet-5"],
)
def test_the_papers_networks_execute_what_the_papers_say(model, macs):
    assert count(draw_model(model, 0), torch.zeros(3, 1, 28, 28)).executed == macs


@pytest.mark.parametrize(
    "make",
    [separable, Recurrent, Attending, partial(Shared, 3), lambda: draw_model(NORM, 0)],
    ids=["depthwise", "lstm", "attention", "tied", "norm"],
)
def test_torch_counts_the_same(make):
    network, inputs = make().eval(), torch.randn(5, 1, 4, 4)
    found = count(network, inputs)
    with torch.no_grad(), twice_differentiable(), FlopCounterMode(display=False) as flops:
        network(inputs[:1])
    assert found.executed == found.nonzero == flops.get_total_flops() / 2 > 0


def test_a_closed_form_is_what_is_executed():
    inputs = torch.zeros(2, 1, 4, 4)
    assert count(separable(), inputs).executed == 16 * (4 + 9 * 4 + 4 * 6) + 96 * 4
    assert count(upsampler(), torch.zeros(2, 2, 5, 5)).executed == 25 * 2 * 3 * 4 + 300 * 4


@pytest.mark.parametrize("model", [MLP, NORM, LENET5], ids=["mlp", "norm", "lenet-5"])
def test_of_nonzero_weights_it_is_what_training_is_charged_for(model):
    made = ticket(model, density=0.3)
    shape = model["input_shape"]
    network = unpack(pack(made)).module(model)
    found = count(network, torch.zeros(2, *shape))
    assert found.nonzero == forward_flops(model, shape, made.mask) / 2 < found.executed
    assert found.executed == forward_flops(model, shape, None) / 2


def test_what_depends_on_the_input_is_measured_on_all_of_it():
    inputs = torch.zeros(70, 1, 4, 4)
    inputs[3:10, 0, 0, 0] = 1
    network = Gated().eval()
    found = macs_of(network, inputs[:64], lambda: inputs.split(16))
    assert found.executed == pytest.approx(16 * 8 + 8 * 4 + 64 * 7 / 70)
    with torch.no_grad():
        network.second.weight[:4] = 0
    half = macs_of(network, inputs[:64], lambda: inputs.split(16))
    assert found.executed - half.nonzero == pytest.approx(32 * 7 / 70)
    assert macs_of(network, inputs[:2], lambda: inputs.split(16)).executed == 16 * 8 + 8 * 4
    network.dynamic = True  # it says so, where the few that are looked at are all alike
    assert macs_of(network, inputs[:2], lambda: inputs.split(16)) == half


def test_fused_ways_are_taken_only_where_they_hide_nothing():
    network, inputs = Recurrent().eval(), torch.zeros(3, 1, 4, 4)
    network.dynamic = True
    one = count(Recurrent(), inputs)
    assert counted(network, [inputs], plainly=False) != one  # they would hide some here
    assert macs_of(network, inputs, lambda: [inputs]) == one


def test_counting_leaves_a_network_as_it_was():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Dropout(0.5))
    network[1].eval()
    macs_of(network, torch.zeros(2, 16), lambda: [torch.zeros(2, 16)])
    assert [m.training for m in network.modules()] == [True, True, False, True]


def test_a_weight_that_is_made_of_others_is_a_weight():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Parameter(torch.ones(4, 2)), nn.Parameter(torch.ones(2, 16))
            self.right.data[0] = 0

        def forward(self, inputs):
            return inputs.flatten(1) @ (self.left @ self.right).T

    for examples in (1, 5):  # however many run at once
        inputs = torch.ones(examples, 16)
        found = macs_of(Product(), inputs, lambda given=inputs: [given])
        assert found == (4 * 2 * 16 + 16 * 4, 4 * 2 * 16 / 2 + 16 * 4)


@pytest.mark.parametrize("on", [slice(270, 300), slice(100, 101)])
def test_a_gate_that_opens_for_some_is_seen_wherever_they_are(on):
    """For the last tenth alone, as where the data are sorted; for one image of all."""
    inputs = torch.zeros(300, 1, 4, 4)
    inputs[on, 0, 0, 0] = 1
    data = tensors("sorted", (inputs, torch.arange(300) % 4), (inputs, torch.arange(300) % 4), 30,
                   normalise=False)  # fmt: skip
    spec = {"_target_": "tests.test_budget.Gated"}
    scoring = measuring.Scoring(
        Batches(data, Streams(0, 0, 0), 10),
        Measures(as_loss(cross_entropy()), {"accuracy": accuracy()}),
    )
    found = measuring.measured(ticket(spec, density=2).net, scoring)
    share = (on.stop - on.start) / 300
    assert found.macs == pytest.approx(16 * 8 + 8 * 4 + 64 * share, rel=1e-12)


# --- one network ----------------------------------------------------------------------------------


def test_numbers_are_those_stored_and_each_once():
    made = ticket({"_target_": "tests.test_budget.Shared"}, density=2)
    found = measuring.measured(made.net)
    tied_once = 16 * 16 + 2 * 16 + 16 * 4 + 4 + 3
    network = unpack(pack(made.net)).module(made.model)
    assert sum(t.numel() for t in measuring.tensors_of(network)) == tied_once
    assert found.bytes == len(pack(made.net)) and found.macs is None and found.accuracy is None


def test_views_are_baked_before_anything_is_counted():
    views = {"scale": {"_target_": "lth.networks.views.scaled"}}
    plain, seen = ticket(MLP, density=0.5), ticket(MLP, density=0.5, views=views)
    one, other = measuring.measured(plain.net), measuring.measured(seen.net)
    assert (one.params, one.nonzeros) == (other.params, other.nonzeros) and other.params == 256


def test_a_budget_goes_through_the_records_and_back():
    found = Budget(params=10, nonzeros=3, bytes=50, macs=8.5, macs_nonzero=2.25, search_macs=1e12,
                   accuracy=0.5, validation=0.25)  # fmt: skip
    rows = [Record("s", 0, 0, 0.1, "x", 1, 0.5, *point) for point in found.points(7)]
    assert budget_of(rows) == found and all(is_budget(r) for r in rows)
    assert found.raw_bytes == 40
    light = Budget(params=10, nonzeros=3, bytes=50)
    assert budget_of([Record("s", 0, 0, 0.1, "x", 1, 0.5, *p) for p in light.points(7)]) == light
    assert budget_of(rows[3:]) is None


# --- a study --------------------------------------------------------------------------------------

METHODS = {"method": ["fine_tune"], "trials": 1, "levels": 1}


def budget_rows(study, **where):
    rows = [r for r in study.records if is_budget(r)]
    return [r for r in rows if all(getattr(r, n) == v for n, v in where.items())]


@pytest.fixture(scope="module")
def weighed_study(tmp_path_factory):
    return run_study(tmp_path_factory.mktemp("out"), **METHODS)


def test_where_there_are_methods_every_compared_member_is_weighed(weighed_study):
    study = weighed_study
    places = {(r.arm, r.level, r.phase) for r in budget_rows(study)}
    assert places == {(p.arm, p.level, p.phase) for p in study.members} and len(places) == 4
    rows = budget_rows(study, arm="fine_tune")
    names = ("params", "nonzeros", "bytes", "macs", "macs_nonzero", "search_macs", "accuracy")
    assert [(r.split, r.metric) for r in rows] == [
        *(("test", PREFIX + n) for n in names), ("validation", f"{PREFIX}accuracy"),
    ]  # fmt: skip
    assert {r.step for r in rows} == {40} and rows[0].move == "fine_tune"


def test_the_file_that_is_weighed_is_the_file_that_is_scored(weighed_study):
    study = weighed_study
    for place in study.members:
        found, entry = study.budget(**place._asdict()), study.entry(**place._asdict())
        end = {(s, m): v for step, s, m, v in entry.measured
               if step == entry.about["step"] + entry.about["steps"]}  # fmt: skip
        assert found.accuracy == end["test", "accuracy"]  # a pack loses nothing
        assert found.validation == end["validation", "accuracy"]
        assert found.bytes == len(pack(net_of(entry, study.trust)))
        assert found.macs == 16 * 10 + 10 * 4 and found.params == 214
        kept = sum(int(m.sum()) for m in entry.final_mask.values())
        assert found.macs_nonzero == kept
        own = [r for r in study.records if (r.arm, r.level, r.phase) == place[2:4] + place[5:]]
        costs = [r.value for r in own if r.metric.endswith("_flops")]
        assert len(costs) == 2 and found.search_macs == sum(costs) / 2


def test_a_pack_that_loses_something_is_scored_as_it_is(tmp_path, monkeypatch):
    def lossy(net):
        gone = {n: torch.zeros_like(p) for n, p in net.params.items()}
        return pack(Net(model=net.model, mask=net.mask, params=gone, buffers=net.buffers))

    monkeypatch.setattr(measuring, "pack", lossy)
    study = run_study(tmp_path, **METHODS)
    found = study.budget(arm="fine_tune", level=1)
    assert found.nonzeros == found.macs_nonzero == 0
    assert found.accuracy == pytest.approx(0.25) and study.budget().accuracy == pytest.approx(0.25)


def test_plain_studies_are_weighed_only_if_asked(tmp_path):
    plain = run_study(tmp_path, trials=1, levels=1)
    assert not budget_rows(plain)
    with pytest.raises(LthError, match="has not been weighed: run it again with budget=true"):
        plain.budget(level=1)
    before = [r for r in plain.records]
    asked = run_study(tmp_path, trials=1, levels=1, budget=True)
    assert asked.id == plain.id and asked.provenance["trained"] == 0
    assert [r for r in asked.records if not is_budget(r)] == before
    assert {r.arm for r in budget_rows(asked)} == {"winning_ticket", "random_reinit"}
    off = run_study(tmp_path, trials=1, levels=1)  # takes nothing away
    assert off.records == asked.records
    assert not budget_rows(run_study(tmp_path / "other", **METHODS, budget=False))


def test_levels_that_only_lead_to_others_are_not_weighed(tmp_path):
    study = run_study(tmp_path, trials=1, levels=[2], budget=True)
    assert {r.level for r in study.records} == {0, 1, 2}
    assert {r.level for r in budget_rows(study)} == {0, 2}


def test_nothing_is_measured_twice_and_nothing_damaged_is_believed(tmp_path, monkeypatch):
    study = run_study(tmp_path, **METHODS)
    before = (study.folder / "records.csv").read_bytes()
    called = []
    real = measuring.measured

    def counted(*given):
        called.append(given)
        return real(*given)

    key = weighing.budget_key("x")
    monkeypatch.setattr("lth.study.budgets.budget_key", lambda *_: key)
    monkeypatch.setattr(weighing, "measured", counted)
    run_study(tmp_path, **METHODS)
    assert len(called) == 4  # under another key
    run_study(tmp_path, **METHODS)
    assert len(called) == 4
    files = sorted((tmp_path / "store").glob(f"members/*/*/{NAME}"))
    assert len(files) == 4
    content = json.loads(files[0].read_text())
    content["budget"]["bytes"] = 1
    files[0].write_text(json.dumps(content))
    files[1].write_bytes(files[1].read_bytes()[:40])
    files[2].unlink()
    again = run_study(tmp_path, **METHODS)
    assert len(called) == 7 and again.provenance["trained"] == 0
    assert (study.folder / "records.csv").read_bytes() == before


def test_the_code_that_measures_is_part_of_the_key(monkeypatch):
    before = weighing.budget_key("data")
    assert before == weighing.budget_key("data") != weighing.budget_key("other")

    def other(net):
        return b"other"

    monkeypatch.setattr(measuring, "pack", other)
    assert weighing.budget_key("data") != before


def test_a_network_that_cannot_be_weighed_costs_one_line(tmp_path, monkeypatch):
    def fails(net):
        raise ValueError("no such\nthing")

    monkeypatch.setattr(measuring, "pack", fails)
    said = Console(record=True, width=200)
    setup = setup_of(tmp_path, **METHODS)
    journal = execute(setup, Display(said))
    text = said.export_text()
    assert text.count("fine_tune: its budget is left out (ValueError: no such") == 1
    assert not any(is_budget(r) for r in journal.records) and len(journal.held.rows) == 4


def test_workers_measure_too(tmp_path, monkeypatch):
    """What is measured here fails, so what is recorded the workers have measured."""
    key = weighing.budget_key("x")
    monkeypatch.setattr("lth.study.budgets.budget_key", lambda *_: key)
    monkeypatch.setattr(weighing, "measured", None)
    settings = METHODS | {"trials": 3, "trainer": {"workers": 1, "device": "cpu"}}
    study = run_study(tmp_path, **settings)
    assert len({(r.trial, r.arm, r.level) for r in budget_rows(study)}) == 12


def test_what_is_judged_is_what_is_scored(tmp_path):
    study = run_study(
        tmp_path, **METHODS, data={"_target_": "tests.test_budget.line"},
        model=partial(outputs_of, width=5), recipe={"loss": {"_target_": "lth.recipe.loss.mse"},
        "steps": 10, "batch": 10, "eval_every": 5},
    )  # fmt: skip
    found = study.budget(arm="fine_tune", level=1)
    assert found.measure == "mse" and found.accuracy > 0
    assert {r.metric for r in budget_rows(study, split="validation")} == {f"{PREFIX}mse"}


def line():
    inputs = torch.randn(80, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    pair = inputs, inputs.flatten(1)[:, :3].contiguous()
    return tensors("line", pair, pair, 20, classes=0)


def outputs_of(input_shape, outputs, width):
    return mlp(input_shape, outputs, width)


class Lined(tasks.Line):
    """With numbers that its state dict leaves out."""

    def __init__(self):
        super().__init__()
        self.register_buffer("grid", torch.ones(7), persistent=False)


def test_of_a_task_there_is_what_needs_no_running(tmp_path):
    study = lth.run(
        task={"module": Lined, "data": tasks.Points, "monitor": "val_loss"}, trials=1,
        trainer={"max_epochs": 1}, levels=1, out=str(tmp_path), logger="none", progress=False,
        rewind="to_init", budget=True,
    )  # fmt: skip
    found = study.budget(level=1)
    assert found.params == 4 * 8 + 8 + 8 + 1 > found.nonzeros > 0 < found.bytes
    assert found.macs is None and found.accuracy is None
    assert all(r.metric != f"{PREFIX}accuracy" for r in study.records)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"budget": "yes"}, "budget='yes': whether what networks cost is measured"),
        ({"axis": "bytes"}, "axis: for action=compare alone"),
        ({"budgets": [1]}, "budgets: for action=compare alone"),
    ],
)
def test_bad_settings_are_one_line(tmp_path, settings, said):
    with pytest.raises(LthError, match=said):
        setup_of(tmp_path, **settings)


def test_no_measure_is_called_budget(tmp_path):
    measures = {"budget": {"_target_": "lth.recipe.measures.accuracy"}}
    with pytest.raises(LthError, match="'budget' cannot be a measure's name"):
        run_study(tmp_path, recipe={"measures": measures})
