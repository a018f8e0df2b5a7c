"""Settings as people give them from Python: taken for what they mean, or refused in one line."""

import enum
import functools
import json
import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import nn

import lth
from lth import api, config
from lth.arms.small import narrow
from lth.data import digits
from lth.spec.build import arguments, build, complete, digest
from lth.spec.plain import plain, spec_of
from lth.study import actions as report
from lth.study.setup import prepare
from tests import toys
from tests.toys import blobs, mlp

SETTINGS = toys.SETTINGS | {"trials": 1, "levels": 1}


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Maker:
    """An object that can be called, and one with a method."""

    def __call__(self, classes):
        return mlp((1, 4, 4), classes)

    def make(self, classes):
        return self(classes)

    @classmethod
    def net(cls, classes):
        return mlp((1, 4, 4), classes)


def tupled(classes, depth=(1, (2, 3)), sizes: tuple[int, ...] = (), kind=nn.ReLU, limit=math.inf):
    """A network that takes nothing but what its own defaults are: tuples, a class, infinity."""
    assert type(depth) is tuple and type(depth[1]) is tuple and type(sizes) is tuple
    assert isinstance(kind, type) and type(limit) is float
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), kind(), nn.Linear(8, classes))


def keyed(classes, cfg={1: "a"}, dtype=torch.float32, norm=functools.partial(nn.LayerNorm, 8)):  # noqa: B006, B008
    """Defaults that no YAML holds reach the function as they are."""
    assert cfg == {1: "a"} and dtype is torch.float32
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), norm(), nn.Linear(8, classes))


def positional(classes, width=8, /, *, more=0):
    return mlp((1, 4, 4), classes, width)


def ten(input_shape=(3, 32, 32), classes=10):
    return mlp(input_shape, classes)


def broken(classes):
    raise ZeroDivisionError("by\nnothing")


def made(**changes):
    return prepare(config.compose(**SETTINGS | changes))


def refused(**changes):
    with pytest.raises(lth.LthError) as caught:
        made(**changes)
    message = str(caught.value)
    assert message and "\n" not in message and len(message) < 400
    return message


# --- numbers, ranges, paths ---------------------------------------------------------------------

SAME = {
    "float64": (np.float64(1e-3), 1e-3), "float32": (np.float32(0.5), 0.5),
    "int64": (np.int64(7), 7), "uint8": (np.uint8(7), 7), "bool_": (np.bool_(True), True),
    "str_": (np.str_("a"), "a"), "0-d array": (np.array(2), 2), "0-d tensor": (torch.tensor(3), 3),
    "range": (range(1, 4), [1, 2, 3]), "logspace": (np.logspace(-3, -1, 3), [1e-3, 1e-2, 1e-1]),
    "list of numbers": ([np.int64(1), {"a": np.float64(2)}], [1, {"a": 2.0}]),
    "path": (Path("a") / "b", "a/b"), "2-d": (np.eye(2, dtype=int), [[1, 0], [0, 1]]),
}  # fmt: skip


@pytest.mark.parametrize("what", SAME)
def test_numbers_of_any_kind_are_numbers(what):
    given, wanted = SAME[what]
    found = plain(given)
    assert found == pytest.approx(wanted) if what == "logspace" else found == wanted
    assert type(found) is type(wanted) and json.loads(json.dumps(found)) == found
    assert OmegaConf.to_container(OmegaConf.create({"x": found})) == {"x": found}


def test_a_sweep_made_by_numpy_is_the_sweep_written_out():
    rates = np.logspace(-3, -1, 3)
    recipe = SETTINGS["recipe"]
    found = made(recipe=recipe | {"lr": rates}, seed=np.int64(1), levels=range(1, 3),
                 trials=np.arange(1, 3)[1])  # fmt: skip
    assert [line.lr for line in found.parts.lines[:3]] == rates.tolist()
    again = made(recipe=recipe | {"lr": rates.tolist()}, seed=1, levels=[1, 2], trials=2)
    assert found.config == again.config and found.id == again.id


# --- what cannot be a setting -------------------------------------------------------------------

OBJECTS = {
    "module": nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "loss": nn.CrossEntropyLoss(),
    "data set": digits(), "torch data set": torch.utils.data.TensorDataset(torch.zeros(9, 64)),
    "loader": torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(9, 64))),
    "tensor": torch.zeros(1000, 1000), "array": np.zeros((100, 64)), "callable object": Maker(),
    "optimizer": torch.optim.Adam([nn.Parameter(torch.zeros(1000))]),
    "generator": (i for i in range(3)), "set": {1, 2}, "bytes": b"abc", "complex": 1j,
    "decimal": Decimal("0.1"), "dtype": torch.float32, "device": torch.device("cpu"),
    "enum": Colour.RED, "whole enum": Level.LOW, "object": object(),
    "longdouble": np.longdouble(1), "date": np.datetime64("2020-01-01"),
    "array of objects": np.array([object()]),
    "lambda": lambda: None, "local": (lambda: (lambda x: x))(), "method": Maker().make,
    "partial by place": functools.partial(mlp, (1, 4, 4)),
    "partial of a lambda": functools.partial(lambda x: x, x=1),
    "partial of a method": functools.partial(Maker().make, classes=3),
    "partial of an object": functools.partial(mlp, width=nn.ReLU()),
}  # fmt: skip
WHERE = {
    "model": lambda v: {"model": v}, "data": lambda v: {"data": v}, "score": lambda v: {"score": v},
    "recipe.loss": lambda v: {"recipe": SETTINGS["recipe"] | {"loss": v}},
    "recipe.optimizer": lambda v: {"recipe": SETTINGS["recipe"] | {"optimizer": v}},
    "recipe.lr": lambda v: {"recipe": SETTINGS["recipe"] | {"lr": v}},
    "seed": lambda v: {"seed": v}, "arms.mine": lambda v: {"arms": {"mine": v}},
    "logger": lambda v: {"logger": v},
}  # fmt: skip


@pytest.mark.parametrize("what", OBJECTS)
def test_an_object_is_refused_in_a_short_line_that_says_where(what):
    for where, setting in WHERE.items():
        with pytest.raises(lth.LthError) as caught:
            config.compose(**SETTINGS | setting(OBJECTS[what]))
        message = str(caught.value)
        assert "\n" not in message and len(message) < 300
        assert where in message, message


def test_what_to_give_instead_is_said():
    for what in ("module", "loss", "data set", "loader", "array", "optimizer", "callable object"):
        assert "give a function that makes it" in refused(model=OBJECTS[what]), what
    inside = refused(model=functools.partial(tupled, kind=nn.GELU()))
    assert "make it inside tests.test_settings.tupled, or give {'_target_': 'torch.nn.mod" in inside
    assert "bound to an object" in refused(model=Maker().make)
    assert "define it at the top level of a module" in refused(model=OBJECTS["local"])
    for value in ({1: 2}, {"a": {None: 1}}, {(1, 2): 3}):
        assert "must be text" in refused(data={"_target_": "tests.toys.blobs", "x": value})
    assert "cannot be written as UTF-8" in refused(name="\ud800")
    for function in (torch.nn.functional.gelu, np.tanh, len):
        refused(model=function)
    loss = SETTINGS["recipe"] | {"loss": torch.nn.functional.cross_entropy}
    assert "needs 'input'; recipe.loss names what makes a loss, such as torch." in refused(
        recipe=loss
    )
    assert "give its value, 'red'" in refused(seed=Colour.RED)
    assert "float32 cannot stand in a configuration: give its name" in refused(seed=torch.float32)


def test_what_can_be_found_by_name_is_taken():
    assert spec_of(Maker.net) == {"_target_": "tests.test_settings.Maker.net"}
    assert made(model=Maker.net).parts.layers.total == 16 * 12 + 12 * 4
    found = made(recipe=SETTINGS["recipe"] | {"loss": nn.CrossEntropyLoss,
                                              "optimizer": torch.optim.SGD})  # fmt: skip
    assert found.recipe.loss == {"_target_": "torch.nn.CrossEntropyLoss"}
    assert found.recipe.optimizer == {"_target_": "torch.optim.SGD"}
    function = {"_target_": mlp, "width": 10}
    assert made(model=function).config == made(model=functools.partial(mlp, width=10)).config


def test_an_error_of_the_users_own_is_one_line_with_its_place():
    found = refused(model=broken)
    start = "tests.test_settings.broken: ZeroDivisionError: by (tests/test_settings.py:"
    assert found.startswith(start)


@pytest.mark.parametrize("text", ["${nowhere}", "${", "${oc.env:NOT_SET_ANYWHERE}", "${oc.nope:1}"])
def test_what_refers_to_no_setting_is_one_line(text):
    for changes in ({"out": text}, {"data": {"_target_": "tests.toys.blobs", "root": text}}):
        assert refused(**changes).startswith("settings: ")


def test_no_message_is_longer_than_a_line():
    found = str(lth.LthError(f"a:\n  b\r\n{torch.zeros(100)} " + "x" * 5000))
    assert found.startswith("a: b tensor([0., 0.") and "\n" not in found and len(found) == 1000


@pytest.mark.parametrize("action", ["plan", "analyse", "jump", 3, None])
def test_what_the_call_does_not_do_it_refuses(action):
    with pytest.raises(lth.LthError, match=r"^action=.*: lth\.run runs"):
        lth.run(action=action)


# --- tuples -------------------------------------------------------------------------------------


def through_yaml(value):
    return OmegaConf.to_container(OmegaConf.create(OmegaConf.to_yaml(OmegaConf.create(value))))


@pytest.mark.parametrize("model", [
    tupled, functools.partial(tupled, depth=(4, (5, 6)), sizes=(3,)),
    functools.partial(tupled, kind=nn.GELU), {"_target_": "tests.test_settings.tupled"},
    {"_target_": "tests.test_settings.tupled", "depth": [4, [5, 6]], "sizes": [3]},
], ids=["function", "partial", "partial of a class", "spec", "lists"])  # fmt: skip
def test_a_tuple_stays_one_in_python_and_from_a_file(model):
    found = made(model=model).config["model"]
    assert isinstance(build(found), nn.Module)
    assert isinstance(build(json.loads(json.dumps(found))), nn.Module)
    assert isinstance(build(complete(through_yaml(found))), nn.Module)
    assert complete(through_yaml(found)) == found


def test_python_and_yaml_are_one_thing_with_tuples_too():
    target = "tests.test_settings.tupled"
    default = {"_target_": target, "classes": 4}
    named = {**default, "depth": [1, [2, 3]], "sizes": []}
    given = spec_of(functools.partial(tupled, classes=4, depth=(1, (2, 3)), sizes=()))
    assert complete(default) == complete(named) == complete(given)
    assert digest(complete(default)) == digest(complete(through_yaml(complete(named))))
    other = spec_of(functools.partial(tupled, classes=4, depth=(1, (2, 4))))
    assert complete(other) != complete(default)


def test_tuples_anywhere_among_arguments():
    given = {"blocks": [(1, 2), [3]], "by": {"a": ()}, "size": torch.Size([2, 3])}
    found = spec_of(functools.partial(keyed, **given))
    assert arguments(json.loads(json.dumps(found))) == given
    assert type(arguments(found)["size"]) is tuple
    with pytest.raises(lth.LthError, match=r"a tuple is written \{_tuple_"):
        arguments({"_target_": "x.y", "a": {"_tuple_": [1], "b": 2}})
    assert arguments({"_target_": "torch.nn.Unflatten", "size": {"_tuple_": [1, 2]}}) == {
        "size": (1, 2)
    }


def widths(classes, widths=(20, 10)):
    assert isinstance(widths, tuple)
    first, second = widths
    return nn.Sequential(nn.Flatten(), nn.Linear(16, first), nn.Linear(first, second),
                         nn.Linear(second, classes))  # fmt: skip


def test_a_tuple_of_widths_is_narrowed_as_a_list_is():
    found = made(model=widths).config["model"]
    narrowed = narrow(found, 200)
    assert isinstance(build(narrowed), nn.Module)
    assert narrowed["widths"]["_tuple_"] < found["widths"]["_tuple_"] == [20, 10]


class Sgd(torch.optim.SGD):
    def __init__(self, params, lr, pair=(0, 0)):
        assert isinstance(pair, tuple)
        super().__init__(params, lr=lr, momentum=pair[0])


def test_an_optimizer_of_ones_own_gets_its_tuples():
    recipe = SETTINGS["recipe"] | {"optimizer": functools.partial(Sgd, pair=(0.5, 0))}
    assert made(recipe=recipe).recipe.optimizer["pair"] == {"_tuple_": [0.5, 0]}


def test_settings_and_this_packages_own_arguments_stay_lists():
    prune = {"_target_": "lth.pruning.rules.globally", "spare": ("output",)}
    recipe = SETTINGS["recipe"] | {"lr": (0.1, 0.2), "curves": ("test",)}
    given = made(recipe=recipe, levels=(1,), prune=prune)
    assert given.config["recipe"]["lr"] == [0.1, 0.2] and given.config["levels"] == [1]
    assert given.config["prune"]["spare"] == ["output"]


def test_defaults_that_no_file_holds_are_left_to_the_function():
    for model in (keyed, tupled):
        assert made(model=model).parts.layers.total == 16 * 8 + 8 * 4
    assert "positional: TypeError" in refused(model=positional)
    assert set(complete(spec_of(keyed))) == {"_target_"}
    assert set(complete(spec_of(tupled))) == {"_target_", "depth", "sizes"}


def test_a_class_or_function_as_an_argument_is_passed_as_it_is():
    found = spec_of(functools.partial(tupled, kind=nn.GELU))
    assert found["kind"] == {"_target_": "torch.nn.GELU", "_partial_": True}
    assert arguments(found)["kind"] is nn.GELU
    later = arguments(
        spec_of(functools.partial(keyed, norm=functools.partial(nn.GELU, approximate="tanh")))
    )
    assert repr(later["norm"]()) == repr(nn.GELU(approximate="tanh"))
    several = arguments(spec_of(functools.partial(keyed, acts=[nn.ReLU, nn.GELU])))
    assert several["acts"] == [nn.ReLU, nn.GELU]
    # where an annotation names what is wanted, that is made: here a Dataset
    nested = spec_of(functools.partial(lth.data.random_labels, of=blobs))
    assert nested["of"] == {"_target_": "tests.toys.blobs"}


# --- what the data say about the model ----------------------------------------------------------


def test_a_models_defaults_give_way_to_the_data():
    found = made(model=ten).config["model"]
    assert found == {"_target_": "tests.test_settings.ten", "classes": 4,
                     "input_shape": {"_tuple_": [1, 4, 4]}}  # fmt: skip


@pytest.mark.parametrize(("asked", "words"), [
    ({"classes": 5}, "model.classes=5: the data's is 4; leave it out"),
    ({"classes": 3}, r"model.classes is left to the data"),
    ({"input_shape": (2, 4, 2)}, "model.input_shape=[2, 4, 2]: the data's is [1, 4, 4]"),
    ({"input_shape": [16]}, "model.input_shape=[16]: the data's is [1, 4, 4]"),
], ids=str)  # fmt: skip
def test_what_a_model_is_told_against_the_data_is_refused(asked, words):
    assert words in refused(model=functools.partial(ten, **asked))
    assert made(model=functools.partial(ten, classes=4, input_shape=(1, 4, 4)))


# --- YAMLs of one's own -------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder of one's own choices, with the module that they name."""
    folder = tmp_path / "own"
    for group, name, text in (
        ("model", "mine", "_target_: own_module_x.net\nwidth: 9\nclasses: null\n"),
        ("model", "wider", "defaults: [mine, _self_]\nwidth: 20\n"),
        ("model", "lenet", "_target_: own_module_x.net\nwidth: 7\n"),
        ("recipe", "short", "defaults:\n  - optimizer: fast\n  - schedule: constant\nsteps: 6\n"
                            "batch: 20\nlr: 0.1\neval_every: 3\n"),
        ("recipe/optimizer", "fast", "_target_: torch.optim.SGD\nmomentum: 0.5\n"),
        ("arms", "again", "again:\n  _target_: lth.arms.random_reinit\n  copies: 2\n"),
        ("experiment", "all", "defaults:\n  - override /model: mine\n  - override /recipe: short\n"
                              "trials: 2\n"),
    ):  # fmt: skip
        path = folder / group / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "own_module_x.py").write_text(
        "from torch import nn\ndef net(classes, width=3):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.Linear(width, classes))\n"
    )
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    return folder


def test_ones_own_yamls_are_named_from_python(own, tmp_path):
    base = {k: v for k, v in SETTINGS.items() if k not in ("model", "recipe", "trials")}

    def total(**changes):
        return prepare(
            config.compose(own, **base | {"recipe": "short"} | changes)
        ).parts.layers.total

    assert total(model="mine") == 9 * 20 and total(model={"width": 5}, experiment="all") == 5 * 20
    assert total(model="wider") == 20 * 20
    assert total(model="lenet") == 7 * 20  # as with --config-dir, one's own come first
    found = config.compose(str(own), experiment="all", arms=["again", "noise"], **base)
    assert found["trials"] == 2 and found["recipe"]["optimizer"]["momentum"] == 0.5
    assert found["arms"]["again"]["copies"] == 2 and found["name"] == "toy"
    recipe = SETTINGS["recipe"] | {"optimizer": "fast"}
    assert config.compose(own, recipe=recipe)["recipe"]["optimizer"]["momentum"] == 0.5
    settings = base | {"levels": 0, "trials": 1, "out": str(tmp_path / "out")}
    study = lth.run(config_dir=own, model="mine", recipe="short", progress=False, **settings)
    assert study.config["model"]["width"] == 9 and study.config["model"]["classes"] == 4


def test_a_folder_or_a_choice_that_is_not_there_is_named(own):
    with pytest.raises(lth.LthError, match=r"model=nope: no such choice; there are .*mine.*conv2"):
        config.compose(own, model="nope")
    with pytest.raises(lth.LthError, match="model=mine: no such choice"):
        config.compose(model="mine")
    for bad in ("nowhere", 3, own / "model" / "mine.yaml"):
        with pytest.raises(lth.LthError, match=r"config_dir=.*: not a folder"):
            config.compose(bad)
    (own / "arms" / "odd.yaml").write_text("_target_: lth.arms.noise\n")
    with pytest.raises(lth.LthError, match=r"arms/odd\.yaml: it must hold the arm under its name"):
        config.compose(own, arms=["odd"])


def test_a_root_of_ones_own_is_part_of_what_the_data_is():
    mine, theirs = {"_target_": "mine.folder", "root": "cats"}, {"_target_": "lth.data.mnist"}
    assert config.without_root(mine) == mine
    assert config.without_root(theirs | {"root": "here"}) == theirs
    inside = {"_target_": "lth.data.subset", "root": "x", "of": mine}
    assert config.without_root(inside) == {"_target_": "lth.data.subset", "of": mine}


# --- anything at all ----------------------------------------------------------------------------

ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 30) | st.integers() | st.floats()
    | st.sampled_from(["", "x", "???", "${x}", "${", "${oc.env:HOME_NOT}", "a.b", "\ud800", "../x",
                       "lenet", "lth.models.lenet", "os.getcwd", "x\x00y", "a\nb", [], {}, ...])
    | st.sampled_from(list(OBJECTS.values()))
    | st.sampled_from([mlp, blobs, nn.ReLU, len, np.nan, np.arange(3), range(0), Path()]),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner)
    | st.dictionaries(st.sampled_from(["_target_", "a", "lr", "rate", "copies", "_tuple_", "step",
                                       "_partial_", "", "noise"]) | st.integers(), inner,
                      max_size=3), max_leaves=4,
)  # fmt: skip
NAMES = [
    "data", "model", "recipe", "score", "search", "prune", "rewind", "trainer", "logger", "arms",
    "trials", "levels", "seed", "out", "name", "action", "studies", "experiment", "config_dir",
    "budget", "axis", "budgets",
    "recipe.lr", "recipe.steps", "recipe.batch", "recipe.eval_every", "recipe.curves",
    "recipe.loss", "recipe.optimizer", "recipe.schedule", "prune.rate", "prune.conv_rate",
    "rewind.step", "trainer.workers", "trainer.device", "trainer.chunk", "trainer.precision",
    "trainer.compile", "trainer.devices", "arms.noise", "arms.mine", "data.validation",
    "model.width", "model.classes", "model.input_shape", "prune.rates", "unknown",
]  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(NAMES), ODD), min_size=1, max_size=2))
def test_odd_settings_are_taken_or_refused_in_one_line(tmp_path_factory, odd):
    found = {k: (dict(v) if isinstance(v, dict) else v) for k, v in SETTINGS.items()}
    found |= {"data": {"_target_": "tests.toys.blobs"}, "model": {"_target_": "tests.toys.mlp"}}
    for name, value in odd:
        group, _, key = name.partition(".")
        if not key:
            found[group] = value
        elif isinstance(found.get(group, {}), dict):
            found[group] = found.get(group, {}) | {key: value}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "run_study", lambda *_: None)
        patch.setattr(api, "Study", lambda folder: folder)
        patch.setattr("sys.path", [*__import__("sys").path])
        try:
            lth.run(progress=False, **found)
        except lth.LthError as error:
            assert str(error) and "\n" not in str(error) and len(str(error)) <= 1000
