"""Bad input: one clear line that names the thing and the mend, before any work starts.

A table of settings and of what their refusal says, two laws over every YAML in conf/ (a word for
any value, a misspelt key), and the command's own ways to go wrong.
"""

import re
import sys
from functools import partial

import pytest
import torch
from torch import nn

import lth
from lth import cli, config, models
from lth.data import Dataset, tensors
from lth.networks.ticket import Ticket, draw_state, layers_of
from lth.recipe.recipe import Recipe
from lth.spec.build import spec_of
from lth.store.store import Store
from lth.study.setup import prepare
from lth.train.options import Listener, Options
from lth.train.stacked import run_stacked
from tests import toys
from tests.toys import blobs, fewer, job_of, mlp, norm_net, pictures

BLOBS = {"_target_": "tests.toys.blobs", "validation": 40}
LENET = partial(models.lenet, widths=[10, 8])
ONE = {"trials": 1, "levels": 1}
SETTINGS = toys.SETTINGS | ONE


def spec(target, **arguments):
    return {"_target_": f"lth.{target}", **arguments}


def setup_of(root, **changes):
    return toys.setup_of(**{"out": root / "out"} | ONE | changes)


def study_of(root, **changes):
    return toys.run_study(**{"out": root / "out"} | ONE | changes)


def entries(root):
    return list(root.rglob("entry.json"))


def refused(root, **changes):
    """Return the one line with which settings are refused before any work starts."""
    return line_of(root, lambda: setup_of(root, **changes))


def line_of(root, attempt):
    with pytest.raises(lth.LthError) as caught:
        attempt()
    message = str(caught.value)
    assert message and "\n" not in message
    assert not list(root.iterdir())
    return message


def flat():
    """Examples that are rows of a table, not pictures."""
    rows = torch.rand(40, 6, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
    return tensors("flat", rows, rows, 10)


def recipe(**changes):
    return {"recipe": SETTINGS["recipe"] | changes}


def optimizer(**arguments):
    return recipe(optimizer=arguments)


def schedule(name, **arguments):
    return recipe(schedule=spec(f"schedule.{name}", **arguments))


def loss(**arguments):
    return recipe(loss=arguments)


def rewind(name, **arguments):
    return {"rewind": spec(f"rewind.{name}", **arguments)}


def search(name, **arguments):
    return {"search": spec(f"search.{name}", **arguments)}


def score(name, **arguments):
    return {"score": spec(f"score.{name}", **arguments)}


def spared(patterns):
    return {"prune": spec("prune.globally", spare=patterns)}


def arm(name, **arguments):
    return {"arms": {name: arguments}, "model": LENET}


def labels(**arguments):
    return {"data": spec("data.random_labels", **{"of": BLOBS} | arguments)}


def subset(**arguments):
    return {"data": spec("data.subset", **{"of": BLOBS} | arguments)}


def model(name, **arguments):
    return {"model": spec(f"models.{name}", **arguments), "data": PICTURES}


PICTURES = partial(pictures, channels=3, size=32)
THREE = {"_target_": "fractions.Fraction", "numerator": 3}

TABLE = {
    # the study
    "trials 0": ({"trials": 0}, r"trials=0: .*whole number from 1"),
    "trials in a half": ({"trials": 1.5}, r"trials=1\.5: .*whole number"),
    "seed below 0": ({"seed": -1}, r"seed=-1: .*whole number from 0"),
    "seed true": ({"seed": True}, r"seed=True: .*whole number"),
    "levels below 0": ({"levels": -1}, r"levels=-1: a whole number from 0, or a list"),
    "levels a word": ({"levels": "3"}, r"levels='3': .*levels=\[7,13\]"),
    "levels none": ({"levels": []}, r"levels=\[\]: .*levels=\[7,13\]"),
    "levels a half": ({"levels": [1, 1.5]}, r"levels=\[1, 1\.5\]: .*levels=\[7,13\]"),
    "levels too many": ({"levels": 99}, r"levels=99: level 20 would .*useful one is levels=19"),
    "a level too deep": ({"levels": [2, 99]}, r"levels=99: .*last useful one is levels=19"),
    "action": ({"action": "jump"}, r"action=jump: it is one of run, plan, explain, plot"),
    "name of a folder": ({"name": "a/b"}, r"name='a/b': .*letters, digits"),
    "name hidden": ({"name": ".toy"}, r"name='\.toy': .*letters, digits"),
    "setting misspelt": ({"levl": 3}, r"levl: no such setting; did you mean levels\?"),
    "experiment": ({"experiment": "frankle2019/nope"}, r"9/nope: no such choice; did you"),
    "out nowhere": ({"out": ""}, r"out='': the folder of all outputs"),
    "out null": ({"out": None}, r"out=None: the folder of all outputs"),
    # recipe
    "steps 0": (recipe(steps=0), r"recipe\.steps=0: .*whole number from 1"),
    "batch 0": (recipe(batch=0), r"recipe\.batch=0: .*whole number from 1"),
    "batch too large": (recipe(batch=161), r"recipe\.batch=161: the training split has 160"),
    "no cadence": (recipe(eval_every=0), r"recipe\.eval_every=0: .*whole number from 1"),
    "lr 0": (recipe(lr=0), r"recipe\.lr=0: a learning rate is a number above 0"),
    "lr below 0": (recipe(lr=[0.1, -0.1]), r"recipe\.lr=-0\.1: a learning rate is a number above"),
    "lr not a number": (recipe(lr=float("nan")), r"recipe\.lr=nan: a learning rate is a number"),
    "lr twice": (recipe(lr=[0.1, 0.1]), r"recipe\.lr=\[0\.1, 0\.1\]: .*each once"),
    "no lr": (recipe(lr=[]), r"recipe\.lr=\[\]: name at least one"),
    "lr null": (recipe(lr=None), r"recipe\.lr=None: a number, or a list: recipe\.lr=\["),
    "lr a word": (recipe(lr="high"), r"recipe\.lr='high': a number, or a list"),
    "curves of no split": (recipe(curves=["val"]), r"recipe\.curves: 'val' is not one of train"),
    "curves null": (recipe(curves=None), r"recipe\.curves=None: a list, such as"),
    "curves a word": (recipe(curves="test"), r"recipe\.curves='test': a list, such as"),
    "recipe misspelt": (recipe(stepz=3), r"recipe\.stepz: no such setting; did you mean steps\?"),
    "optimizer": (recipe(optimizer="nope"), r"recipe/optimizer=nope: no such choice; there are"),
    "optimizer misspelt": (optimizer(betaz=3), r"recipe\.optimizer=torch\.optim\.Adam: .*betaz"),
    "decay below 0": (optimizer(weight_decay=-1), r"recipe\.optimizer=.*weight_decay value: -1"),
    "nesterov without momentum": (optimizer(_target_="torch.optim.SGD", nesterov=True),
                                  r"recipe\.optimizer=torch\.optim\.SGD: Nesterov .*momentum"),
    "no optimizer": (optimizer(_target_="torch.nn.Linear"), r"optimizer=torch\.nn\.Linear:"),
    "an optimizer with a closure": (optimizer(_target_="torch.optim.LBFGS"),
                                    r"recipe\.optimizer=torch\.optim\.LBFGS: .*'closure'"),
    "an optimizer of sparse gradients": (optimizer(_target_="torch.optim.SparseAdam"),
                                         r"optimizer=torch\.optim\.SparseAdam: .*dense grad"),
    "schedule": (recipe(schedule="nope"), r"recipe/schedule=nope: no such choice; there are const"),
    "milestone 0": (schedule("multistep", milestones=[0]), r"schedule\.milestones=\[0\]: .*steps"),
    "gamma 0": (schedule("multistep", milestones=[5], gamma=0), r"schedule\.gamma=0: .*above 0"),
    "warmup below 0": (schedule("constant", warmup=-1), r"schedule\.warmup=-1: a number of steps"),
    "warmup a half": (schedule("cosine", warmup=0.5), r"schedule\.warmup=0\.5: a number of steps"),
    "a rate that turns round": (schedule("cosine", final=-1), r"schedule\.final=-1"),
    "no schedule": (recipe(schedule=spec("data.flip_and_crop")),
                    r"recipe\.schedule=lth\.data\.flip_and_crop: it gave no schedule"),
    "nothing to call for a schedule": (recipe(schedule=THREE), r"schedule=fractions\.Fraction: "),
    "loss misspelt": (loss(label_smoothin=0.1), r"cross_entropy takes no 'label_smoothin'; it"),
    "smoothing above 1": (loss(label_smoothing=2.0), r"label_smoothing=2"),
    "smoothing below 0": (loss(label_smoothing=-1.0), r"label_smoothing=-1"),
    "no loss": (recipe(loss=spec("schedule.constant")),
                r"recipe\.loss=lth\.schedule\.constant: it fails on logits and targ"),
    "a loss of no scalar": (recipe(loss={"_target_": "torch.nn.CrossEntropyLoss",
                                         "reduction": "none"}), r"CrossEntropyLoss: .*scalar"),
    "nothing to call for a loss": (recipe(loss=THREE), r"loss=fractions\.Fraction: it gave no"),
    # prune
    "rate 0": ({"prune": {"rate": 0}}, r"prune\.rate=0: .*\(0, 1\)"),
    "rate 1": ({"prune": {"rate": 1.0}}, r"prune\.rate=1\.0: .*\(0, 1\)"),
    "rate a word": ({"prune": {"rate": "20%"}}, r"prune\.rate='20%': a rate is the share"),
    "rate below what prunes": ({"prune": {"rate": 1e-9}}, r"levels=1: level 1 would prune nothing"),
    "output_rate 1": ({"prune": {"output_rate": 1}}, r"prune\.output_rate=1: .*\[0, 1\)"),
    "conv_rate below 0": ({"prune": {"conv_rate": -0.1}}, r"prune\.conv_rate=-0\.1: .*\[0, 1\)"),
    "rates of no layer": ({"prune": {"rates": {"convv*": 0.1}}},
                          r"no weight is named 'convv\*'; there are 1\.weight, 3\.weight"),
    "rates 2": ({"prune": {"rates": {"*": 2}}}, r"prune\.rates\[\*\]=2: .*\[0, 1\)"),
    "rates that spare all": ({"prune": {"rates": {"*": 0}}}, r"level 1 would prune nothing"),
    "spare no layer": (spared(["fc9"]), r"no weight is named 'fc9'; there are 1\.weight"),
    "spare all": (spared(["*"]), r"prune\.spare=\['\*'\] spares every layer"),
    "spare a word": (spared("output"), r"prune\.spare=output: .*such as prune\.spare=\[output\]"),
    "spare null": (spared(None), r"globally: spare=None: it must be a Sequence"),
    "a pruning that is none": ({"prune": spec("score.magnitude")}, r"prune: .*it has no prunable"),
    # rewind
    "step at the end": (rewind("to_step", step=20), r"rewind\.step=20 leaves nothing .*is 20"),
    "step beyond": (rewind("to_step", step=99), r"rewind\.step=99 leaves nothing .*steps is 20"),
    "step below 0": (rewind("to_step", step=-1), r"rewind\.step=-1: a step is a whole number"),
    "step a half": (rewind("to_step", step=1.5), r"rewind\.step=1\.5: a step is a whole number"),
    "epoch below 0": (rewind("to_epoch", epoch=-1), r"rewind\.epoch=-1: an epoch is a number"),
    "epoch beyond": (rewind("to_epoch", epoch=99), r"rewind\.epoch=99 \(step 792\) leaves n"),
    "epoch without end": (rewind("to_epoch", epoch=float("inf")), r"rewind\.epoch=inf: an epoch"),
    "schedule beyond": (rewind("learning_rate", step=20), r"rewind\.step=20 leaves nothing"),
    "fine-tuning of 0": (rewind("fine_tune", length=0), r"rewind\.length=0: .*1 to .*steps=20"),
    "fine-tuning too long": (rewind("fine_tune", length=21), r"rewind\.length=21: .*\.steps=20"),
    "init with a step": (rewind("to_init", step=3), r"to_init takes no 'step'"),
    "a rewinding that is none": ({"rewind": spec("prune.globally")}, r"rewind: .*it has no needs"),
    "statistics": (rewind("to_init", statistics="old"), r"rewind\.statistics=old: it is one of"),
    # search and score
    "rounds 0": (search("at_init", rounds=0), r"search\.rounds=0: a whole number from 1"),
    "early bird never looks": (search("early_bird", every=0), r"search\.every=0: a whole number"),
    "early bird settles at once": (search("early_bird", every=5, patience=0), r"patience=0: "),
    "early bird at any mask": (search("early_bird", every=5, threshold=1), r"threshold=1: "),
    "transfer from nowhere": ({"search": spec("transfer.transferred", study="nowhere")},
                              r"nowhere: not a study's folder"),
    "transfer from ???": ({"search": "transferred"}, r"search\.study: name the source's folder"),
    "early bird looks too late": (search("early_bird", every=20), r"search\.every=20: it never"),
    "a search that is none": ({"search": spec("prune.globally")}, r"search: .*it has no iterates"),
    "no examples to score on": (score("snip", per_class=0), r"score\.per_class=0: .*from 1"),
    "half an example": (score("grasp", per_class=1.5), r"score\.per_class=1\.5: .*from 1"),
    "inverted nothing": (score("inverted"), r"lth\.score\.inverted needs 'score'"),
    "a score inside": (score("inverted", score=spec("score.nope")), r"score has no 'nope'"),
    "score not a number": (score("large_init_large_final", alpha=float("nan")),
                           r"score\.alpha=nan: it must be a finite number"),
    "temperature 0": (score("grasp", temperature=0), r"score\.temperature=0: it must be above 0"),
    "temperature below 0": (score("grasp", temperature=-1.0), r"score\.temperature=-1\.0: "),
    "a score that is none": ({"score": spec("prune.globally")},
                             r"score: .*a globally, .*cannot be called with final, initial, "),
    "nothing to call for a score": ({"score": THREE}, r"score: .*a Fraction, .*cannot be called"),
    "more examples than there are": (score("snip", per_class=41),
                                     r"score\.per_class=41: that is 164 examples .*split has 160"),
    "more examples inside": (score("inverted", score=spec("score.snip", per_class=41)),
                             r"score\.per_class=41: .*split has 160"),
    # data
    "share above 1": (labels(share=1.5), r"data\.share=1\.5: a share of the labels, in \[0, 1\]"),
    "share below 0": (labels(share=-0.1), r"data\.share=-0\.1: .*in \[0, 1\]"),
    "subset too large": (subset(images=201), r"data\.images=201: it must lie in 41\.\.200"),
    "subset all held out": (subset(images=40), r"data\.images=40: it must lie in 41\.\.200"),
    "subset below a batch": (subset(images=50), r"recipe\.batch=20: the training split has 10"),
    "all held out": ({"data": BLOBS | {"validation": 200}}, r"validation=200: .*in 1\.\.199"),
    "nothing held out": ({"data": BLOBS | {"validation": 0}}, r"validation=0: .*in 1\.\.199"),
    "a validation share": ({"data": BLOBS | {"validation": 0.2}},
                           r"validation=0\.2: it must be a whole number in 1\.\.199"),
    "half an image": (subset(images=100.5), r"subset: images=100\.5: it must be a whole number"),
    "one class": ({"data": partial(fewer, classes=1), "model": LENET}, r"model\.classes=1: .*2 or"),
    "no such folder": ({"data": spec("data.mnist", root="/nowhere")}, r"/nowhere/mn.*data\.root"),
    "padding below 0": ({"data": partial(pictures, channels=1, size=8, augment=spec(
        "data.flip_and_crop", padding=-1))}, r"padding=-1: .*whole number, 0 or more"),
    "no data set": ({"data": spec("score.magnitude")}, r"data: lth\.score\.magnitude gave no "),
    # model
    "width 0": (model("lenet", widths=[10, 0]), r"model\.widths=0: .*1 or more"),
    "no width": (model("lenet", widths=[]), r"model\.widths=\[\]: .*one or more whole numbers"),
    "widths a number": (model("lenet", widths=300), r"model\.widths=300: it must list"),
    "widths of LeNet-5": (model("lenet5", widths=[20, 50]), r"model\.widths=\[20, 50\]: .*list 3"),
    "init": (model("conv", init="zeros"), r"model\.init='zeros': choose from glorot_normal"),
    "dropout 1": (model("conv", dropout=1), r"model\.dropout=1: it must lie in \[0, 1\)"),
    "depth of ResNet": (model("resnet", depth=21), r"model\.depth=21: .*try 20 or 26"),
    "depth of VGG": (model("vgg", depth=12), r"model\.depth=12: VGG has 11, 13, 16, 19"),
    "shortcut": (model("resnet", shortcut="none"), r"model\.shortcut='none': choose from conv"),
    "too small a picture": ({"model": models.vgg}, r"4x4 is too small for 4 poolings, .*16x16"),
    "no picture": ({"model": models.conv, "data": flat, **recipe(batch=5)},
                   r"model\.input_shape=.*must list 3 whole numbers"),
    "no weights": ({"model": {"_target_": "torch.nn.ReLU"}}, r"ReLU has no Linear or Conv"),
    "no module": ({"model": spec("score.magnitude")}, r"magnitude gave a function"),
    "no such module": ({"model": {"_target_": "nowhere.net"}}, r"_target_ nowhere\.net: no module"),
    "fewer classes than the data": ({"model": spec("models.lenet", widths=[10], classes=3)},
                                    r"lenet: two examples give \(2, 3\), not \(2, 4\); model\.cl"),
    "another input": ({"model": spec("models.lenet", widths=[10], input_shape=[3])},
                      r"lenet: it does not take the data's input_shape \[1, 4, 4\]: "),
    "a model of other inputs": (
        {"model": {"_target_": "torch.nn.Linear", "in_features": 5, "out_features": 4}},
        r"model=torch\.nn\.Linear: it does not take the data's input_shape"),
    "a model of other outputs": (
        {"model": {"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 2}},
        r"model=torch\.nn\.Linear: two examples give \(2, 1, 4, 2\), not \(2, 4\)"),
    "no factory": ({"model": 3}, r"3 is neither a spec, a factory"),
    "a factory without a name": ({"model": lambda: nn.Linear(2, 2)}, r"define it at the top"),
    # trainer
    "device": ({"trainer": {"device": "tpu"}}, r"trainer\.device=tpu: it is one of auto"),
    "workers below 0": ({"trainer": {"workers": -1}}, r"trainer\.workers=-1: .*auto or a whole"),
    "precision": ({"trainer": {"precision": 16}}, r"trainer\.precision=16: it is one of 32, bf16"),
    "chunk 0": ({"trainer": {"chunk": 0}}, r"trainer\.chunk=0: .*from 1, or null"),
    "devices": ({"trainer": {"devices": 2}}, r"trainer\.devices=2: .*not supported; use 1"),
    "a compiler that is none": ({"trainer": {"compile": "nope"}},
                                r"trainer\.compile=nope: .*is one of .*inductor"),
    # logger
    "mode": ({"logger": spec("loggers.wandb_logger", mode="of")}, r"logger\.mode=of: it is one of"),
    "a project that is a number": ({"logger": spec("loggers.wandb_logger", project=2024)},
                                   r"project=2024: it must be text or null; put it in quotes"),
    "a logger that is none": ({"logger": spec("score.magnitude")}, r"logger: .*it has no start"),
    # arms
    "no arms": ({"arms": []}, r"arms: name at least one"),
    "arm": ({"arms": ["nois"]}, r"arms=nois: no such choice; did you mean noise\?"),
    "copies 0": (arm("random_reinit", copies=0), r"arms\.random_reinit\.copies=0: .*from 1"),
    "two winners": (arm("winning_ticket", copies=2), r"copies=2: there is one winning ticket"),
    "noise below 0": (arm("noise", scale=-1), r"scale=-1: .*0 or more"),
    "noise without end": (arm("noise", scale=float("inf")), r"scale=inf: .*0 or more"),
    "rescaled by no number": (arm("rescaled", power=float("nan")), r"power=nan: a finite number"),
    "noise inside": (arm("rescaled", of=spec("arms.noise", scale=-1)), r"scale=-1: .*0 or more"),
    "counts": (arm("random_mask", counts="some"), r"counts=some: it is one of winner"),
    "signs": (arm("signed_constant", signs="theirs"), r"signs=theirs: it is one of ticket"),
    "frozen values": (arm("freeze", values="zero"), r"values=zero: it is one of init, reinit"),
    "frozen which": (arm("freeze", only="none"), r"only=none: it is one of all, grew, shrank"),
    "budget": (arm("small_dense", budget="time"), r"budget=time: it is one of steps, flops"),
    "a length of 0": (arm("small_dense_longer", longest=0), r"longest=0: .*1 or more, or null"),
    "a length below 0": (arm("small_dense_longer", longest=-1), r"longest=-1: .*1 or more"),
    "no width to narrow": ({"arms": ["small_dense"], "model": norm_net},
                           r"arms\.small_dense: tests\.toys\.norm_net has none of .*widths"),
    "an arm that is none": ({"arms": {"mine": THREE}}, r"arms\.mine: .*it cannot be called"),
    "an arm of another signature": ({"arms": {"mine": spec("score.magnitude")}},
                                    r"arms\.mine: .*it cannot be called with winner, generator"),
    "narrower than the family": ({"arms": ["small_dense"], "model": LENET, "levels": 16},
                                 r"arms\.small_dense: the smallest .* has 21 weights, .*leave"),
}  # fmt: skip


@pytest.mark.parametrize("what", TABLE)
def test_bad_settings_are_refused_in_one_line_before_any_work(what, tmp_path):
    settings, words = TABLE[what]
    assert re.search(words, refused(tmp_path, **settings))


def test_the_call_that_runs_a_study_refuses_them_too(tmp_path):
    for what in ("trials 0", "lr 0", "rates 2", "step beyond", "share above 1", "noise below 0"):
        settings, words = TABLE[what]
        with pytest.raises(lth.LthError, match=words):
            lth.run(**SETTINGS | {"out": str(tmp_path / "out"), "progress": False} | settings)
    assert not list(tmp_path.iterdir())


# --- laws over conf/ ----------------------------------------------------------------------------

BASES = {  # what a choice needs besides its YAML to be refused for nothing else
    ("rewind", "fine_tune"): {"length": 5},
    ("trainer", "gpu"): {"device": "cpu"},
    ("data", "mnist_random_labels"): {"of": BLOBS, "root": None},
    ("data", "mnist_subset"): {"of": BLOBS, "root": None, "images": 100},
    ("data", "cifar10_subset"): {"of": BLOBS, "root": None, "images": 100},
}
LEFT_OUT = [  # they need files, or another study
    ("search", "transferred"), ("search", "from_file"), ("data", "mnist"),
    ("data", "fashion_mnist"), ("data", "cifar10"),
    ("data", "cifar10_augmented"), ("data", "cifar100"), ("data", "npz"), ("data", "folder"),
]  # fmt: skip
GROUPS = (*config.GROUPS, "recipe/optimizer", "recipe/schedule", "arms")
CHOICES = [(g, n) for g in GROUPS for n in config.choices(g) if (g, n) not in LEFT_OUT]


def values_of(group, name):
    found = config.load(group, name)
    return (found[name] if group == "arms" else found) | BASES.get((group, name), {})


@pytest.fixture(scope="module")
def whole():
    """The configuration of a study, put together once."""
    return config.compose(**SETTINGS)


def chosen(whole, root, group, name, values):
    """Return the configuration of a study that makes this choice with these values."""
    found = whole | {"out": str(root / "out")}
    if group == "arms":
        return found | {"arms": {name: values}, "model": spec_of(LENET)}
    if group.startswith("recipe/"):
        return found | {"recipe": found["recipe"] | {group.partition("/")[2]: values}}
    if group == "model":
        found |= {"data": spec_of(PICTURES), "recipe": found["recipe"] | {"batch": 4}}
    return found | {group: values}


WORDS = (
    "project", "entity", "name", "group", "job_type", "notes", "id", "dir", "save_dir", "version",
)  # fmt: skip
ANY_WORD = [("data", "root"), *(("logger", word) for word in WORDS)]  # is a right one here
ARGUMENTS = [
    (group, name, key)
    for group, name in CHOICES
    for key in values_of(group, name)
    if key != "_target_" and (group, key) not in ANY_WORD
]


@pytest.mark.parametrize(("group", "name", "key"), ARGUMENTS, ids="=".join)
def test_a_word_that_makes_no_sense_is_refused_by_name(group, name, key, whole, tmp_path):
    found = chosen(whole, tmp_path, group, name, values_of(group, name) | {key: "rubbish"})
    message = line_of(tmp_path, lambda: prepare(found)).lower()
    assert key in message or "rubbish" in message or "recipe.optimizer=" in message


@pytest.mark.parametrize(("group", "name"), CHOICES, ids="=".join)
def test_a_misspelt_key_is_refused_by_name(group, name, whole, tmp_path):
    found = chosen(whole, tmp_path, group, name, values_of(group, name) | {"misspelt": 1})
    assert "misspelt" in line_of(tmp_path, lambda: prepare(found))


# --- what shows only when work begins -----------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A study whose tickets may be transferred."""
    return study_of(tmp_path_factory.mktemp("source"), recipe={**SETTINGS["recipe"], "steps": 2})


TRANSFERS = {
    "another input": ({"data": PICTURES, **recipe(batch=4)},
                      r"1\.weight has shape \(10, 16\) there and \(10, 3072\) here; only"),
    "another width": ({"model": partial(mlp, width=11)}, r"1\.weight has shape .*only the output"),
    "another network": ({"model": LENET}, r"its tickets have no fc1\.weight"),
    "a trial too many": ({"trials": 2}, "has no trial 1; it has 0"),
    "a level too many": ({"levels": 2}, "has no level 2; it has 0, 1"),
}  # fmt: skip


def transfer(source, **changes):
    return {"search": spec("transfer.transferred", study=str(source.folder)),
            **recipe(steps=2)} | changes  # fmt: skip


@pytest.mark.parametrize("what", TRANSFERS)
def test_tickets_that_do_not_fit_are_refused_before_any_work(what, source, tmp_path):
    changes, words = TRANSFERS[what]
    assert re.search(words, refused(tmp_path, **transfer(source, **changes)))


def test_a_learning_rate_that_the_source_lacks_is_named(tmp_path):
    source = study_of(tmp_path / "source", **recipe(steps=2, lr=[0.01, 0.03]))
    (tmp_path / "here").mkdir()
    found = refused(tmp_path / "here", **transfer(source))
    assert "it has no lr 0.02, only [0.01, 0.03]" in found


@pytest.mark.parametrize("of", [spec("arms.freeze"), spec("arms.small_dense")], ids=["f", "s"])
def test_an_arm_inside_another_gets_what_it_asks_for_or_is_refused(of, tmp_path):
    changes = arm("rescaled", of=of) | recipe(steps=2)
    try:
        study_of(tmp_path, **changes)
    except lth.LthError as error:
        assert "\n" not in str(error) and not entries(tmp_path)


@pytest.mark.parametrize("out", ["/dev/null/x", "/proc/x"])
def test_a_folder_that_cannot_be_written_is_named_with_the_mend(out, tmp_path):
    with pytest.raises(lth.LthError, match=rf"out={out}: cannot write there .*out=DIR") as caught:
        study_of(tmp_path, out=out)
    assert "\n" not in str(caught.value)


def gpu_job(target):
    layers = layers_of(MLP)
    mask = {n: torch.ones(s, dtype=torch.bool) for n, s in layers.shapes.items()}
    found = Recipe(steps=2, batch=20, lr=0.1, optimizer={"_target_": target})
    start = Ticket(model=MLP, mask=mask, **draw_state(MLP, 0)._asdict())
    return job_of(start, data=BLOBS, recipe=found, lr=0.1)


MLP = {"_target_": "tests.toys.mlp", "input_shape": [1, 4, 4], "classes": 4, "width": 12}


class Deaf(Listener):
    def level(self, *_):
        pass

    def step(self, *_):
        pass

    def note(self, text):
        pass


@pytest.mark.parametrize("target", ["torch.optim.Adafactor", "torch.optim.ASGD"])
def test_an_optimizer_that_mixes_members_is_refused_on_a_gpu(target, tmp_path):
    jobs = [gpu_job(target)] * 2
    words = rf"recipe\.optimizer={target}: .*must be one of SGD, Adam.*or set trainer=cpu"
    with pytest.raises(lth.LthError, match=words) as caught:
        run_stacked(jobs, blobs(), Store(tmp_path), Options(device="cpu"), Deaf(), device="cpu")
    assert "\n" not in str(caught.value) and not entries(tmp_path)


def test_data_without_examples_is_refused_by_name():
    none, some = (torch.zeros(0, 3), torch.zeros(0).long()), (torch.zeros(4, 3), torch.arange(4))
    with pytest.raises(lth.LthError, match="toys: 0 test inputs"):
        Dataset("toys", *some, *none, [0.0], [1.0], 4, 1)
    with pytest.raises(lth.LthError, match="toys: 4 train inputs, 3 targets"):
        Dataset("toys", some[0], some[1][:3], *some, [0.0], [1.0], 4, 1)


def test_data_without_any_label_is_refused_by_name():
    none, some = (torch.zeros(0, 3), torch.zeros(0).long()), (torch.zeros(4, 3), torch.arange(4))
    with pytest.raises(lth.LthError, match="toys: 0 train inputs"):
        tensors("toys", none, some, 1)
    with pytest.raises(lth.LthError, match="toys: 0 test inputs"):
        tensors("toys", some, none, 1)


# --- the command --------------------------------------------------------------------------------

TINY = ["trials=1", "levels=1", "recipe.steps=4", "model.widths=[8]", "logger=none",
        "trainer.workers=0", "trainer.device=cpu"]  # fmt: skip

COMMANDS = {
    **{f"{g}=nope": f"{g}=nope: no such choice; " for g in cli.GROUPS},
    "recipe/optimizer=nope": "recipe/optimizer=nope: no such choice; there are adam",
    "recipe/schedule=nope": "recipe/schedule=nope: no such choice; there are constant",
    "recipe.lr=": "error: recipe.lr=",
    "recipe.lr=1e-3,2e-3": "recipe.lr=1e-3,2e-3",
    "recipe.curves=[val]": "recipe.curves: 'val' is not one of train, validation, test",
    "recipe.steps=1e3": "recipe.steps=1000.0: it must be a whole number",
    "trials=two": "trials='two': it must be a whole number",
    "levels=[": "[",
    "prune.rate=20%": "prune.rate='20%': a rate is the share",
    "prune.rat=0.2": "prune.rat: no such setting; did you mean prune.rate?",
    "+prune.rates={fc9:0.1}": "no weight is named 'fc9'; there are fc1.weight, output.weight",
    "prune.rates=0.2": "lth.pruning.rules.layerwise: rates=0.2: it must be a Mapping or null",
    "rewind.step=4": "rewind.step=4 leaves nothing to train: recipe.steps is 4",
    "rewind=fine_tune": "rewind.length=200: a number of steps from 1 to recipe.steps=4",
    "rewind.epoch=3": "rewind.epoch: no such setting; rewind=to_epoch has it",
    "rewind=to_epoch rewind.epoch=two": "epoch='two': it must be a number",
    "search=at_init search.rounds=0": "search.rounds=0: a whole number from 1",
    "search=transferred search.study=out/x": "out/x: not a study's folder",
    "data.validation=1397": "data.validation=1397: it must lie in 1..1396",
    "data.validation=some": "data.validation=some: it must be a whole number in 1..1396",
    "data=mnist data.root=/nowhere": "/nowhere/mnist/train-images-idx3-ubyte.gz: no such file",
    "data=mnist_subset data.root=/nowhere": "/nowhere/mnist/train-images-idx3-ubyte.gz: no such",
    "model.widths=8": "model.widths=8: it must list one or more whole numbers",
    "+model.depth=3": "lth.models.lenet takes no 'depth'; it takes input_shape, classes",
    "model.classes=3": "two examples give (2, 3), not (2, 10); model.classes is left to the data",
    "recipe.loss.label_smoothing=2": "label_smoothing=2",
    "score.per_class=3": "score.per_class: no such setting; score=gradient_magnitude or ",
    "score=snip score.per_clas=3": "score.per_clas: no such setting; did you mean score.per_class?",
    "arms=[noise] arms.noise.scale=-1": "scale=-1: a number of standard deviations",
    "arms=[noise] arms.noise.scal=1": "arms.noise.scal: no such setting",
    "arms.noise.scale=1": "arms.noise.scale: no such setting; none is chosen: arms=[noise]",
    "arms.random_reinit.copies=0": "arms.random_reinit.copies=0: it must be a whole number from 1",
    "arms=[]": "arms: name at least one, such as arms=[winning_ticket,random_reinit]",
    "action=plot": "not a study's folder: it has no config.yaml; run the study first: action=run",
    "action=analyse name=new": "run the study first: action=run",
    "--config-dir=nowhere": "nowhere",
    "nonsense": "nonsense",
}


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    """What the command says when it ends in an error."""

    def call(arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["lth", *TINY, *arguments.split()])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert caught.value.code == 1
        assert not entries(tmp_path)
        return capsys.readouterr().err

    return call


@pytest.mark.parametrize("arguments", COMMANDS)
def test_the_command_ends_in_one_line(arguments, told):
    err = told(arguments)
    assert err.startswith("error: ") and COMMANDS[arguments] in err and err.count("\n") == 1


RIGHT = ["prune.rates={output:0.3}", "+prune.rates={output:0.3}", "name=2024", "name=of-2024"]


@pytest.mark.parametrize("argument", RIGHT)
def test_what_is_right_is_not_refused(argument, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lth", *TINY, "action=plan", argument])
    cli.main()
    assert "trained 0 members" in capsys.readouterr().out
