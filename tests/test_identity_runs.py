"""Law 10, run in earnest: two settings that once shared a result (or would not, and should)."""

import dataclasses
import importlib
import sys
from functools import partial

import pytest
import torch
from torch import nn

import lth
from lth.config import compose
from lth.study.explain import explain
from lth.study.setup import prepare
from tests.toys import blobs, run_study

RECIPE = {"steps": 40, "batch": 20, "lr": 0.02, "eval_every": 20}
BASE = {"recipe": RECIPE, "trials": 1, "levels": 0, "rewind": "to_init", "logger": "none",
        "arms": ["winning_ticket"], "trainer": {"workers": 0}}  # fmt: skip


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Write modules of a user's, import them anew, and forget them at the end."""
    names = set()

    def write(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.py").write_text(text)
            names.add(name)
        for name in names:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield write
    for name in names:
        sys.modules.pop(name, None)


def run(tmp_path, **changes):
    study = run_study(**BASE | {"out": tmp_path / "out", "data": blobs} | changes)
    return study, (study.provenance["trained"], study.provenance["reused"])


def accuracy(study, split="test"):
    (found,) = {
        r.value for r in study.records if r.split == split and r.metric == "accuracy"
        and r.step == RECIPE["steps"]
    }  # fmt: skip
    return found


def net(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, classes))


def flipped(turn=0):
    data = blobs()
    return dataclasses.replace(data, train_targets=(data.train_targets + turn) % 4)


def test_a_changed_copy_of_a_data_set_is_another_data_set(tmp_path):
    right, first = run(tmp_path, data=flipped, model=net)
    wrong, second = run(tmp_path, data=partial(flipped, turn=1), model=net)
    assert first == second == (1, 0)
    assert accuracy(right) > 0.9 and accuracy(wrong) < 0.3
    assert right.folder != wrong.folder


class Fade:
    """An augmentation of a plain class, whose repr would be its address."""

    def __init__(self, strength):
        self.strength = strength

    def draw(self, batch, generator):
        return torch.randint(0, 2, (batch,), generator=generator)

    def __call__(self, inputs, draws):
        return inputs if self.strength == 0 else inputs * 0


def faded(strength):
    return dataclasses.replace(blobs(), augment=Fade(strength))


def test_the_strength_of_an_augmentation_counts_and_its_address_does_not(tmp_path):
    mild, first = run(tmp_path, data=partial(faded, strength=0), model=net)
    again, second = run(tmp_path, data=partial(faded, strength=0), model=net)
    blind, third = run(tmp_path, data=partial(faded, strength=1), model=net)
    assert (first, second, third) == ((1, 0), (0, 1), (1, 0))
    assert accuracy(mild) == accuracy(again) > 0.9 and accuracy(blind) < 0.6


BODY = "class Body(nn.Module):\n    def forward(self, x):\n        return self.head({})\n"
HEAD = (
    "from torch import nn\nfrom a_base import Body\nclass Net(Body):\n"
    "    def __init__(self, classes):\n        super().__init__()\n"
    "        self.head = nn.Linear(16, classes)\n"
)


def test_the_forward_pass_of_a_base_class_in_another_file_counts(tmp_path, modules):
    modules(a_base="from torch import nn\n" + BODY.format("x.flatten(1)"), a_net=HEAD)
    seeing, first = run(tmp_path, model={"_target_": "a_net.Net"})
    modules(a_base="from torch import nn\n" + BODY.format("x.flatten(1) * 0"), a_net=HEAD)
    blind, second = run(tmp_path, model={"_target_": "a_net.Net"})
    assert first == second == (1, 0)
    assert accuracy(seeing) > 0.8 and accuracy(blind) < 0.5


def test_a_file_edited_while_its_old_code_runs_stops_the_work(tmp_path, modules):
    text = "from torch import nn\n" + BODY.format("x.flatten(1)")
    modules(a_base=text, a_net=HEAD)
    model = {"_target_": "a_net.Net"}
    run(tmp_path, model=model)
    (tmp_path / "a_base.py").write_text(text.replace("flatten(1)", "flatten(1) * 0"))
    with pytest.raises(lth.LthError, match=r"a_base\.py: it was edited after it was imported"):
        run(tmp_path, model=model)
    modules(a_base=(tmp_path / "a_base.py").read_text(), a_net=HEAD)
    assert run(tmp_path, model=model)[1] == (1, 0)  # and no result of the old code is its result


def test_a_model_redefined_wider_in_one_process_is_another_model(tmp_path, modules):
    text = "from torch import nn\ndef net(classes):\n    return nn.Sequential(nn.Flatten(), {})\n"
    layers = "nn.Linear(16, {0}), nn.ReLU(), nn.Linear({0}, classes)"
    seen = []
    for width in (5, 8):
        modules(a_net=text.format(layers.format(width)))
        study, count = run(
            tmp_path, model={"_target_": "a_net.net"}, levels=1,
            arms=["winning_ticket", "random_mask", "rigl", "supermask"],
        )  # fmt: skip
        assert count == (5, 0)
        seen.append({n: tuple(m.shape) for n, m in study.ticket(level=1).mask.items()})
    assert seen[0] != seen[1]


UNSEEDED = """
import torch
from lth.data import tensors
from tests.toys import blobs
def make(seeded):
    data = blobs()
    order = torch.randperm(200) if not seeded else torch.arange(200)
    return tensors("own", (data.train_inputs[order], data.train_targets[order]),
                   (data.test_inputs, data.test_targets), 40)
"""


def test_a_worker_that_builds_another_data_set_trains_nothing_on_it(tmp_path, modules):
    modules(a_data=UNSEEDED)
    data = {"_target_": "a_data.make", "seeded": False}
    with pytest.raises(lth.LthError, match=r"data=a_data\.make: a worker process built it other"):
        run(tmp_path, data=data, model=net, trainer={"workers": 1})
    assert not list((tmp_path / "out").rglob("entry.json"))
    assert run(tmp_path, data=data | {"seeded": True}, model=net, trainer={"workers": 1})[1][0] == 1


def test_a_full_mask_is_the_same_whatever_it_names(tmp_path):
    settings = {"model": net, "levels": 1}
    assert run(tmp_path, **settings)[1] == (2, 0)
    rule = {"_target_": "lth.pruning.rules.globally", "spare": ["output"]}
    spared, count = run(tmp_path, prune=rule, **settings)
    assert count == (1, 1)  # the dense run is shared
    assert list(spared.ticket(level=1).mask) == ["1.weight"]
    assert list(spared.ticket(level=0).mask) == ["1.weight"]
    kept = int(spared.ticket(level=1).mask["1.weight"].sum())
    assert kept == 16 * 12 - round(0.2 * 16 * 12)


def other_loss():
    def arm(winner, generator):
        loss = {"_target_": "lth.recipe.loss.cross_entropy", "label_smoothing": 0.5}
        return dataclasses.replace(winner, changes={"loss": loss})

    return arm


def test_an_arm_that_trains_another_loss_is_measured_like_its_neighbours(tmp_path):
    study, _ = run(tmp_path, model=net, levels=1, arms=["winning_ticket", other_loss])
    place = {"level": 1, "arm": "other_loss"}
    network = study.ticket(**place).module()
    network.load_state_dict(study.trained(**place).params, strict=False)
    data = blobs()
    with torch.no_grad():
        logits = network.eval()(data.prepare(data.test_inputs))
    expected = float(nn.functional.cross_entropy(logits, data.test_targets))
    (found,) = {
        r.value for r in study.records if r.arm == "other_loss" and r.step == RECIPE["steps"]
        and (r.split, r.metric) == ("test", "loss")
    }  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-5)


def reasons(tmp_path, **changes):
    settings = BASE | {"out": str(tmp_path / "out"), "data": blobs} | changes
    return explain(prepare(compose(**settings)))


def test_explain_names_what_differs_and_what_was_compared(tmp_path, modules):
    text = "from torch import nn\nK = {}\ndef net(classes):\n    return Net(classes)\n"
    text += "class Net(nn.Linear):\n    def __init__(self, n):\n        super().__init__(16, n)\n"
    text += "    def forward(self, x):\n        return super().forward(x.flatten(1)) * K\n"
    modules(a_net=text.format("1.0"))
    model = {"_target_": "a_net.net"}
    assert [r.stored for r in reasons(tmp_path, model=model)] == [False]
    run(tmp_path, model=model)
    (same,) = reasons(tmp_path, model=model)
    assert same.stored and "a_net.Net.forward" in same.words[0] and "a_net.K" in same.words[0]
    modules(a_net=text.format("2.0"))
    changed = {"recipe": RECIPE | {"lr": 0.03}}
    (other,) = reasons(tmp_path, model=model, **changed)
    said = "\n".join(other.lines())
    assert not other.stored
    assert "a_net.K: 1.0 there, 2.0 here" in said and "lr: 0.02 there, 0.03 here" in said
    assert "inputs" not in said and "the mask" not in said  # nothing else differs


def test_explain_tells_of_a_state_that_the_dense_run_lacks(tmp_path):
    run(tmp_path, model=net)
    (same,) = reasons(tmp_path, model=net, rewind={"step": 7})
    assert same.stored
    assert same.words[-1] == "its state at step 7 is not kept: it is trained again up to there"
