"""The store: atomic, if-absent, and trusting nothing that is damaged."""

import json
import os
import threading

import pytest
import torch

from lth import LthError
from lth.networks.ticket import State
from lth.store.entry import MissingSnapshot, TrainResult
from lth.store.store import Store

KEY = "ab" + "0" * 62


def state(value=1.0):
    params = {"b.weight": torch.full((2, 3), value), "a.bias": torch.full((3,), -value)}
    return State(params, {"norm.count": torch.tensor(5)})


MASK = {"b.weight": torch.tensor([[True, False, True], [False, True, False]])}


def outcome(value=1.0, **changes):
    start = state(value)
    start.params["b.weight"] *= MASK["b.weight"]
    final = State({n: 2 * p for n, p in start.params.items()}, start.buffers)
    made = {"measured": [(3, "test", "accuracy", 0.1)], "curve": [(0, "test", "loss", 1 / 3)],
            "about": {"step": 0, "steps": 9}, "snapshots": {4: state(4.0)}}  # fmt: skip
    return TrainResult(**{"start": start, "final": final, "mask": MASK} | made | changes)


def same(a, b):
    return list(a) == list(b) and all(torch.equal(a[n], t) for n, t in b.items())


def test_what_is_put_in_comes_out(tmp_path):
    store = Store(tmp_path)
    assert store.get(KEY) is None
    store.publish(KEY, outcome())
    entry = Store(tmp_path).get(KEY)
    assert entry.measured == [(3, "test", "accuracy", 0.1)]
    assert entry.curve == [(0, "test", "loss", 1 / 3)]
    assert entry.diverged is None and entry.about["steps"] == 9
    assert torch.equal(entry.mask["b.weight"], MASK["b.weight"])
    for part in ("start", "final"):
        found, expected = getattr(entry, part), getattr(outcome(), part)
        assert same(found.params, expected.params) and same(found.buffers, expected.buffers)


def test_states_on_the_way_are_kept_and_added(tmp_path):
    entry = Store(tmp_path).publish(KEY, outcome())
    assert same(entry.at(4).params, state(4.0).params)
    assert same(entry.at(0).params, entry.start.params)
    assert entry.has(4) and not entry.has(5)
    with pytest.raises(MissingSnapshot, match="no state at step 5"):
        entry.at(5)
    entry.keep(5, state(5.0))
    assert same(Store(tmp_path).get(KEY).at(5).buffers, state(5.0).buffers)
    path = entry.folder / "step-5.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert not entry.has(5) and entry.has(4)


def test_pruned_weights_take_no_room(tmp_path):
    store = Store(tmp_path)
    sizes = []
    for share in (1.0, 0.01):
        start = State({"w": torch.randn(1000, 100)}, {})
        mask = {"w": torch.rand(1000, 100) < share}
        start.params["w"] *= mask["w"]
        entry = store.publish(
            f"{share}".ljust(64, "0"), TrainResult(start=start, final=start, mask=mask)
        )
        sizes.append((entry.folder / "tensors.safetensors").stat().st_size)
        assert same(entry.final.params, start.params)
    assert sizes[0] > 800_000 and sizes[1] < 25_000


@pytest.mark.parametrize("name", ["tensors.safetensors", "entry.json"])
@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "gone"])
def test_a_damaged_entry_is_found_removed_and_made_again(name, harm, tmp_path):
    store = Store(tmp_path)
    path = store.publish(KEY, outcome()).folder / name
    content = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        path.write_bytes({"cut": content[:-2], "flip": flipped, "empty": b""}[harm])
    with pytest.warns(UserWarning, match="is damaged; its member is trained again"):
        assert store.get(KEY) is None
    assert not store.folder(KEY).exists()
    assert store.publish(KEY, outcome()).measured


def test_an_edited_value_is_not_trusted(tmp_path):
    store = Store(tmp_path)
    path = store.publish(KEY, outcome()).folder / "entry.json"
    about = json.loads(path.read_text())
    about["measured"][0][3] = 0.99
    path.write_text(json.dumps(about))
    with pytest.warns(UserWarning, match="damaged"):
        assert store.get(KEY) is None


def test_whoever_comes_second_goes_on_from_the_stored_bytes(tmp_path):
    first = Store(tmp_path).publish(KEY, outcome(1.0))
    second = Store(tmp_path).publish(KEY, outcome(7.0))
    assert same(second.start.params, first.start.params)
    third = Store(tmp_path).publish(KEY, outcome(7.0), replace=True)
    assert same(third.start.params, outcome(7.0).start.params)


def test_many_writers_leave_one_whole_entry_and_no_litter(tmp_path):
    barrier, found = threading.Barrier(8), []

    def write(value):
        barrier.wait()
        found.append(Store(tmp_path).publish(KEY, outcome(value)))

    threads = [threading.Thread(target=write, args=(float(i),)) for i in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(same(e.start.params, found[0].start.params) for e in found)
    assert [p.name for p in tmp_path.rglob("*") if p.is_dir()] == ["members", "ab", KEY]


def test_a_writer_killed_half_way_leaves_nothing_that_counts(tmp_path, monkeypatch):
    store = Store(tmp_path)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lth.store.store.os.rename", die)
        with pytest.raises(KeyboardInterrupt):
            store.publish(KEY, outcome())
    assert store.get(KEY) is None
    litter = store.folder(KEY).with_name(".left.tmp")  # as after kill -9
    litter.mkdir(parents=True)
    store.sweep()
    assert litter.exists()  # it may belong to a job that runs now
    os.utime(litter, (0, 0))
    store.sweep()
    assert not litter.exists()


def test_a_state_on_the_way_of_a_finished_member_is_swept(tmp_path):
    store, other = Store(tmp_path), "cd" + "0" * 62
    store.publish(KEY, outcome())
    for key in (KEY, other):
        store.put_partial(key, {"x": torch.zeros(3)}, {})
        os.utime(tmp_path / "partial" / f"{key}.safetensors", (0, 0))
    store.sweep()
    assert [p.stem for p in (tmp_path / "partial").iterdir()] == [other]


def test_tensors_that_share_memory_are_kept_each_by_itself(tmp_path):
    store, shared = Store(tmp_path), torch.arange(6.0)
    given = {"a": shared, "b": shared, "c": shared.reshape(2, 3).t()}
    store.put_partial(KEY, given, {"step": 1})
    tensors, _ = store.get_partial(KEY)
    assert same(dict(sorted(tensors.items())), given)


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lth.store.store.write_entry", full)
    with pytest.raises(LthError, match="cannot write the store: No space left on device"):
        Store(tmp_path).publish(KEY, outcome())
    monkeypatch.setattr("lth.store.store.write_atomic", full)
    with pytest.raises(LthError, match="cannot write the store: No space left on device"):
        Store(tmp_path).put_partial(KEY, {"x": torch.zeros(3)}, {})


def test_a_partial_comes_back_whole_or_not_at_all(tmp_path):
    store = Store(tmp_path)
    assert store.get_partial(KEY) is None
    store.put_partial(KEY, {"x": torch.arange(30.0)}, {"step": 3, "losses": [1 / 3]})
    tensors, about = store.get_partial(KEY)
    assert same(tensors, {"x": torch.arange(30.0)}) and about == {"step": 3, "losses": [1 / 3]}
    path = tmp_path / "partial" / f"{KEY}.safetensors"
    whole = path.read_bytes()
    edited = whole.replace(b'\\"step\\": 3', b'\\"step\\": 4')
    assert edited != whole
    for content in (whole[:-1], whole[:-1] + b"\0", edited, b""):
        path.write_bytes(content)
        assert store.get_partial(KEY) is None
    path.write_bytes(whole)
    store.publish(KEY, outcome())
    assert not path.exists()


def test_a_diverged_member_has_no_final_state(tmp_path):
    made = TrainResult(start=outcome().start, final=None, mask=MASK, diverged=4, about={"step": 0})
    entry = Store(tmp_path).publish(KEY, made)
    assert entry.diverged == 4 and entry.start.params
    with pytest.raises(LthError, match="diverged at step 4"):
        _ = entry.final
