"""Tickets from elsewhere and to elsewhere: OpenLTH's files, torch's own pruning, plain states."""

import copy
import io
import json
import pickle
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune

import lth
from lth import LthError, Ticket, load_ticket
from lth.models import lenet, resnet, vgg
from lth.networks import openlth
from lth.networks.ticket import state_of
from tests.toys import SETTINGS, mlp, norm_net

LENET = partial(lenet, input_shape=[1, 4, 4], classes=4, widths=[6, 5])
NETS = {
    "lenet": LENET,
    "resnet": partial(resnet, input_shape=[3, 8, 8], classes=4, depth=14, width=2),
    "vgg": partial(vgg, input_shape=[3, 16, 16], classes=4, depth=13, width=2),
    "one of one's own": partial(mlp, input_shape=[1, 4, 4], classes=4),
}


def ticket(factory=LENET, **changes):
    torch.manual_seed(3)
    net = factory()
    mask = {n: torch.rand_like(p) < 0.4 for n, p in net.named_parameters() if p.ndim > 1}
    return Ticket.from_state(factory, net.state_dict(), mask, **changes)


class Theirs(nn.Module):
    """OpenLTH's mnist_lenet_6_5, by its names (models/mnist_lenet.py)."""

    def __init__(self):
        super().__init__()
        self.fc_layers = nn.ModuleList([nn.Linear(16, 6), nn.Linear(6, 5)])
        self.fc = nn.Linear(5, 4)


@pytest.mark.parametrize("name", NETS)
def test_a_level_of_openlth_round_trips(name, tmp_path):
    made = ticket(NETS[name], step=7)
    made.save_openlth(tmp_path)
    assert load_ticket(tmp_path, NETS[name]) == made  # values beneath the mask and the step too
    mask = torch.load(tmp_path / "mask.pth", weights_only=True)
    assert {m.dtype for m in mask.values()} == {torch.int32}
    report = json.loads((tmp_path / "sparsity_report.json").read_text())
    assert report == {"total": made.total, "unpruned": made.weights}


def test_the_names_are_openlths_own(tmp_path):
    made = ticket()
    made.save_openlth(tmp_path)
    theirs = Theirs()
    theirs.load_state_dict(torch.load(tmp_path / "model_ep0_it0.pth", weights_only=True))
    mask = torch.load(tmp_path / "mask.pth", weights_only=True)
    assert list(mask) == ["fc_layers.0.weight", "fc_layers.1.weight", "fc.weight"]
    assert torch.equal(theirs.fc_layers[1].weight, made.params["fc2.weight"])
    # their ResNet has two blocks a stage at depth 14, their VGG counts poolings as layers
    names = openlth.theirs(NETS["resnet"]().state_dict())
    assert names["stage2.block1.first.conv.weight"] == "blocks.2.conv1.weight"
    assert names["stage3.block2.second.norm.bias"] == "blocks.5.bn2.bias"
    assert names["stage2.block1.shortcut.conv.weight"] == "blocks.2.shortcut.0.weight"
    names = openlth.theirs(NETS["vgg"]().state_dict())
    assert names["conv3.weight"] == "layers.3.conv.weight"  # 64, 64, M, 128
    assert names["norm10.running_var"] == "layers.13.bn.running_var"


def test_a_pruned_models_own_state_and_its_checkpoint(tmp_path):
    made = ticket()
    inner = {n: made.params[o] for o, n in openlth.theirs(made.params).items()}
    masks = {f"mask_{openlth.theirs([n])[n].replace('.', '___')}": m.float()
             for n, m in made.mask.items()}  # fmt: skip
    pruned = {f"model.{n}": t for n, t in inner.items()} | masks
    assert load_ticket(pruned, LENET) == made
    parallel = {f"module.{n}": t for n, t in pruned.items()}
    checkpoint = {"ep": 3, "it": 2, "model_state_dict": parallel, "logger": "train_loss,0,1"}
    torch.save(checkpoint, tmp_path / "checkpoint.pth")
    assert load_ticket(tmp_path / "checkpoint.pth", LENET) == made


@pytest.mark.parametrize("name", NETS)
def test_torchs_own_pruning_round_trips(name):
    made = ticket(NETS[name])
    module = NETS[name]()
    assert made.to_torch_prune(module) is module and prune.is_pruned(module)
    assert load_ticket(module, NETS[name]) == load_ticket(module.state_dict(), NETS[name]) == made
    with pytest.raises(LthError, match=r"pruned already: .*prune\.remove"):
        made.to_torch_prune(module)


@pytest.mark.parametrize("write", [torch.save, save_file], ids=["torch", "safetensors"])
def test_a_plain_state_is_pruned_where_it_is_zero(write, tmp_path):
    made = ticket(NETS["vgg"])
    state = made.state_dict()
    assert state.keys() == NETS["vgg"]().state_dict().keys()
    write(state, tmp_path / "plain")
    found = load_ticket(tmp_path / "plain", NETS["vgg"])
    assert all(torch.equal(found.mask[n], m) for n, m in made.mask.items())
    assert all(torch.equal(found.params[n], p) for n, p in made.start.params.items())
    assert found.mask.keys() == made.mask.keys()  # norms' zero biases are not weights


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("as_file", [False, True])
def test_a_checkpoint_holds_a_state(key, as_file, tmp_path):
    made = ticket()
    state = {f"net.{n}": v for n, v in made.state_dict().items()}
    checkpoint = {"epoch": 3, key: state, "optimizer": {"lr": 0.1}}
    torch.save(checkpoint, tmp_path / "last.ckpt")
    found = load_ticket(tmp_path / "last.ckpt" if as_file else checkpoint, LENET)
    assert all(torch.equal(found.mask[n], m) for n, m in made.mask.items())


def test_a_tickets_own_file_needs_no_model(tmp_path):
    made = ticket(step=3)
    made.save(tmp_path / "t.safetensors")
    assert load_ticket(tmp_path / "t.safetensors") == made
    with pytest.raises(LthError, match="a mask and a step of its own"):
        load_ticket(tmp_path / "t.safetensors", step=2)


WRONG = {
    "no model": (lambda t, d: load_ticket(t.state_dict()), "give the factory, model="),
    "nothing is 0": (lambda t, d: load_ticket(LENET(), LENET), "no weight that can be pruned is 0"),
    "an empty folder": (lambda t, d: load_ticket(d, LENET), r"no level of OpenLTH's: .*mask\.pth"),
    "no such file": (lambda t, d: load_ticket(d / "x.pth", LENET), r"x\.pth: no such file"),
    "another network": (lambda t, d: load_ticket(t, NETS["vgg"]), "tensors by name are needed"),
    "other names": (lambda t, d: load_ticket(Theirs(), NETS["vgg"]), r"has no fc_layers\.0"),
    "biases too many": (
        lambda t, d: load_ticket(biased(), NETS["vgg"]),
        r"no layers\.0\.conv\.bias",
    ),
    "more than the model": (
        lambda t, d: load_ticket(
            {f"net.{n}": v for n, v in t.state_dict().items()} | {"loss.w": torch.ones(2)}, LENET
        ),
        r"its names follow net\. here, beside others: leave loss\.w out",
    ),
    "no values": (
        lambda t, d: load_ticket({n: v.to("meta") for n, v in t.state_dict().items()}, LENET),
        "is on the meta device, which holds no values",
    ),
    "a packed file": (lambda t, d: load_ticket(packed(t, d)), r"t\.lth: .*lth\.unpack reads it"),
}


def biased():
    """Return the state of their VGG, whose convolutions have biases."""
    state = ticket(NETS["vgg"]).state_dict()
    named = {o: state[n] for n, o in openlth.theirs(state).items()}
    return named | {"layers.0.conv.bias": torch.ones(2)}


def packed(made, folder):
    lth.pack(made, folder / "t.lth")
    return folder / "t.lth"


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_a_ticket_is_one_line(what, tmp_path):
    call, words = WRONG[what]
    with pytest.raises(LthError, match=words) as caught:
        call(ticket(), tmp_path)
    assert "\n" not in str(caught.value)


def test_openlth_takes_no_frozen_values_and_no_other_layers(tmp_path):
    made = ticket(partial(norm_net, input_shape=[1, 4, 4], classes=4))
    assert "1.weight" not in made.mask  # a norm's
    frozen = {n: torch.full(m.shape, 0.5) for n, m in made.mask.items()}

    with pytest.raises(LthError, match="frozen at values"):
        replace(made, frozen=frozen).save_openlth(tmp_path)


@pytest.mark.parametrize("kind", ["openlth", "prune", "plain"])
def test_a_study_trains_them_from_files(kind, tmp_path):
    factory = partial(mlp, input_shape=[1, 4, 4], classes=4, width=10)
    made = ticket(factory)
    if kind == "openlth":
        made.save_openlth(tmp_path)
        path = tmp_path / "mask.pth"
    else:
        path = tmp_path / "state.pth"
        state = made.state_dict() if kind == "plain" else made.to_torch_prune(factory())
        torch.save(state if kind == "plain" else state.state_dict(), path)
    search = {"_target_": "lth.pruning.from_file.from_file", "mask": str(path)}
    settings = SETTINGS | {"search": search, "levels": 1, "trials": 1, "out": str(tmp_path / "out")}
    study = lth.run(**settings, progress=False)
    found = study.ticket(level=1)
    assert all(torch.equal(found.mask[n], m) for n, m in made.mask.items())
    if kind != "openlth":  # whose file holds a mask alone
        params = found.start.params
        assert all(torch.equal(params[n], p) for n, p in made.start.params.items())


def test_a_mask_is_a_dict_whose_files_hold_nothing_of_ours():
    mask = ticket().mask
    assert isinstance(mask, dict) and len(repr(mask)) < 400 and "1.weight" in repr(mask)
    assert mask.kept == sum(int(m.sum()) for m in mask.values()) and mask.size > mask.kept
    content = io.BytesIO()
    torch.save({"mask": mask}, content)
    content.seek(0)
    back = torch.load(content, weights_only=True)["mask"]
    for other in (back, copy.deepcopy(mask), pickle.loads(pickle.dumps(mask)), {**mask}):
        assert type(other).__name__ in ("OrderedDict", "dict")
        assert list(other) == list(mask) and all(torch.equal(other[n], mask[n]) for n in mask)


def test_params_are_a_dict_that_shows_itself_in_a_line():
    _, params, _ = ticket()
    assert isinstance(params, dict) and len(repr(params)) < 400
    assert repr(params).startswith("TicketParams(") and "output.bias 4" in repr(params)
    content = io.BytesIO()
    torch.save(params, content)
    content.seek(0)
    back = torch.load(content, weights_only=True)
    for other in (back, copy.deepcopy(params), pickle.loads(pickle.dumps(params))):
        assert type(other).__name__ == "OrderedDict" and list(other) == list(params)


def test_they_show_themselves_in_a_line_and_in_a_table():
    made = ticket(NETS["resnet"])
    for thing in (made, made.net, made.mask, lth.unpack(lth.pack(made))):
        assert len(repr(thing)) < 600 and "\n" not in repr(thing)
    for thing in (made, made.mask, lth.unpack(lth.pack(made))):
        assert "stage1.block1.first.conv.weight" in thing._repr_html_()
        assert len(thing._repr_html_()) < 4000
    assert state_of(made.module()).params.keys() == made.params.keys()
