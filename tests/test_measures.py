"""Losses and measures: of outputs and a batch, by name, of classes, numbers, tokens and exits."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

import lth
from lth import LthError, config
from lth.data import Dataset, tensors
from lth.measured import Measured, measured_of
from lth.networks.ticket import draw_model
from lth.recipe import loss as losses
from lth.recipe import measures
from lth.recipe.adapt import as_loss
from lth.recipe.evaluation import Measures
from lth.store.entry import StoredMember
from lth.store.store import Store
from lth.train.batches import Batches
from lth.train.evaluate import measure
from lth.train.pool import Pool
from lth.train.stacked import group_alike
from lth.train.work import Stopped
from lth.types import Batch
from tests import laws
from tests.toys import (
    DATA,
    DROPOUT,
    MLP,
    OPTIMIZERS,
    blobs,
    changed,
    job,
    recipe,
    ticket,
    train,
    train_member,
    train_stacked,
)  # fmt: skip
from tests.toys import same_entries as same

HERE = "tests.test_measures"
M = "lth.recipe.measures"
ACCURACY = {"_target_": f"{M}.accuracy"}


# models and data of other kinds


class Exits(nn.Module):
    """Two exits: ``outputs`` is a tuple, or a dict by name."""

    def __init__(self, classes: int = 4, named: bool = False) -> None:
        super().__init__()
        self.first, self.exit1 = nn.Linear(16, 10), nn.Linear(10, classes)
        self.second, self.exit2 = nn.Linear(10, 10), nn.Linear(10, classes)
        self.named = named

    def forward(self, x):
        hidden = self.first(x.flatten(1)).relu()
        found = self.exit1(hidden), self.exit2(self.second(hidden).relu())
        return {"early": found[0], "late": found[1]} if self.named else found


class Tagger(nn.Module):
    """A class for every token: [B, T] -> [B, T, K]."""

    def __init__(self, classes: int, width: int = 6) -> None:
        super().__init__()
        self.embedding, self.output = nn.Embedding(classes, width), nn.Linear(width, classes)

    def forward(self, x):
        return self.output(self.embedding(x))


def regressor(input_shape, outputs: int) -> nn.Module:
    size = math.prod(input_shape)
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 9), nn.ReLU(), nn.Linear(9, outputs))


def slopes(values: int = 1) -> Dataset:
    """Numbers that follow from the inputs, and a little noise."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(120, 5, generator=generator)
    y = x[:, : max(values, 1)].sum(1, keepdim=True).repeat(1, values) * 0.5
    y = y + 0.1 * torch.randn(y.shape, generator=generator)
    y = y[:, 0] if values == 1 else y
    return tensors("slopes", (x[:90], y[:90]), (x[90:], y[90:]), 20, classes=0)


def sentences() -> Dataset:
    """The next token is the present one and one more, of seven."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(0, 7, (90, 5), generator=generator)
    y = (x + 1) % 7
    return tensors("sentences", (x[:70], y[:70]), (x[70:], y[70:]), 15, classes=7)


def inputs_too():
    """A loss of one's own that looks at the inputs, the rows and the step."""

    def loss(outputs, batch):
        assert batch.inputs.shape[0] == len(outputs) == len(batch.rows)
        assert batch.step is None or batch.step >= 0
        return F.cross_entropy(outputs, batch.targets) + 0 * batch.inputs.mean()

    return loss


def kept_at_zero():
    """A measure that is worse the longer a member trains."""

    def worse(outputs, batch):
        return outputs.abs().sum() / outputs.shape[1]

    return worse


# how losses are called


def called(how):
    return as_loss(how)(torch.tensor([[2.0, 0.0]]), Batch(torch.ones(1, 3), torch.tensor([0])))


def test_a_loss_is_called_as_it_is_written():
    plain = F.cross_entropy(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))

    def of_batch(outputs, batch):
        return F.cross_entropy(outputs, batch.targets) * batch.inputs.sum()

    def annotated(z, b: Batch):
        return F.cross_entropy(z, b.targets)

    def more(z, y, weight=2.0):
        return weight * F.cross_entropy(z, y)

    assert called(nn.CrossEntropyLoss()) == called(losses.cross_entropy()) == plain
    assert called(lambda z, y: F.cross_entropy(z, y)) == called(annotated) == plain
    assert called(of_batch) == 3 * plain and called(more) == 2 * plain


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda outputs: outputs, r"takes \(outputs\); a loss takes \(outputs, batch\)"),
        (lambda z, y, w: z, r"takes \(z, y, w\)"),
        (3, "it gave no loss"),
    ],
)
def test_what_cannot_be_called_is_refused(how, words):
    with pytest.raises(LthError, match=words):
        as_loss(how)


# measures, by hand


def value(made, outputs, targets):
    found = Measures(lambda *_: torch.zeros(()), {"m": made})
    sums = found(outputs, Batch(torch.zeros(len(targets)), targets))
    return found.values({n: (float(a), float(b)) for n, (a, b) in sums.items()})


def test_accuracy_and_top_k():
    z = torch.tensor([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 0.0, 2.0]])
    y = torch.tensor([0, 2, 1])
    assert value(measures.accuracy(), z, y)["m"] == pytest.approx(1 / 3)
    assert value(measures.top_k(2), z, y)["m"] == pytest.approx(2 / 3)
    assert value(measures.top_k(9), z, y)["m"] == 1


def test_errors_of_numbers():
    z, y = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [1.0, -3.0]])
    assert value(measures.mse(), z, y)["m"] == pytest.approx((2.5 + 5) / 2)
    assert value(measures.mae(), z, y)["m"] == pytest.approx((1.5 + 2) / 2)
    assert losses.mse()(z, y).item() == pytest.approx(3.75)


def test_tokens_and_perplexity():
    z = torch.log(torch.tensor([[[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]], [[0.1, 0.1, 0.8], [1, 1, 1]]]))
    y = torch.tensor([[0, 2], [2, -1]])
    assert value(measures.tokens(ignore=-1), z, y)["m"] == pytest.approx(2 / 3)
    expected = math.exp(-(math.log(0.7) + math.log(0.3) + math.log(0.8)) / 3)
    assert value(measures.perplexity(ignore=-1), z, y)["m"] == pytest.approx(expected)
    y[1, 1] = 0
    assert value(measures.accuracy(), z, y)["m"] == pytest.approx(3 / 4)
    assert value(measures.of_loss(losses.cross_entropy()), z, y)["m"] == pytest.approx(
        losses.cross_entropy()(z, y).item()
    )


def test_a_measure_of_every_output():
    z = torch.tensor([[3.0, 2.0], [0.0, 1.0]]), torch.tensor([[0.0, 2.0], [0.0, 1.0]])
    y = torch.tensor([0, 1])
    made = measures.per_output(measures.accuracy())
    assert value(made, z, y) == {"loss": 0, "m/exit1": 1, "m/exit2": 0.5}
    assert value(
        made,
        dict(
            zip("ab", z, strict=True),
        ),
        y,
    ) == {"loss": 0, "m/a": 1, "m/b": 0.5}
    named = measures.per_output(measures.accuracy(), names=["x", "y"])
    assert set(value(named, z, y)) == {"loss", "m/x", "m/y"}
    total = losses.per_output(losses.cross_entropy(), [1.0, 0.5])
    expected = F.cross_entropy(z[0], y) + 0.5 * F.cross_entropy(z[1], y)
    assert total(z, Batch(y, y)).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("made", "outputs", "targets", "words"),
    [
        (measures.accuracy(), torch.ones(2, 3), torch.ones(2, 3), "targets are numbers"),
        (measures.mse(), torch.ones(2, 3), torch.tensor([0, 1]), "targets are classes"),
        (measures.mse(), torch.ones(2, 3), torch.ones(2, 1), r"outputs \[2, 3\], targets \[2, 1\]"),
        (measures.accuracy(), (torch.ones(2, 3),) * 2, torch.tensor([0, 1]), "per_output"),
        (measures.per_output(measures.accuracy()), 1.5, torch.tensor([0, 1]),
         "gives a float, not several"),
        (measures.per_output(measures.accuracy(), ["a"]), (torch.ones(2, 3),) * 2,
         torch.tensor([0, 1]), "the model gives 2 outputs"),
    ],
)  # fmt: skip
def test_a_measure_that_does_not_fit_is_refused_by_name(made, outputs, targets, words):
    with pytest.raises(LthError, match=rf"recipe\.measures\.m: .*{words}"):
        value(made, outputs, targets)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"monitor": "f1"}, "recipe.monitor=f1: it is one of loss, accuracy"),
        ({"mode": "least"}, "recipe.mode=least"),
        ({"measures": {}}, "recipe.measures="),
        ({"measures": {"a/b": ACCURACY}}, "'a/b' cannot be a measure's name"),
        ({"measures": {"search_flops": ACCURACY}}, "cannot be a measure's name"),
        ({"measures": {"x": {"_target_": "fractions.Fraction"}}}, "measures.x: .*no measure"),
        ({"measures": {"x": {"_target_": f"{M}.top_k", "k": 0}}}, "top_k: k=0"),
        ({"loss": {"_target_": "lth.recipe.loss.distillation", "temperature": 0}}, "temperature=0"),
    ],
)
def test_a_recipe_says_what_is_wrong_with_its_measures(change, words):
    with pytest.raises(LthError, match=words):
        recipe(**change)


def test_what_is_judged_is_the_first_measure():
    assert measured_of({"recipe": {}}) == Measured()
    found = measured_of({"recipe": {"measures": {"top5": {"_target_": f"{M}.top_k"}}}})
    assert found == Measured("top5", True, "loss")
    numbers = {"recipe": {"measures": {"mae": {"_target_": f"{M}.mae"}}, "monitor": "mae"}}
    assert measured_of(numbers) == Measured("mae", False, "mae")


# trained


def test_the_default_measures_are_loss_and_accuracy_as_ever(tmp_path):
    entry = train_member(ticket(), tmp_path)
    assert [m for s, p, m, _ in entry.curve if (s, p) == (0, "validation")] == ["loss", "accuracy"]
    assert {m for _, _, m, _ in entry.measured} == {"early_stop_step", "accuracy", "loss"}


SEVERAL = {"accuracy": ACCURACY, "top2": {"_target_": f"{M}.top_k", "k": 2},
           "smooth": {"_target_": f"{M}.of_loss",
                      "loss": {"_target_": "lth.recipe.loss.cross_entropy",
                               "label_smoothing": 0.1}}}  # fmt: skip


def test_several_measures_by_name_alone_and_stacked(tmp_path):
    jobs = [job(trial=t, recipe=recipe(measures=SEVERAL)) for t in range(2)]
    turn, stacked = train(jobs, tmp_path / "a"), train_stacked(jobs, tmp_path / "b")
    for mine, other in zip(turn, stacked, strict=True):
        assert [p[:3] for p in mine.measured] == [p[:3] for p in other.measured]
        for a, b in zip(mine.curve, other.curve, strict=True):
            assert a[:3] == b[:3] and a[3] == pytest.approx(b[3], abs=2e-3)
        at_end = {m: v for s, p, m, v in mine.curve if (s, p) == (30, "validation")}
        assert list(at_end) == ["loss", *SEVERAL]
        assert at_end["top2"] >= at_end["accuracy"]
    plain = train_member(ticket(trial=1), tmp_path / "c", trial=1)
    values = {p[:3]: p[3] for p in turn[1].curve}
    assert all(values[p[:3]] == p[3] for p in plain.curve)  # what else is measured changes nothing


@pytest.mark.parametrize(
    ("monitor", "mode", "best"),
    [("accuracy", None, max), ("worse", None, min), ("worse", "max", max), ("loss", None, min)],
)
def test_early_stop_goes_by_what_is_monitored(monitor, mode, best, tmp_path):
    named = {"accuracy": ACCURACY, "worse": {"_target_": f"{HERE}.kept_at_zero"}}
    rule = recipe(measures=named, monitor=monitor, mode=mode, steps=40, eval_every=5, lr=0.05)
    made = job(recipe=rule, lr=0.05)
    for entry in (train_member(made, tmp_path / "a"), *train_stacked([made], tmp_path / "b")):
        curve = {s: v for s, p, m, v in entry.curve if (p, m) == ("validation", monitor)}
        first = min((s for s, v in curve.items() if v == best(curve.values())))
        assert entry.measured[0] == (first, "validation", "early_stop_step", first)
    if mode == "max":
        assert entry.measured[0][0] > 0


def test_what_is_measured_and_monitored_is_part_of_a_member():
    keys = [job(recipe=recipe(**change)).key for change in (
        {}, {"measures": SEVERAL}, {"monitor": "accuracy"}, {"monitor": "accuracy", "mode": "min"},
    )]  # fmt: skip
    assert len(set(keys)) == 4
    assert keys[0] == job(recipe=recipe(measures={"accuracy": ACCURACY}, mode="min")).key


def test_a_measure_that_is_no_number_is_told_by_name(tmp_path):
    rule = recipe(measures={"odd": {"_target_": f"{HERE}.no_number"}})
    with pytest.raises(LthError, match=r"recipe\.measures\.odd: it gives nan"):
        train_member(ticket(), tmp_path, recipe=rule)


def no_number():
    return lambda outputs, batch: outputs.sum() * float("nan")


@pytest.mark.parametrize("named", [False, True])
def test_networks_of_two_exits(named, tmp_path):
    exits = {"_target_": f"{HERE}.Exits", "named": named}
    rule = recipe(
        loss={"_target_": "lth.recipe.loss.per_output",
              "of": {"_target_": "lth.recipe.loss.cross_entropy"}},
        measures={"accuracy": {"_target_": f"{M}.per_output", "of": ACCURACY}},
        monitor="accuracy/late" if named else "accuracy/exit2",
    )  # fmt: skip
    jobs = [job(exits, trial=t, recipe=rule) for t in range(2)]
    turn, stacked = train(jobs, tmp_path / "a"), train_stacked(jobs, tmp_path / "b")
    names = ("early", "late") if named else ("exit1", "exit2")
    for mine, other in zip(turn, stacked, strict=True):
        metrics = [m for s, p, m, _ in mine.curve if (s, p) == (30, "validation")]
        assert metrics == ["loss", *(f"accuracy/{n}" for n in names)]
        assert [p[:3] for p in mine.curve] == [p[:3] for p in other.curve]


def test_a_loss_of_the_whole_batch(tmp_path):
    rule = recipe(loss={"_target_": f"{HERE}.inputs_too"})
    jobs = [job(trial=t, recipe=rule) for t in range(2)]
    plain = [train_member(ticket(trial=t), tmp_path / "p", trial=t) for t in range(2)]
    for mine, other in zip(train(jobs, tmp_path / "a"), plain, strict=True):
        assert same(mine, other)
    train_stacked(jobs, tmp_path / "b")


# regression and sequences


def study(tmp_path, **settings):
    given = {"out": str(tmp_path), "name": "kind", "levels": 1, "trials": 1,
             "rewind": "to_init", "arms": ["winning_ticket"]}  # fmt: skip
    return laws.run(**given | settings)[0]


MSE = {"_target_": "lth.recipe.loss.mse"}
SHORT = {"steps": 40, "batch": 20, "lr": 0.01, "eval_every": 10,
         "optimizer": config.load("recipe/optimizer", "adam"),
         "schedule": config.load("recipe/schedule", "constant")}  # fmt: skip


@pytest.mark.parametrize("values", [1, 3])
def test_a_regression_is_a_study(values, tmp_path):
    data = {"_target_": f"{HERE}.slopes", "values": values}
    found = study(tmp_path, data=data, model=regressor, recipe=SHORT | {"loss": MSE})
    assert found.config["model"]["outputs"] == values
    rows = [r for r in found.records if (r.level, r.split, r.metric) == (0, "test", "mse")]
    curve = [r.value for r in found.curves if (r.split, r.metric) == ("validation", "mse")]
    assert rows and min(curve) < curve[0]
    assert not any(r.metric == "accuracy" for r in found.records)
    network, set_ = found.network(level=0), slopes(values)
    error = F.mse_loss(network(set_.prepare(set_.test_inputs)), set_.test_targets).item()
    assert rows[-1].value == pytest.approx(error, rel=1e-4)


def test_a_regression_stops_early_by_its_own_measure_and_not_by_accuracy(tmp_path):
    data = {"_target_": f"{HERE}.slopes", "values": 1}
    given = {"data": data, "model": regressor}
    rule = SHORT | {"loss": MSE, "monitor": "mse"}
    found = study(tmp_path, **given, recipe=rule)
    assert any(r.metric == "early_stop_step" for r in found.records)
    kinds = ((data, "accuracy", "loss, mse"), (DATA, "mse", "loss, accuracy"))
    for of, monitor, known in kinds:
        loss = {"loss": MSE} if known.endswith("mse") else {}
        model = regressor if loss else MLP
        with pytest.raises(LthError, match=f"recipe.monitor={monitor}: it is one of {known}"):
            study(tmp_path, data=of, model=model, recipe=SHORT | loss | {"monitor": monitor})


def test_a_sequence_study_has_a_class_for_every_token(tmp_path):
    named = {"tokens": {"_target_": f"{M}.tokens"}, "perplexity": {"_target_": f"{M}.perplexity"}}
    found = study(
        tmp_path,
        data=sentences,
        model=Tagger,
        recipe=SHORT | {"measures": named, "steps": 60, "lr": 0.05, "monitor": "perplexity"},
    )
    at_end = {r.metric: r.value for r in found.records if (r.level, r.split) == (0, "test")}
    assert at_end["tokens"] > 0.6
    assert at_end["perplexity"] == pytest.approx(math.exp(at_end["loss"]), rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data": slopes, "model": regressor}, "targets are numbers, not classes"),
        ({"data": slopes, "model": regressor, "recipe": {"loss": MSE, "measures": {
            "accuracy": ACCURACY}}}, "recipe.measures.accuracy: .*targets are numbers"),
        ({"recipe": {"loss": MSE}}, "targets are classes, not numbers"),
        ({"recipe": {"measures": {"mse": {"_target_": f"{M}.mse"}}}}, "measure accuracy"),
        ({"data": slopes, "model": {"_target_": f"{HERE}.regressor", "outputs": 3},
          "recipe": {"loss": MSE}}, r"two examples give (\(2, 3\)), not (\(2, 1\))"),
        ({"data": slopes, "model": "lenet", "recipe": {"loss": MSE}}, "say model.classes=1, or"),
        ({"model": Exits}, r"two examples give a tuple"),
        ({"recipe": {"monitor": "accuracy/exit1"}}, "recipe.monitor=accuracy/exit1: it is one of"),
        ({"recipe": {"loss": {"_target_": "lth.recipe.loss.distillation"}}}, "needs a teacher"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_before_work(settings, words, tmp_path):
    rule = SHORT | settings.get("recipe", {})
    with pytest.raises(LthError, match=words) as refused:
        study(tmp_path, **settings | {"recipe": rule})
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "store" / "members").exists()


# teachers

DISTIL = {"_target_": "lth.recipe.loss.distillation", "temperature": 2.0, "soft_weight": 0.7}


def test_distillation_by_hand():
    z, t, y = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]]), torch.tensor([0])
    p = torch.softmax(t / 2, -1)[0]
    q = torch.softmax(z / 2, -1)[0]
    soft = sum(float(a * (a.log() - b.log())) for a, b in zip(p, q, strict=True))
    hard = F.cross_entropy(z, y).item()
    found = losses.distillation(2.0, 0.7)(z, Batch(z, y, teacher=t)).item()
    assert found == pytest.approx(0.3 * hard + 0.7 * 4 * soft, rel=1e-5)


def test_distillation_of_numbers_is_refused_in_words():
    numbers = torch.rand(3, 1)
    with pytest.raises(LthError, match="the targets are numbers, and distillation is of classes"):
        losses.distillation()(numbers, Batch(numbers, numbers, teacher=numbers))


def test_a_student_that_equals_its_teacher_has_loss_and_gradient_zero():
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    batch = Batch(z, torch.zeros(5, dtype=torch.long), teacher=z.detach().clone())
    loss = losses.distillation(3.0, 1.0)(z, batch)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-7)
    torch.testing.assert_close(z.grad, torch.zeros_like(z), atol=1e-7, rtol=0)


def taught_jobs(root, model=MLP):
    teachers = [train_member(ticket(trial=t + 5, density=1.1), root) for t in range(2)]
    keys = [t.folder.name for t in teachers]
    changes = {"loss": DISTIL}
    jobs = [job(model, trial=t, recipe=recipe(loss=DISTIL), measure={
        "_target_": "lth.recipe.loss.cross_entropy"}) for t in range(2)]  # fmt: skip
    return [changed(j, teacher=k, changes=changes) for j, k in zip(jobs, keys, strict=True)]


def test_students_learn_from_a_stored_member_alone_and_stacked(tmp_path):
    jobs = taught_jobs(tmp_path)
    assert len(group_alike(jobs)) == 1  # cohorts stay whole
    turn = train(jobs, tmp_path)
    for made in jobs:
        Store(tmp_path).folder(made.key).rename(tmp_path / made.key)
    stacked = train_stacked(jobs, tmp_path)
    plain = train(
        [changed(replace(j, recipe=recipe()), teacher=None, changes={}) for j in jobs], tmp_path
    )
    for mine, other, without in zip(turn, stacked, plain, strict=True):
        for key, each in mine.final.params.items():
            torch.testing.assert_close(each, other.final.params[key], rtol=1e-3, atol=1e-4)
        assert not torch.equal(mine.final.params["1.weight"], without.final.params["1.weight"])
        at = {m: v for s, p, m, v in mine.curve if (s, p) == (0, "validation")}
        assert at == {m: v for s, p, m, v in without.curve if (s, p) == (0, "validation")}


def test_a_student_is_that_of_a_bare_loop(tmp_path):
    made = taught_jobs(tmp_path)[0]
    entry = train_member(made, tmp_path)
    teacher = Store(tmp_path).get(made.ticket.teacher).final
    model, leaves = draw_model(MLP, 0), {
        n: p.clone().requires_grad_() for n, p in made.ticket.start.params.items()
    }  # fmt: skip
    optimizer = torch.optim.Adam(leaves.values(), lr=0.01, fused=True)
    loss = losses.distillation(2.0, 0.7)
    batches = Batches(blobs(), made.streams, 16)
    for step, rows in enumerate(batches.indices(0, 30)):
        x, y = batches.take(rows, step)[:2]
        with torch.no_grad():
            t = functional_call(model, teacher.params, (x,))
        loss(functional_call(model, leaves, (x,)), Batch(x, y, teacher=t)).backward()
        for name, mask in made.ticket.mask.items():
            leaves[name].grad *= mask
        optimizer.step()
        optimizer.zero_grad()
    for name, leaf in leaves.items():
        torch.testing.assert_close(entry.final.params[name], leaf.detach(), rtol=1e-5, atol=1e-7)


def test_a_teacher_is_part_of_what_determines_a_member_and_must_be_there(tmp_path):
    first, second = taught_jobs(tmp_path)
    assert first.key != changed(first, teacher=second.ticket.teacher).key
    with pytest.raises(LthError, match=r"teacher 0{12}: that member is not in the store"):
        train([changed(first, teacher="0" * 64)], tmp_path)
    with pytest.raises(LthError, match="teacher=x cannot be"):
        ticket(teacher="x")
    with pytest.raises(LthError, match="needs a teacher"):
        train([changed(first, teacher=None)], tmp_path)


def test_a_taught_member_goes_on_bit_for_bit_and_in_company(tmp_path):
    jobs, calls = taught_jobs(tmp_path, DROPOUT), []
    whole = train(jobs, tmp_path)
    for made in jobs:
        Store(tmp_path).folder(made.key).rename(tmp_path / made.key)
    with pytest.raises(Stopped):
        train(jobs[:1], tmp_path, stop=lambda: bool(calls) or calls.append(1))
    assert Store(tmp_path).get_partial(jobs[0].key)
    resumed = train(jobs[:1], tmp_path)[0]
    first = StoredMember(tmp_path / jobs[0].key, whole[0].about)
    assert same(first, resumed)


def test_a_taught_and_viewed_member_is_the_same_in_a_worker_process(tmp_path):
    made = taught_jobs(tmp_path)[0]
    made = changed(made, views={"scale": {"_target_": "lth.networks.views.scaled"}})
    here = train([made], tmp_path)[0]
    Store(tmp_path).folder(made.key).rename(tmp_path / made.key)
    pool = Pool(1, DATA, tmp_path, "32")
    try:
        pool.run([made], lambda *_: None)
    finally:
        pool.close()
    assert same(StoredMember(tmp_path / made.key, here.about), Store(tmp_path).get(made.key))


def test_measuring_a_network_by_hand(tmp_path):
    made = job()
    entry = train_member(made, tmp_path)
    network = replace(made.ticket, params=entry.final.params).module().eval()
    data = blobs()
    found = measure(network, recipe().evaluator(), data, (data.test_inputs, data.test_targets))
    assert set(found) == {"loss", "accuracy"}
    values = {(s, p, m): v for s, p, m, v in entry.measured}
    early = values.get((30, "test", "accuracy"))
    assert early is None or early == found["accuracy"]


def test_every_optimizer_teaches(tmp_path):
    made = taught_jobs(tmp_path)[0]
    for name in OPTIMIZERS:
        rule = recipe(loss=DISTIL, steps=6, optimizer=config.load("recipe/optimizer", name))
        entry = train_member(made, tmp_path, recipe=rule)
        for weight, mask in made.ticket.mask.items():
            assert bool((entry.final.params[weight][~mask] == 0).all())


def test_data_that_are_numbers_are_told_from_classes():
    found = slopes(3)
    assert (found.classes, found.outputs) == (0, 3) and found.train_targets.dtype == torch.float32
    assert slopes().train_targets.shape == (90, 1) and "1 numbers to predict" in repr(slopes())
    with pytest.raises(LthError, match="for regression say classes=0"):
        tensors("t", (torch.rand(9, 2), torch.rand(9)), (torch.rand(9, 2), torch.rand(9)), 2)
    with pytest.raises(LthError, match=r"train_targets\[2\] holds what is no finite number"):
        y = torch.ones(9)
        y[2] = math.inf
        tensors("t", (torch.rand(9, 2), y), (torch.rand(9, 2), y), 2, classes=0)
    assert lth.data.tensors is tensors and DATA
