"""Readers of files, fed with damaged ones: a valid object or one line, and nothing else at all."""

import functools
import json
import random
import resource
import shutil
import warnings

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lth
from lth import LthError, Ticket
from lth.networks import masks
from lth.networks.ticket_check import same
from lth.store.entry import MissingSnapshot
from lth.store.store import Store
from tests import forged, toys

MB = 1 << 10
"""Kilobytes, in which Linux counts a process's memory."""

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=9),
    st.sampled_from([[10**9, 10**9], [-1], {}, [], "../../x", {"_target_": "os.system"}, [[]] * 3,
                     "params/fc1.weight", 10**9, {"a": {"_target_": "evil_tickets.net"}}]),
)  # fmt: skip

BYTES = st.integers(0, 2**62)
"""Where and how bytes are damaged: spread evenly, which hypothesis would not do by itself."""


def mutated(content, seed):
    """Damage bytes here and there; as often as not it is one byte alone."""
    draw, found = random.Random(seed), bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 4])):
        kind = draw.choice(["flip", "flip", "flip", "cut", "insert", "copy", "zero", "length"])
        at, value = draw.randrange(max(1, len(found))), draw.randrange(1, 256)
        if kind == "flip" and found:
            found[at] ^= value
        elif kind == "cut":
            del found[at : None if value > 200 else at + value]
        elif kind == "insert":
            found[at:at] = bytes([value]) * (value % 40)
        elif kind == "copy":
            found[at:at] = found[:value]
        elif kind == "zero":
            found[at : at + value] = bytes(len(found[at : at + value]))
        elif kind == "length":
            found[:8] = draw.randbytes(8)
    return bytes(found)


def changed(draw):
    """Return what changes the description and the tensors of a file before it is signed anew."""

    def change(about, tensors):
        if draw(st.booleans()):
            odd_tensor(draw, tensors)
        replaced(draw, about)

    return change


def replaced(draw, value):
    """Put something odd in the place of one value of plain data, or take it out."""
    places = list(_places(value))
    if not places:
        return
    holder, key = places[draw(st.integers(0, len(places) - 1))]
    kind = draw(st.sampled_from(["odd", "out", "twin", "rename"]))
    if kind == "odd":
        holder[key] = draw(ODD)
    elif kind == "out":
        del holder[key]
    elif isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[draw(st.text(max_size=4))] = holder[key] if kind == "twin" else holder.pop(key)


def _places(value):
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list) and value[key]:
            yield from _places(value[key])


def odd_tensor(draw, tensors):
    """Put another tensor in the place of one, take it out, or add one."""
    name = draw(st.sampled_from(sorted(tensors)))
    kind = draw(st.sampled_from(["none", "shape", "dtype", "nan", "out", "more", "longer"]))
    old = tensors[name]
    if kind == "shape":
        tensors[name] = old.reshape(-1).clone()
    elif kind == "dtype":
        tensors[name] = old.to(draw(st.sampled_from([torch.int64, torch.bool, torch.bfloat16])))
    elif kind == "nan" and old.is_floating_point():
        tensors[name] = torch.full_like(old, torch.nan)
    elif kind == "out":
        del tensors[name]
    elif kind == "more":
        tensors[draw(st.sampled_from(["params/x", "mask/x", "x", "frozen/y"]))] = old.clone()
    elif kind == "longer":
        tensors[name] = torch.cat([old.reshape(-1), old.reshape(-1)])


def fuzz(test):
    """Run a property a hundred times in the suite, and two thousand times behind ``slow``."""
    common = {"deadline": None, "derandomize": True, "database": None,
              "suppress_health_check": list(HealthCheck)}  # fmt: skip

    @functools.wraps(test)
    def run(count, *arguments):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with warnings.catch_warnings(), forged.nothing_runs(but=("shutil.rmtree",)):
            warnings.simplefilter("ignore")
            settings(max_examples=count, **common)(given(st.data())(
                lambda data: test(data.draw, *arguments)))()  # fmt: skip
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * MB

    return run


counts = pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])


@counts
def test_ticket_files(count, tmp_path):
    path, whole = tmp_path / "t", forged.good()
    whole.save(path)
    content = path.read_bytes()

    @fuzz
    def bytes_of(draw):
        path.write_bytes(mutated(content, draw(BYTES)))
        try:
            assert Ticket.load(path) == whole
        except LthError as error:
            assert "\n" not in str(error)

    @fuzz
    def signed(draw):
        try:
            forged.signed(path, changed(draw))
        except (TypeError, ValueError, RuntimeError):
            return  # no safetensors file can say that
        used(lambda: Ticket.load(path))

    bytes_of(count // 2)
    signed(count // 2)


def used(read):
    """Use a ticket as far as one can: it is whole, or refused in one line."""
    try:
        ticket = read()
        assert 0 <= ticket.density <= 1 and repr(ticket)
        assert ticket.start.params.keys() == ticket.params.keys()
        assert all(m.dtype == torch.bool and m.shape == ticket.params[n].shape
                   for n, m in ticket.mask.items())  # fmt: skip
        assert ticket.step >= 0
        ticket.module()
    except LthError as error:
        assert "\n" not in str(error), error


@counts
def test_mask_files(count, tmp_path):
    path, whole = tmp_path / "m", forged.good().mask
    masks.save_mask(path, whole)
    content = path.read_bytes()

    @fuzz
    def bytes_of(draw):
        path.write_bytes(mutated(content, draw(BYTES)))
        try:
            assert same(masks.load_mask(path), whole)
        except LthError as error:
            assert "\n" not in str(error)

    @fuzz
    def old_format(draw):  # it had no checksum: whatever is told of the shapes
        from safetensors.torch import save

        bits = {n: masks.pack(m) for n, m in whole.items()}
        odd_tensor(draw, bits)
        shapes = draw(st.lists(st.text("0123456789,-x", max_size=12), min_size=4, max_size=4))
        names = [*bits, "x", "y", "z"]
        path.write_bytes(save(bits, metadata=dict(zip(names, shapes, strict=False))))
        try:
            found = masks.load_mask(path)
            assert all(m.dtype == torch.bool for m in found.values())
        except LthError as error:
            assert "\n" not in str(error)

    bytes_of(count // 2)
    old_format(count // 2)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return toys.run_study(
        data=functools.partial(toys.blobs, validation=40), rewind={"step": 2}, name="fuzz",
        model={"_target_": "lth.models.lenet", "widths": [6, 5]}, logger="none",
        recipe={"steps": 6, "batch": 20, "eval_every": 6}, trials=1, levels=1,
        arms=["winning_ticket", "freeze", "rigl"], trainer={"workers": 0},
        out=str(tmp_path_factory.mktemp("fuzz") / "out"),
    )  # fmt: skip


def key_of(study, arm, level):
    return next(key for member, key in study.members.items() if member[2:4] == (arm, level))


@counts
@pytest.mark.parametrize("arm", ["winning_ticket", "freeze", "rigl"])
def test_entries_of_the_store(count, arm, study, tmp_path):
    key = key_of(study, arm, 1)
    store, source = Store(tmp_path), study.store.folder(key)
    whole = study.store.get(key)
    files = ["entry.json", "tensors.safetensors"]

    def fresh():
        shutil.rmtree(store.folder(key), ignore_errors=True)
        shutil.copytree(source, store.folder(key))
        return store.folder(key)

    def look(exact):
        entry = store.get(key)
        if entry is None:
            assert not store.folder(key).exists()  # to be trained again
            return
        found = [entry.start, entry.mask, entry.final_mask, entry.frozen]
        found += [entry.measured, entry.curve]
        found += [] if entry.diverged is not None else [entry.final]
        assert len(found) >= 6
        if exact:
            assert entry.about == whole.about and same(entry.start.params, whole.start.params)

    @fuzz
    def bytes_of(draw):
        path = fresh() / draw(st.sampled_from(files))
        path.write_bytes(mutated(path.read_bytes(), draw(BYTES)))
        look(exact=True)

    @fuzz
    def signed(draw):
        try:
            forged.entry(fresh(), changed(draw))
        except (TypeError, ValueError, RuntimeError, KeyError):
            return
        look(exact=False)

    bytes_of(count // 4)
    signed(count // 4)


@counts
def test_states_on_the_way(count, study, tmp_path):
    key = key_of(study, "winning_ticket", 0)
    shutil.copytree(study.store.folder(key), Store(tmp_path).folder(key))
    entry = Store(tmp_path).get(key)
    path = entry.folder / "step-2.safetensors"
    content, whole = path.read_bytes(), entry.at(2)

    @fuzz
    def bytes_of(draw):
        path.write_bytes(mutated(content, draw(BYTES)))
        try:
            assert same(entry.at(2).params, whole.params)
        except MissingSnapshot:
            pass

    @fuzz
    def signed(draw):
        tensors = {f"params/{n}": p for n, p in whole.params.items()}
        odd_tensor(draw, tensors)
        forged.snapshot(path, tensors)
        try:
            found = entry.at(2)
            assert all(p.shape == whole.params[n].shape for n, p in found.params.items())
        except MissingSnapshot:
            pass

    bytes_of(count // 4)
    signed(count // 4)


@counts
def test_partial_entries(count, tmp_path):
    store, key = Store(tmp_path), "ab" * 32
    tensors = {"now/params/w": torch.ones(3), "best/params/w": torch.ones(3),
               "at-2/params/w": torch.ones(3)}  # fmt: skip
    about = {"step": 3, "losses": [0.5], "curve": [[1, "validation", "loss", 0.5]],
             "seconds": 1.0, "snapshots": [2], "best": [0.5, 1]}  # fmt: skip
    store.put_partial(key, tensors, about)
    path = tmp_path / "partial" / f"{key}.safetensors"
    content = path.read_bytes()

    @fuzz
    def bytes_of(draw):
        path.write_bytes(mutated(content, draw(BYTES)))
        found = store.get_partial(key)
        assert found is None or (same(found[0], tensors) and found[1] == about)

    @fuzz
    def signed(draw):
        changed, others = json.loads(json.dumps(about)), dict(tensors)
        odd_tensor(draw, others)
        replaced(draw, changed)
        try:
            store.put_partial(key, others, changed)
        except (ValueError, TypeError, RuntimeError):
            return
        found = store.get_partial(key)
        assert found is None or (type(found[1]["step"]) is int and found[1]["step"] >= 0)

    bytes_of(count // 2)
    signed(count // 2)


@counts
@pytest.mark.parametrize("name", ["config.yaml", "members.csv", "records.csv", "provenance.json"])
def test_files_of_a_study(count, name, study, tmp_path):
    folder = tmp_path / "out" / "studies" / study.id
    shutil.copytree(study.folder, folder)
    content = (folder / name).read_bytes()

    @fuzz
    def bytes_of(draw):
        (folder / name).write_bytes(mutated(content, draw(BYTES)))
        try:
            opened = lth.Study(folder)
            found = getattr(opened, name.partition(".")[0])
            assert isinstance(found, list if name == "records.csv" else dict)
            assert opened.weights is None or opened.weights > 0
            if name == "members.csv":
                assert all(opened.store.folder(k).parent.parent.name == "members"
                           for k in found.values())  # fmt: skip
        except LthError as error:
            assert "\n" not in str(error)

    bytes_of(count // 4)
