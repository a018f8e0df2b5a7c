"""Files from elsewhere are data: what they may name, and that nothing of theirs runs."""

import functools
import json
import pickle

import pytest
import torch
from omegaconf import OmegaConf

import lth
from lth import LthError, Ticket
from lth.arms.small import narrow
from lth.identity import code_key, described
from lth.networks.cost import uses
from lth.networks.ticket import draw_model, layers_of
from lth.results.analysis.table import Analysis
from lth.results.compare.studies import find, sources
from lth.spec.build import build, fill
from lth.spec.trust import Foreign, allow, may_call, names_of
from tests import forged, toys
from tests.toys import mlp

EVIL = "import pathlib; pathlib.Path(__file__).with_name('harm').touch()\ndef net(**_): raise 1\n"


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A module on the path that does harm when it is imported."""
    (tmp_path / "evil_tickets.py").write_text(EVIL)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("target", ["lth.models.lenet", "lth.models.resnet", "torch.nn.Linear",
                                    "torch.nn.modules.linear.Linear", "torch.nn.Sequential",
                                    "torch.optim.Adam"])  # fmt: skip
def test_a_file_may_name_this_packages_networks_and_torchs_classes(target):
    assert may_call(target, ("models",))


@pytest.mark.parametrize("target", forged.CALLS)
def test_a_file_may_name_nothing_else(target, evil):
    with forged.nothing_runs():
        assert not may_call(target, ("models",))


def test_each_place_takes_its_own_factories():
    assert may_call("lth.pruning.dynamic.rigl", ("pruning.dynamic",)) and may_call(
        "lth.networks.gates.bernoulli", ("networks.gates",)
    )
    assert not may_call("lth.pruning.dynamic.rigl", ("models",))
    assert not may_call(
        "lth.pruning.dynamic.drop_lowest", ("pruning.dynamic",)
    )  # imported there, not made there
    assert not may_call("lth.arms.dynamic._Changing", ("arms.dynamic",))


def test_trust_covers_what_is_defined_there_and_nothing_it_imports():
    rooms = ("models",)
    assert may_call("tests.toys.mlp", rooms, names_of(["tests"]))
    assert may_call("tests.toys.mlp", rooms, names_of(mlp)) and may_call(
        "tests.toys.mlp", rooms, names_of([toys])
    )
    assert not may_call("tests.toys.norm_net", rooms, names_of(mlp))
    for imported in ("tests.toys.nn.Linear", "tests.toys.torch.load", "tests.forged.json.loads",
                     "tests.forged.sys.exit", "tests_of_others.net"):  # fmt: skip
        assert not may_call(imported, rooms, ("tests",)), imported
    with pytest.raises(LthError, match="trust=3: name modules or factories"):
        names_of([3])


def test_what_is_foreign_stays_so_and_is_called_by_nothing(evil):
    model = allow(
        forged.MODEL | {"of": [forged.spec("evil_tickets.net")]}, ("models",), (), "f", "m"
    )
    copies = model, pickle.loads(pickle.dumps(model)), model["of"][0]
    with forged.nothing_runs():
        for spec in copies:
            assert isinstance(spec, Foreign)
            for call in (
                build, layers_of, described, code_key, fill, lambda s: draw_model(s, 0),
                lambda s: uses(s, (1, 4, 4)), lambda s: narrow(s, 9), lambda s: build({**s}),
                lambda s: lth.run(model=s), lambda s: lth.run(model={"_target_": "x.y", "of": s}),
                lambda s: Ticket.from_state(s, {}, {}),
            ):  # fmt: skip
                with pytest.raises(LthError, match=r"f wants to call evil_tickets\.net"):
                    call(spec)


@pytest.mark.parametrize("target", forged.CALLS)
def test_a_ticket_file_calls_nothing(target, evil, tmp_path):
    whole = forged.good()
    for number, spec in enumerate(forged.specs(target)):
        path = forged.ticket(tmp_path / f"{number}", model=spec)
        with forged.nothing_runs():
            ticket = Ticket.load(path)
            assert ticket.density == whole.density and "\n" not in repr(ticket)
            mask, params, step = ticket
            assert step == 3 and mask.keys() == whole.mask.keys() and params
            for call in (ticket.module, ticket.pruned, lambda: layers_of(ticket.model)):  # noqa: B023
                with pytest.raises(LthError, match=r"wants to call .*; name its factory") as caught:
                    call()
                assert "\n" not in str(caught.value)
            ticket.save(tmp_path / "again")
            assert Ticket.load(tmp_path / "again") == ticket


@pytest.mark.parametrize("field", ["dynamics", "gate", "changes", "origin"])
def test_no_field_of_a_ticket_names_what_runs(field, evil, tmp_path):
    spec = forged.spec("evil_tickets.net")
    value = {"schedule": spec} if field == "changes" else spec
    with forged.nothing_runs():
        ticket = Ticket.load(forged.ticket(tmp_path / "t", **{field: value}))
        found = getattr(ticket, field)
        with pytest.raises(LthError, match="wants to call"):
            build(found["schedule"] if field == "changes" else found)
        if field != "gate":
            assert ticket.module()  # the model is lth's own
            return
        with pytest.raises(LthError, match="its gate wants to call"):
            ticket.module()


def test_the_users_own_code_is_called_where_the_user_names_it(tmp_path):
    model = {"_target_": "colleague.net", "input_shape": [1, 4, 4], "classes": 4, "width": 7}
    torch.manual_seed(0)
    net = mlp([1, 4, 4], 4, 7)
    made = Ticket.from_state(functools.partial(mlp, input_shape=[1, 4, 4], classes=4, width=7),
                             net.state_dict(), {"1.weight": torch.ones(7, 16)})  # fmt: skip
    path = forged.ticket(tmp_path / "t", **{
        f: getattr(made, f) for f in ("mask", "params", "buffers", "sizes", "total")
    } | {"model": model})  # fmt: skip
    words = r"wants to call colleague\.net, .*load\(path, model=mine\.net\).*trust=\['mine'\]"
    with pytest.raises(LthError, match=words):
        Ticket.load(path).module()
    asked = Ticket.load(path, model=mlp)
    assert asked.model == model | {"_target_": "tests.toys.mlp"}
    for module in (asked.module(), Ticket.load(path).module(model=mlp),
                   Ticket.load(path).module(model=net)):  # fmt: skip
        assert torch.equal(module.get_parameter("1.weight"), net[1].weight)
    made.save(tmp_path / "mine")
    for trust in ("tests", ["tests.toys"], [mlp], toys):
        assert Ticket.load(tmp_path / "mine", trust=trust).module()
    nested = forged.ticket(tmp_path / "n", model=model | {"classes": forged.spec("os.system")})
    with forged.nothing_runs(), pytest.raises(LthError, match=r"wants to call os\.system"):
        Ticket.load(nested, model=mlp).module()


def test_no_more_memory_is_taken_than_the_file_brings(tmp_path):
    huge = [
        {"_target_": "torch.nn.Linear", "in_features": 10**9, "out_features": 10**9},
        forged.MODEL | {"widths": [10**9, 10**9]}, forged.MODEL | {"widths": [3] * 5000},
        {"_target_": "lth.models.resnet", "input_shape": [3, 8, 8], "classes": 4,
         "blocks": [10**9, 1, 1], "width": 1},
    ]  # fmt: skip
    for model in huge:
        ticket = Ticket.load(forged.ticket(tmp_path / "t", model=model))
        with pytest.raises(LthError) as caught:
            ticket.module()
        assert "\n" not in str(caught.value), model


# --- a study's folder ----------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path):
    return toys.run_study(
        data=functools.partial(toys.blobs, validation=40),
        model={"_target_": "lth.models.lenet", "widths": [6, 5]}, logger="none",
        recipe={"steps": 6, "batch": 20, "eval_every": 6}, trials=1, levels=1,
        arms=["winning_ticket"], out=str(tmp_path / "out"), trainer={"workers": 0},
    )  # fmt: skip


def set_config(study, key, value):
    path = study.folder / "config.yaml"
    config = OmegaConf.to_container(OmegaConf.load(path))
    inner = config
    for part in key[:-1]:
        inner = inner[part]
    inner[key[-1]] = value
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(config)))


def refused(call, words="wants to call"):
    with pytest.raises(LthError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["os.system", "evil_tickets.net", "lth.spec.build.build"])
def test_a_studys_folder_calls_nothing(target, evil, study):
    spec = forged.MODEL | {"init": forged.spec(target)}
    for key in study.members.values():
        forged.entry(study.store.folder(key), lambda about, _: about.update(model=spec))
    for key in (("model",), ("data",), ("recipe", "loss"), ("recipe", "optimizer"), ("search",)):
        set_config(study, key, spec)
    with forged.nothing_runs():
        for opened in (lth.Study(study.folder), lth.Study(study.folder, trust=["tests"])):
            ticket = opened.ticket(level=1)
            assert 0 < ticket.density < 1 and opened.trained(level=1).params
            for call in (ticket.module, ticket.pruned, lambda: opened.network(level=1),  # noqa: B023
                         lambda: Analysis(opened), lambda: layers_of(opened.entry().about["model"]),  # noqa: B023
                         lambda: build(opened.config["recipe"]["loss"]),  # noqa: B023
                         lambda: lth.run(**opened.config)):  # noqa: B023 # fmt: skip
                refused(call)
            refused(lambda: list(Analysis(opened, toys.blobs())))  # noqa: B023
        (source,) = sources([find([str(study.folder)])])
        assert source.weights == ticket.total
    with forged.nothing_runs(but=("subprocess.Popen", "shutil.rmtree")):  # a run's own
        moved = toys.run_study(
            search={"_target_": "lth.pruning.transfer.transferred", "study": str(study.folder)},
            data=functools.partial(toys.blobs, validation=40), logger="none",
            model={"_target_": "lth.models.lenet", "widths": [6, 5]}, trials=1, levels=1,
            recipe={"steps": 4, "batch": 20, "eval_every": 4}, arms=["winning_ticket"],
            out=str(study.folder.parent.parent / "moved"), trainer={"workers": 0},
        )  # fmt: skip
        assert moved.ticket(level=1).density == ticket.density


def test_what_a_run_names_is_trusted_in_what_it_returns(tmp_path):
    settings = {
        "data": functools.partial(toys.blobs, validation=40), "model": mlp, "logger": "none",
        "recipe": {"steps": 6, "batch": 20, "eval_every": 6}, "trials": 1, "levels": 1,
        "arms": {"winning_ticket": {}}, "out": str(tmp_path), "trainer": {"workers": 0},
    }  # fmt: skip
    study = toys.run_study(**settings)
    assert study.ticket(level=1).module() and study.network(level=1)
    opened = lth.Study(study.folder)
    assert opened.ticket(level=1) == study.ticket(level=1)
    refused(
        opened.ticket(level=1).module, r"wants to call tests\.toys\.mlp.*lth\.Study\(folder, trust"
    )
    refused(lambda: opened.network(level=1))
    assert opened.network(level=1, model=mlp) and opened.ticket(level=1).module(model=mlp)
    trusted = lth.Study(study.folder, trust=["tests"])
    assert trusted.network(level=1) and trusted.ticket(level=1).module()


def test_the_network_of_a_study_computes_what_was_measured(study):
    data = toys.blobs()
    for level in (0, 1):
        network = study.network(level=level)
        assert not network.training
        answers = network(data.prepare(data.test_inputs)).argmax(1)
        rows = [r for r in study.records if (r.level, r.split, r.metric, r.step) == (
            level, "test", "accuracy", 6)]  # fmt: skip
        assert rows[0].value == float((answers == data.test_targets).double().mean())


@pytest.mark.parametrize(
    "key", ["../../../precious", "/etc", "..", ".hidden", "a/b", "", "x" * 300]
)
def test_a_key_that_leads_elsewhere_is_refused_and_nothing_removed(key, study, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    path = study.folder / "members.csv"
    text = path.read_text()
    path.write_text(text.replace(next(iter(study.members.values())), key))
    with forged.nothing_runs():
        refused(lambda: lth.Study(study.folder).entry(), r"members\.csv: damaged")
        refused(lambda: study.store.get(key), "no key of the store")
    assert precious.exists()


def broken(study, name, content):
    (study.folder / name).write_bytes(content)
    opened = lth.Study(study.folder)
    return lambda: getattr(opened, name.partition(".")[0])


@pytest.mark.parametrize(("name", "old", "new"), [
    ("members.csv", b"winning_ticket,1,0", b"winning_ticket,0,0"),  # a member twice
    ("members.csv", b"0,0.0012", b"0,nan"), ("members.csv", b"0,0.0012", b"-1,0.0012"),
    ("members.csv", b"key", b"kye"), ("members.csv", b"trial", b"\0\xff"),
    ("records.csv", b"1.0,", b"nan,"), ("records.csv", b",0,0,", b",-1,0,"),
    ("records.csv", b"study", b"\xff"), ("records.csv", b"1.0,", b"7.0,"),
    ("provenance.json", b"{", b"["), ("provenance.json", b"1", b"NaN"),
    ("provenance.json", b"{", b"[" * 100_000), ("config.yaml", b"seed: 0", b"seed: [*x, *x]"),
    ("config.yaml", b"seed: 0", b"seed: !!python/object/apply:os.system [touch x]"),
    ("config.yaml", b"seed: 0", b"a: &x [1]\nseed: [*x, *x]"), ("config.yaml", b"seed", b"\0"),
])  # fmt: skip
def test_a_damaged_file_of_a_study_is_one_line(name, old, new, study):
    content = (study.folder / name).read_bytes()
    assert old in content, content
    with forged.nothing_runs():
        refused(broken(study, name, content.replace(old, new)), rf"{name}: (damaged|not a records)")


def test_a_config_resolves_no_interpolation(study, monkeypatch):
    monkeypatch.setenv("SECRET", "hidden")
    set_config(study, ("name",), "${oc.env:SECRET}")
    assert lth.Study(study.folder).config["name"] == "${oc.env:SECRET}"
    assert json.dumps(lth.Study(study.folder).config)


def test_a_file_cannot_ask_for_more_layers_than_it_has_weights(tmp_path):
    model = {"_target_": "torch.nn.Transformer", "num_encoder_layers": 10**7, "d_model": 8}
    weight = {"x": torch.ones(2)}
    mask = {"x": torch.ones(2, dtype=torch.bool)}
    ticket = Ticket(model=model, mask=mask, params=weight, buffers={}, sizes={"x": 2}, total=2)
    ticket.save(tmp_path / "t.safetensors")
    with pytest.raises(LthError, match="asks for 10,000,000 of something"):
        Ticket.load(tmp_path / "t.safetensors").module()
