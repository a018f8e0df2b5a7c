"""Packed files that are damaged, or made to do harm: one line, no memory taken, nothing run."""

import random
import time
from zlib import crc32

import numpy as np
import pytest
import torch

import lth
from lth import LthError
from lth.files import Damaged
from lth.networks.drawn import draw_state
from lth.networks.net import Net
from lth.packing import file, layout, signs, symbols, unpacked, values
from lth.packing.adaptive import LONGEST, count, text
from lth.packing.coder import HALF, Reader, Recorder
from lth.packing.kinds import Kind, Place
from lth.packing.layout import Layout, code_layout, code_model
from tests import forged
from tests.test_packing import TOY

SMALL = {"_target_": "torch.nn.Linear", "in_features": 6, "out_features": 3}


def small():
    network = torch.nn.Linear(6, 3)
    with torch.no_grad():
        network.weight[:, ::2] = 0.5
    return lth.pack(network, model=SMALL)


def refused(content, said="."):
    with forged.nothing_runs(), pytest.raises(LthError, match=said) as error:
        lth.unpack(content).module()
    assert "\n" not in str(error.value)
    return str(error.value)


def signed(body):
    """A file with this body and the checksum that it must have."""
    return b"LTH\x01" + crc32(body).to_bytes(4, "little") + body


def of(coder):
    return signed(file._whole(len(coder.plain)) + bytes(coder.plain) + coder.coded())


def test_cut_short_anywhere():
    content = small()
    for length in range(len(content)):
        refused(content[:length])


def test_any_bit_turned_round():
    content = small()
    for at in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[at // 8] ^= 1 << at % 8
        refused(bytes(damaged))


def test_longer_than_it_was():
    content = small()
    refused(content + b"\0", "checksum")
    refused(signed(content[8:] + b"\1\2\3\4\5\6\7"), "more than it says")


def test_what_it_is_not(tmp_path):
    refused(b"", "no packed network")
    refused(b"PK\3\4 something else", "no packed network")
    refused(small().replace(b"LTH\x01", b"LTH\x02"), "newer version")
    path = tmp_path / "file.lth"
    path.write_bytes(small()[:-2])
    assert refused(path).startswith(f"{path}: damaged packed network (")
    with pytest.raises(LthError, match="no such packed network"):
        lth.unpack(tmp_path / "none")


@pytest.mark.parametrize("seed", range(60))
def test_noise_with_a_right_checksum(seed):
    """What no writer wrote: it is refused, or it is some network; soon, either way."""
    draw, content = random.Random(seed), small()
    body = bytearray(content[8:])
    for _ in range(draw.choice([1, 1, 2, 8])):
        body[draw.randrange(len(body))] = draw.randrange(256)
    if seed % 5 == 0:
        body = bytearray(draw.randbytes(draw.choice([0, 1, 5, 60, 3000])))
    begun = time.process_time()
    with forged.nothing_runs():
        try:
            lth.unpack(signed(bytes(body))).module()
        except LthError as error:
            assert "\n" not in str(error)
    assert time.process_time() - begun < 5


def header(model, layout=None, own=True):
    """The beginning of a file: of a model, and the tensors that it is said to have."""
    coder = Recorder()
    code_model(coder, model)
    if own:
        code_layout(coder, model, layout)
    else:
        coder.bit(HALF, 0)
        from lth.packing.adaptive import text
        from lth.packing.layout import KNOWN_NAMES

        text(coder, KNOWN_NAMES, layout)
    return coder


@pytest.mark.parametrize("target", ["os.system", "lth.files.write_atomic", "torch.hub.load",
                                    "subprocess.Popen", "lth.models.lenet.initialise"])  # fmt: skip
def test_a_file_that_names_other_code_calls_none_of_it(target):
    model = {"_target_": target, "command": "true"}
    coder = header(model, Layout((), ()), own=True)
    content = of(coder)
    assert "which is not lth's own code" in refused(content)
    nested = {"_target_": "torch.nn.Sequential", "a": {"_target_": target}}
    assert "which is not lth's own code" in refused(of(header(nested, Layout((), ()))))


@pytest.mark.parametrize(
    "layout",
    ['[[["w","float32",[100000,100000]]],[]]', '[[["w","float32",[-1]]],[]]', "[]", "{}", "[[],",
     '[[["w","float32",[1]],["w","float32",[1]]],[]]', '[[["w","os",[1]]],[]]', '[[[3,"a",[]]],[]]',
     '[[["w","float32",["a"]]],[]]', '[[["w",[],[1]]],[]]', '[[["w","float32"]],[]]'],
)  # fmt: skip
def test_tensors_that_cannot_be(layout):
    refused(of(header(SMALL, layout, own=False)))


@pytest.mark.parametrize(
    "more", [{"widths": [1 << 40]}, {"widths": [10**5, 10**5]}, {"widths": [1 << 23] * 3}]
)
def test_a_model_too_large_for_its_file_takes_no_memory(more):
    """The file says that the model itself tells what tensors there are."""
    model = TOY | more
    coder = Recorder()
    code_model(coder, model)
    coder.bit(HALF, 1)
    from lth.packing.adaptive import even
    from lth.packing.layout import own_layout

    layout = own_layout(model)
    even(coder, 16, 0 if layout is None else crc32(layout.text.encode()) & 0xFFFF)
    begun = time.process_time()
    refused(of(coder), "too many numbers|cannot be made here")
    assert time.process_time() - begun < 5


def test_large_tensors_of_one_value_are_taken_as_they_are(monkeypatch):
    """Whoever packs them pays for them: a file of some bytes holds so many numbers at most."""
    monkeypatch.setattr(file, "FREE", 100_000)
    network = torch.nn.Linear(1000, 1000)
    with torch.no_grad():
        network.weight.zero_()
        network.bias.zero_()
    spec = {"_target_": "torch.nn.Linear", "in_features": 1000, "out_features": 1000}
    content = lth.pack(network, model=spec)
    assert 3500 < len(content) < 3700
    assert not lth.unpack(content).net.params["weight"].any()


def test_a_model_that_is_made_otherwise_now(monkeypatch):
    content = small()
    monkeypatch.setattr(
        torch.nn.Linear, "__init__", lambda self, **_: torch.nn.Module.__init__(self)
    )
    refused(content, "makes its model otherwise")


def test_a_chain_of_models_has_an_end():
    model = SMALL
    for _ in range(400):
        model = {"_target_": "torch.nn.Sequential", "a": model}
    coder = Recorder()
    code_model(coder, model)
    coder.bit(HALF, 1)
    refused(of(coder))


PLACE = Place(np.arange(1 << 18), 1 << 18, 1)


@pytest.mark.parametrize(
    "row",
    [
        lambda c: signs.signed(c, signs.MOST + 1, None, PLACE),
        lambda c: symbols._far(c, symbols.PATIENCE, None),
        lambda c: symbols._learnt(c, 9, symbols.PATIENCE, None),
        lambda c: values._learnt(c, Kind("w", "float32", (1 << 18,)), 1 << 18, None),
    ],
    ids=["signs", "far", "symbols", "values"],
)
def test_rows_too_long_for_a_slow_way_are_refused_before_they_are_read(row):
    """Of zeros alone a file of some bytes could ask for gigabytes and minutes."""
    with pytest.raises(Damaged, match="too large to be coded so"):
        row(Reader(b""))


def test_text_too_long_is_refused_on_both_sides():
    coder = Recorder()
    count(coder, LONGEST + 1)
    with pytest.raises(Damaged, match="too long"):
        text(Reader(coder.coded()), "")
    model = {"_target_": "mine.net", "names": "x" * LONGEST}
    with pytest.raises(LthError, match="bytes of text"):
        code_model(Recorder(), model)


MILLION = 1 << 20
HUGE = {
    "recurrent": ("torch.nn.LSTM", {"input_size": 1, "hidden_size": 1, "num_layers": MILLION}),
    "copied": ("torch.nn.Transformer", {"d_model": 4, "nhead": 1, "num_encoder_layers": MILLION}),
    "wide": ("torch.nn.LSTM", {"input_size": 1, "hidden_size": 1, "num_layers": 16 * MILLION}),
    "blocks": ("lth.models.msdnet", {"input_shape": [3, 32, 32], "classes": 10, "layers": MILLION}),
    "listed": ("lth.models.lenet", {"input_shape": [1, 28, 28], "classes": 10,
                                    "widths": [1] * 2000}),
    "narrowed": ("lth.networks.rewrites.narrowed", {
        "keep": {"": [0]},
        "model": {"_target_": "torch.nn.Conv2d", "in_channels": MILLION, "out_channels": 1000,
                  "kernel_size": 1},
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
def test_a_file_of_some_bytes_asks_for_no_huge_model(name, monkeypatch):
    """It kept ``unpack`` busy for minutes, or took gigabytes."""
    made, real = [], torch.nn.Module.__init__

    def counted(self, *given, **named):
        made.append(1)
        real(self, *given, **named)

    monkeypatch.setattr(torch.nn.Module, "__init__", counted)
    monkeypatch.setattr(layout, "MOST_PARTS", 500)
    target, given = HUGE[name]
    coder = Recorder()
    code_model(coder, {"_target_": target, **given})
    coder.bit(HALF, 1)
    refused(of(coder), "its model cannot be made here")
    assert len(made) < layout.MOST_PARTS


def test_a_model_of_many_parts_lists_its_tensors(monkeypatch):
    """What writes a file and what reads it go by the same limit."""
    content = small()
    monkeypatch.setattr(layout, "MOST_PARTS", 1)
    refused(content, "cannot be made here")
    listed = small()
    assert lth.unpack(listed).module()
    monkeypatch.undo()
    assert lth.unpack(listed).module()


def test_a_file_does_not_have_a_network_run_for_minutes(monkeypatch):
    """A narrowed network that does not say which inputs go is run, unit by unit, to see it."""
    for module in (layout, unpacked):
        monkeypatch.setattr(module, "TRIALS", 2000)
    model = {"_target_": "lth.models.resnet", "input_shape": [3, 32, 32], "classes": 10}
    narrow = {"_target_": "lth.networks.rewrites.narrowed", "model": model, "keep": {}}
    params, buffers = draw_state(model, 0)
    content = lth.pack(Net(model=narrow, mask={}, params=params, buffers=buffers))
    refused(content, "to see how the model computes takes too long")
