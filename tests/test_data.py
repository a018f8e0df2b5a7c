"""Data sets: official files parsed and checked, splits, augmentation, downloads."""

import functools
import gzip
import hashlib
import http.server
import io
import math
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import pooch
import pytest
import torch
from torch.func import vmap

from lth import data
from lth.data.altered import random_labels, subset
from lth.data.augment import flip_and_crop
from lth.data.cifar import PIXELS
from lth.data.cifar import load as load_cifar
from lth.data.cifar10 import SOURCE as CIFAR10
from lth.data.cifar100 import SOURCE as CIFAR100
from lth.data.mnist import FASHION_MNIST, MNIST
from lth.data.mnist import load as load_mnist
from lth.errors import LthError
from lth.streams import stream
from tests.toys import blobs

REAL = Path(__file__).parents[2] / "shared" / "data"  # lies beside the checkout on some machines
TINY = replace(MNIST, rows={"train": 30, "t10k": 12})
TINY_CIFAR = replace(CIFAR10, rows=(6, 6))
TINY_CIFAR100 = replace(CIFAR100, rows=(30, 6))
FOLDER, RECORD = CIFAR10.folder, 1 + PIXELS


def idx(values):
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.numpy().tobytes()


def fake_mnist(rows=TINY.rows):
    """Contents of the four files, and the (images, labels) in them by part."""
    files, truth = {}, {}
    for part, count in rows.items():
        images = torch.randint(256, (count, 28, 28), generator=stream(part), dtype=torch.uint8)
        labels = torch.arange(count, dtype=torch.uint8) % 10
        files[f"{part}-images-idx3-ubyte"] = idx(images)
        files[f"{part}-labels-idx1-ubyte"] = idx(labels)
        truth[part] = images, labels
    return files, truth


def write_mnist(root, files, packed=True, name="mnist"):
    (root / name).mkdir()
    for file, content in files.items():
        path = root / name / (f"{file}.gz" if packed else file)
        path.write_bytes(gzip.compress(content) if packed else content)
    return root


def fake_cifar(source=TINY_CIFAR):
    """Records of every file of a source; the classes 3, 9, 0, 1, 2, 5 over and over."""
    files, labels = {}, source.labels
    for name in (*source.train, source.test):
        rows = source.rows[name == source.test]
        shape = (rows, labels + PIXELS)
        records = torch.randint(256, shape, generator=stream(name), dtype=torch.uint8)
        records[:, labels - 1] = torch.tensor([3, 9, 0, 1, 2, 5]).repeat(rows // 6)
        files[name] = records
    return files


def write_cifar(root, files, folder=FOLDER):
    (root / folder).mkdir()
    for name, records in files.items():
        (root / folder / name).write_bytes(records.numpy().tobytes())
    return root


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


# --- the official formats -----------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("source", [MNIST, FASHION_MNIST], ids=lambda s: s.name)
def test_idx_files_are_read_as_written(tmp_path, packed, source):
    files, truth = fake_mnist()
    write_mnist(tmp_path, files, packed, source.name)
    found = load_mnist(replace(source, rows=TINY.rows), str(tmp_path), 5)
    assert found.name == source.name and found.note == "local files" and found.classes == 10
    assert found.input_shape == (1, 28, 28) and found.validation == 5
    assert found.train_inputs.dtype == torch.uint8 and found.train_targets.dtype == torch.int64
    assert torch.equal(found.train_inputs[:, 0], truth["train"][0])
    assert torch.equal(found.test_inputs[:, 0], truth["t10k"][0])
    assert found.train_targets.tolist() == truth["train"][1].tolist()
    assert found.test_targets.tolist() == truth["t10k"][1].tolist()


def test_packed_and_unpacked_files_are_the_same_data(tmp_path):
    files, _ = fake_mnist()
    digests = []
    for packed in (True, False):
        root = tmp_path / str(packed)
        root.mkdir()
        digests.append(load_mnist(TINY, str(write_mnist(root, files, packed)), 5).digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (None, "train-images-idx3-ubyte.gz: no such file, packed or unpacked; put the official"),
        (lambda c: c[:-100], "damaged, 23,436 bytes where its header says 23,536; put the offic"),
        (lambda c: c + b"x", "damaged, 23,537 bytes where its header says 23,536"),
        (lambda c: c[:9], "holds 30 x 0 x 0 values, not 30 x 28 x 28"),
        (lambda c: b"", "not an IDX file of this kind (it starts with nothing, not 00000803)"),
        (lambda c: c[4:], "it starts with 0000001e, not 00000803"),
        (lambda c: idx(torch.zeros(29, 28, 28, dtype=torch.uint8)), "holds 29 x 28 x 28 values"),
        (lambda c: idx(torch.zeros(30, dtype=torch.uint8)), "it starts with 00000801"),
    ],
)
def test_a_bad_image_file_is_named_with_its_mend(tmp_path, damage, line):
    files, _ = fake_mnist()
    name = "train-images-idx3-ubyte"
    content = files.pop(name)
    if damage is not None:
        files[name] = damage(content)
    write_mnist(tmp_path, files)
    with pytest.raises(LthError) as error:
        load_mnist(TINY, str(tmp_path), 5)
    message = one_line(error)
    assert line in message and message.startswith(str(tmp_path / "mnist" / f"{name}.gz"))
    assert "put the official mnist files there, or leave out data.root" in message


@pytest.mark.parametrize(
    "damage", [lambda c: c[: len(c) // 2], lambda c: b"no gzip", lambda c: c[:40] + b"xx" + c[42:]]
)
def test_a_bad_archive_is_named(tmp_path, damage):
    write_mnist(tmp_path, fake_mnist()[0])
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(LthError) as error:
        load_mnist(TINY, str(tmp_path), 5)
    assert f"{path}: cannot be read (" in one_line(error)


def test_a_label_out_of_range_is_refused(tmp_path):
    files, _ = fake_mnist()
    files["t10k-labels-idx1-ubyte"] = idx(torch.full((12,), 10, dtype=torch.uint8))
    write_mnist(tmp_path, files)
    with pytest.raises(LthError, match=r"t10k-labels-idx1-ubyte: label 10, not 0\.\.9"):
        load_mnist(TINY, str(tmp_path), 5)


@pytest.mark.parametrize("factory", [data.mnist, data.fashion_mnist])
def test_the_official_number_of_images_is_asked_for(tmp_path, factory):
    write_mnist(tmp_path, fake_mnist()[0], name=factory.__name__)
    with pytest.raises(LthError, match="holds 30 x 28 x 28 values, not 60,000 x 28 x 28"):
        factory(str(tmp_path))


def test_cifar_records_are_read_as_written(tmp_path):
    files = fake_cifar()
    found = load_cifar(TINY_CIFAR, str(write_cifar(tmp_path, files)), 5, flip_and_crop(2))
    assert found.input_shape == (3, 32, 32) and found.train_inputs.dtype == torch.uint8
    assert found.train_targets.tolist() == [3, 9, 0, 1, 2, 5] * 5
    assert found.note == "local files" and found.augment == flip_and_crop(2)
    second = files["data_batch_2.bin"][4]  # row 6 + 4 of the training file
    image = found.train_inputs[10]
    assert image[0, 0, 5] == second[1 + 5] and image[2, 31, 0] == second[1 + 2048 + 31 * 32]
    assert torch.equal(found.test_inputs.flatten(1), files["test_batch.bin"][:, 1:])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda p: p.unlink(), "no such file; put the official cifar-10-batches-bin files there"),
        (lambda p: p.write_bytes(p.read_bytes()[:-1]), "damaged, 18,437 bytes, not 6 records of"),
        (lambda p: p.write_bytes(b"\x0a" * 6 * RECORD), "label 10, not 0..9; put the official"),
    ],
)
def test_a_bad_cifar_file_is_named_with_its_mend(tmp_path, change, line):
    write_cifar(tmp_path, fake_cifar())
    path = tmp_path / FOLDER / "data_batch_3.bin"
    change(path)
    with pytest.raises(LthError) as error:
        load_cifar(TINY_CIFAR, str(tmp_path), 5, None)
    assert one_line(error).startswith(f"{path}: {line}")


def test_cifar_asks_for_the_official_number_of_images(tmp_path):
    write_cifar(tmp_path, fake_cifar())
    with pytest.raises(LthError, match=r"data_batch_1\.bin: damaged, 18,438 bytes, not 10,000 rec"):
        data.cifar10(str(tmp_path))
    write_cifar(tmp_path, fake_cifar(TINY_CIFAR100), CIFAR100.folder)
    with pytest.raises(LthError, match=r"train\.bin: damaged, 92,220 bytes, not 50,000 records of"):
        data.cifar100(str(tmp_path))


def test_cifar100_has_its_fine_classes(tmp_path):
    files = fake_cifar(TINY_CIFAR100)
    files["train.bin"][7, 1] = 99
    write_cifar(tmp_path, files, "cifar-100-binary")
    found = load_cifar(TINY_CIFAR100, str(tmp_path), 5, flip_and_crop(2))
    assert found.name == "cifar100" and found.classes == 100 and found.note == "local files"
    assert found.train_targets.tolist() == files["train.bin"][:, 1].tolist()
    assert found.test_targets.tolist() == [3, 9, 0, 1, 2, 5]
    assert torch.equal(found.train_inputs.flatten(1), files["train.bin"][:, 2:])
    assert torch.equal(found.test_inputs.flatten(1), files["test.bin"][:, 2:])
    path = tmp_path / "cifar-100-binary" / "test.bin"
    path.write_bytes(b"\x00\x64" * (6 * (2 + PIXELS) // 2))
    with pytest.raises(LthError) as error:
        load_cifar(TINY_CIFAR100, str(tmp_path), 5, None)
    assert one_line(error).startswith(f"{path}: label 100, not 0..99; put the official cifar-100-b")


# --- downloads ----------------------------------------------------------------------------------


class Site(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A web site over a folder of ours, a cache of our own, and what was asked of the site."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked = []

    class Counting(Site):
        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

    handler = functools.partial(Counting, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()
        thread.join()


def served_mnist(folder, address):
    files, truth = fake_mnist()
    packed = {name: gzip.compress(content) for name, content in files.items()}
    for name, content in packed.items():
        (folder / f"{name}.gz").write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in packed.items()}
    return replace(TINY, hashes=hashes, mirrors=("http://127.0.0.1:1/", address)), truth


def test_mnist_comes_from_the_mirror_that_answers_and_only_once(site, tmp_path):
    folder, address, asked = site
    source, truth = served_mnist(folder, address)
    found = load_mnist(source, None, 5)
    assert torch.equal(found.train_inputs[:, 0], truth["train"][0])
    assert found.note == "downloaded, hash checked"
    assert (tmp_path / "cache" / "lth" / "mnist" / "train-images-idx3-ubyte.gz").is_file()
    assert sorted(asked) == sorted(f"/{name}.gz" for name in source.hashes)
    assert load_mnist(source, None, 5).digest == found.digest and len(asked) == 4


def test_a_file_with_another_hash_is_refused(site):
    folder, address, _ = site
    source, _ = served_mnist(folder, address)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"other")
    with pytest.raises(LthError) as error:
        load_mnist(source, None, 5)
    message = one_line(error)
    assert message.startswith("cannot download t10k-labels-idx1-ubyte.gz from http://127.0.0.1")
    assert "hash" in message and "data.root" in message


def test_no_network_is_one_line_that_tells_of_data_root(tmp_path, monkeypatch):
    import requests

    def fail(*_, **__):
        raise requests.exceptions.ConnectionError("no route\nto host " + "x" * 500)

    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    monkeypatch.setattr(pooch, "retrieve", fail)
    for factory in (data.mnist, data.fashion_mnist, data.cifar10, data.cifar100):
        with pytest.raises(LthError) as error:
            factory()
        message = one_line(error)
        assert "ConnectionError: no route to host" in message and len(message) < 500
        assert message.endswith("name the folder that holds them in data.root")


@pytest.mark.parametrize("source", [TINY_CIFAR, TINY_CIFAR100], ids=lambda s: s.name)
def test_cifar_is_unpacked_from_the_archive_and_mended_if_damaged(site, tmp_path, source):
    folder, address, asked = site
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, records in fake_cifar(source).items():
            content = records.numpy().tobytes()
            entry = tarfile.TarInfo(f"{source.folder}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    (folder / source.archive).write_bytes(packed.getvalue())
    known = "md5:" + hashlib.md5(packed.getvalue(), usedforsecurity=False).hexdigest()
    source = replace(source, known_hash=known, mirrors=(address,))
    found = load_cifar(source, None, 5, None)
    assert found.note == "downloaded, hash checked"
    pixels = fake_cifar(source)[source.test][:, source.labels :]
    assert torch.equal(found.test_inputs.flatten(1), pixels)

    unpacked = tmp_path / "cache" / "lth" / source.name / f"{source.archive}.untar" / source.folder
    cut = unpacked / source.train[-1]
    cut.write_bytes(b"half")
    with pytest.raises(LthError, match="delete it and run again to download it anew"):
        load_cifar(source, None, 5, None)
    cut.unlink()  # as told
    assert load_cifar(source, None, 5, None).digest == found.digest
    assert asked == [f"/{source.archive}"]


# --- normalisation and splits -------------------------------------------------------------------


def test_normalisation_constants_by_hand():
    inputs = torch.tensor([[[[0, 2]], [[7, 7]]], [[[4, 6]], [[7, 7]]]], dtype=torch.uint8)
    found = data.tensors("t", (inputs, torch.tensor([0, 1])), (inputs, torch.tensor([0, 1])), 1)
    assert list(found.mean) == [3.0, 7.0]
    assert list(found.std) == [math.sqrt(5), 1.0]  # no spread: left at x - mean
    assert found.prepare(inputs)[0, 0, 0, 0] == pytest.approx(-3 / math.sqrt(5))


@pytest.mark.parametrize("shape", [(300, 3, 5, 4), (300, 6)])
def test_exact_moments_agree_with_floating_point(shape):
    inputs = torch.randint(256, shape, generator=stream("moments"), dtype=torch.uint8)
    targets = torch.arange(300) % 4
    exact, floating = (
        data.tensors("t", (x, targets), (x, targets), 5) for x in (inputs, inputs.float())
    )
    assert len(exact.mean) == shape[1] and exact.classes == 4
    assert exact.mean == pytest.approx(floating.mean, rel=1e-12)
    assert exact.std == pytest.approx(floating.std, rel=1e-12)


def test_float_constants_do_not_depend_on_the_number_of_threads():
    inputs = torch.rand(4000, 1, 12, 12, generator=stream("threads"))
    targets, threads, digests = torch.arange(4000) % 3, torch.get_num_threads(), set()
    try:
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            digests.add(data.tensors("t", (inputs, targets), (inputs, targets), 5).digest)
    finally:
        torch.set_num_threads(threads)
    assert len(digests) == 1


def blank(rows, validation):
    inputs, targets = torch.zeros(rows, 1, dtype=torch.uint8), torch.arange(rows) % 10
    return data.tensors("blank", (inputs, targets), (inputs[:10], targets[:10]), validation)


def test_splits_are_disjoint_and_together_everything():
    dataset = blank(1000, 83)
    train, validation = data.split(dataset, stream("split", 0, 0))
    assert (len(train), len(validation)) == (917, 83)
    assert sorted(train.tolist() + validation.tolist()) == list(range(1000))
    assert validation.tolist() == sorted(validation.tolist())


def test_splits_follow_the_stream():
    dataset = blank(1000, 83)
    first, again, other = (data.split(dataset, stream("split", 0, t))[1] for t in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("rows", "validation", "expected"),
    [
        (60_000, 5000, "86bac29532c3f212"),
        (50_000, 5000, "479d26b335b23f56"),
        (1397, 200, "adb55e51aa554bc7"),
    ],
)
def test_the_split_is_the_same_on_every_machine(rows, validation, expected):
    train, held_out = data.split(blank(rows, validation), stream("split", 0, 0))
    found = hashlib.sha256(train.numpy().tobytes() + held_out.numpy().tobytes()).hexdigest()
    assert found[:16] == expected


@pytest.mark.parametrize("validation", [0, 1000, -1, True])
def test_a_split_that_leaves_nothing_is_refused(validation):
    with pytest.raises(LthError, match=r"data.validation=.*: it must lie in 1..999"):
        blank(1000, validation)


def test_digits_split_and_content_are_fixed():
    digits = data.digits()
    assert (len(digits.train_targets), len(digits.test_targets)) == (1397, 400)
    assert torch.bincount(digits.test_targets).tolist() == [40] * 10
    assert digits.digest.startswith("e7408ecdd63cfb32")


# --- augmentation -------------------------------------------------------------------------------


def slowly(image, mirror, y, x, padding):
    """Pad, crop and mirror one [C, H, W] image pixel by pixel."""
    _, height, width = image.shape
    out = torch.zeros_like(image)
    for i in range(height):
        for j in range(width):
            row, column = y + i - padding, x + j - padding
            if 0 <= row < height and 0 <= column < width:
                out[:, i, width - 1 - j if mirror else j] = image[:, row, column]
    return out


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("padding", "shape"), [(4, (3, 8, 8)), (1, (1, 5, 7)), (0, (2, 3, 4))])
def test_augmentation_agrees_with_the_slow_way(padding, shape, dtype):
    change, generator = data.flip_and_crop(padding), stream("augment")
    images = torch.randint(1, 256, (40, *shape), generator=generator).to(dtype)
    kept = images.clone()
    draws = change.draw(40, generator)
    found = change(images, draws)
    rows = zip(images, draws.tolist(), strict=True)
    assert torch.equal(found, torch.stack([slowly(image, *row, padding) for image, row in rows]))
    assert found.dtype == dtype and found.is_contiguous() and torch.equal(images, kept)


def test_draws_cover_both_sides_and_every_corner_evenly():
    draws = data.flip_and_crop(2).draw(10_000, stream("draws"))
    assert draws.dtype == torch.int64 and draws.shape == (10_000, 3)
    for column, choices in enumerate((2, 5, 5)):
        shares = torch.bincount(draws[:, column], minlength=choices) / 10_000
        assert len(shares) == choices and (shares - 1 / choices).abs().max() < 0.02
    assert abs(float(torch.corrcoef(draws.double().T)[1, 2])) < 0.05  # y and x are independent


def test_draws_follow_the_stream():
    change = data.flip_and_crop()
    first, again, other = (change.draw(60, stream("augment", step)) for step in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_augmentation_of_a_stack_of_batches():
    change = data.flip_and_crop(1)
    images = torch.randint(256, (3, 6, 2, 4, 4), generator=stream("stack"), dtype=torch.uint8)
    draws = torch.stack([change.draw(6, stream("stack", i)) for i in range(3)])
    alone = torch.stack([change(i, d) for i, d in zip(images, draws, strict=True)])
    assert torch.equal(vmap(change)(images, draws), alone)


def test_the_name_of_an_augmentation_says_its_arguments():
    assert repr(data.flip_and_crop(3)) == "flip_and_crop(padding=3)"


@pytest.mark.parametrize("padding", [-1, 1.5, True, None])
def test_a_padding_that_makes_no_sense_is_refused(padding):
    with pytest.raises(LthError, match=r"padding=.*: it must be a whole number, 0 or more"):
        data.flip_and_crop(padding)


# --- the real files, where they are -------------------------------------------------------------

OFFICIAL = {  # MD5 of the unpacked files, as published
    "train_inputs": ("00000803", "6bbc9ace898e44ae57da46a324031adb"),
    "train_targets": ("00000801", "a25bea736e30d166cdddb491f175f624"),
    "test_inputs": ("00000803", "2646ac647ad5339dbf082846283269ea"),
    "test_targets": ("00000801", "27ae3e4e09519cfbb04c329615203637"),
}


@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="needs MNIST in ../shared/data")
def test_real_mnist():
    found = data.mnist(str(REAL))
    assert (len(found.train_targets), len(found.test_targets)) == (60_000, 10_000)
    for name, (_, known) in OFFICIAL.items():
        values = getattr(found, name).to(torch.uint8)
        content = idx(values.squeeze(1) if values.ndim == 4 else values)
        assert hashlib.md5(content, usedforsecurity=False).hexdigest() == known
    assert found.mean[0] / 255 == pytest.approx(0.1306604762738429, abs=1e-12)
    assert found.std[0] / 255 == pytest.approx(0.30810780385646264, abs=1e-12)
    assert found.train_targets[:5].tolist() == [5, 0, 4, 1, 9]


def test_random_labels_change_training_alone_and_only_that_share():
    clean = blobs()
    whole, again = random_labels(clean), random_labels(clean)
    assert torch.equal(whole.train_targets, again.train_targets)
    assert torch.equal(whole.test_targets, clean.test_targets)
    assert torch.equal(whole.train_inputs, clean.train_inputs)
    agree = (whole.train_targets == clean.train_targets).double().mean()
    assert abs(agree - 0.25) < 0.1  # chance, of four classes
    half = (random_labels(clean, 0.5).train_targets == clean.train_targets).double().mean()
    assert abs(half - 0.625) < 0.1
    assert torch.equal(random_labels(clean, 0).train_targets, clean.train_targets)
    assert len({clean.digest, whole.digest, random_labels(clean, seed=1).digest}) == 3
    with pytest.raises(LthError, match=r"data\.share=2"):
        random_labels(clean, 2)


def test_a_subset_keeps_so_many_images_and_the_constants():
    clean = blobs()
    small = subset(clean, 100)
    assert len(small.train_targets) == 100 and len(small.test_targets) == 60
    assert small.mean == clean.mean and small.digest != clean.digest
    rows = (clean.train_inputs[None] == small.train_inputs[:, None]).flatten(2).all(2)
    assert rows.any(1).all()
    assert torch.equal(small.train_inputs, subset(clean, 100).train_inputs)
    for bad in (40, 201, True):
        with pytest.raises(LthError, match=r"data\.images="):
            subset(clean, bad)
