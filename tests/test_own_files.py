"""Data of one's own in files, and a validation split of one's own."""

import io
import os
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import lth
from lth import LthError, config, data
from lth.data import from_dataset, image_folder, npz, random_labels, subset, tensors
from lth.data.dataset import split
from lth.data.own import data_of, dataset_of
from lth.data.splits import array_called
from lth.results.compare.studies import fit
from lth.spec.build import build
from lth.streams import stream
from lth.study.setup import prepare
from tests import forged, laws
from tests.test_own_data import Items, items, line
from tests.toys import blobs

R = np.random.RandomState(3)
X, Y = R.randint(0, 256, (60, 1, 4, 4), np.uint8), np.arange(60) % 3
VALID = R.randint(0, 256, (15, 1, 4, 4), np.uint8), np.arange(15) % 3
TEST = R.randint(0, 256, (12, 1, 4, 4), np.uint8), np.arange(12) % 3
OWN = tensors("t", (X, Y), TEST, VALID)


# --- a validation split of one's own -------------------------------------------------------------


def test_it_is_the_same_in_every_trial_and_apart_from_training():
    for trial in range(3):
        train, held_out = split(OWN, stream("split", 0, trial))
        assert torch.equal(OWN.train_inputs[train], torch.tensor(X))
        assert torch.equal(OWN.train_inputs[held_out], torch.tensor(VALID[0]))
        assert OWN.train_targets[held_out].tolist() == VALID[1].tolist()
    assert (OWN.training, OWN.validation, OWN.own_validation) == (60, 15, True)


def test_it_is_not_in_the_constants_and_is_in_the_digest():
    plain = tensors("t", (X, Y), TEST, 15)
    assert OWN.mean == plain.mean and OWN.std == plain.std
    whole = (np.concatenate([X, VALID[0]]), np.concatenate([Y, VALID[1]]))
    drawn = data.Dataset("t", *whole, *TEST, OWN.mean, OWN.std, 3, 15)
    assert len({OWN.digest, plain.digest, drawn.digest}) == 3
    from lth.train.key import data_identity

    assert data_identity(OWN).key not in (data_identity(drawn).key, data_identity(plain).key)
    assert OWN.to("cpu").digest == OWN.digest and OWN.to("cpu").own_validation


def test_altered_data_leave_it_as_it_is():
    for found in (random_labels(OWN), subset(OWN, 20)):
        rows = split(found, stream("split", 0, 0))[1]
        assert torch.equal(found.train_inputs[rows], torch.tensor(VALID[0]))
        assert found.train_targets[rows].tolist() == VALID[1].tolist()
    assert subset(OWN, 20).training == 20 and subset(OWN, 60).digest == OWN.digest
    assert (random_labels(OWN).train_targets[:60] != OWN.train_targets[:60]).any()
    for bad in (0, 61):
        with pytest.raises(lth.LthError, match=r"data\.images=\d+: it must lie in 1\.\.60"):
            subset(OWN, bad)


def own_split():
    whole = blobs()
    cut = [getattr(whole, f"train_{n}") for n in ("inputs", "targets")]
    test = whole.test_inputs, whole.test_targets
    return {"train": [c[:160] for c in cut], "val": [c[160:] for c in cut], "test": test}


def test_a_study_keeps_its_laws_and_early_stop_is_chosen_on_it(tmp_path):
    study, setup = laws.run(out=str(tmp_path), data=own_split, levels=1)
    for law in (*laws.LAWS[:-1], same_split_in_every_trial):
        law(study, setup)
    again = data_of(setup.data, quiet=True)  # as a worker does
    assert again.digest == setup.dataset.digest and again.own_validation
    values = {r.value for r in study.records if (r.split, r.metric) == ("validation", "accuracy")}
    assert all((v * 40).is_integer() for v in values)


def same_split_in_every_trial(study, setup):
    from lth.train.batches import Batches
    from lth.train.job import Streams

    found = [Batches(setup.dataset, Streams(setup.parts.seed, t, 0), 1) for t in range(2)]
    assert found[0].validation.tolist() == found[1].validation.tolist() == list(range(160, 200))
    assert found[0].train.tolist() == list(range(160))


BAD = {
    "shape": ((VALID[0][:, :, :2], VALID[1]), "one of the validation split [1, 2, 4]: make them"),
    "dtype": ((VALID[0] / 2, VALID[1]), "torch.uint8, validation inputs torch.float32: their unit"),
    "class": ((VALID[0], VALID[1] + 1), "t: no training example of class 3"),
    "too few": ((VALID[0], VALID[1][:9]), "t: 15 validation inputs, 9 targets"),
    "empty": ((VALID[0][:0], VALID[1][:0]), "t: 0 validation inputs, 0 targets"),
    "nan": ((VALID[0] * np.nan, VALID[1]), "t: validation_inputs[0] holds nan"),
    "three": ((1, 2, 3), "t: validation is a pair (inputs, targets), not 3 things"),
}


@pytest.mark.parametrize("what", BAD)
def test_one_that_does_not_fit_is_refused_by_its_name(what):
    assert BAD[what][1] in line(lambda: tensors("t", (X, Y), TEST, BAD[what][0]))
    words = "t: validation_targets[2] = 3: the classes are 0..2"
    assert words == line(lambda: tensors("t", (X, Y), TEST, (VALID[0], VALID[1] + 1), classes=3))


def test_examples_that_two_splits_share_are_told_of():
    shared = np.concatenate([VALID[0][:9], X[:6]]), VALID[1]
    with pytest.warns(UserWarning, match="t: 6 of 15 validation examples are training examples"):
        tensors("t", (X, Y), TEST, shared)
    with pytest.warns(UserWarning, match="12 of 12 validation examples are test examples too: no"):
        tensors("t", (X, Y), TEST, TEST)


SETS = {s: Items([(x, int(y)) for x, y in zip(*pair, strict=True)])
        for s, pair in {"train": (X, Y), "validation": VALID, "test": TEST}.items()}  # fmt: skip
GIVEN = {
    "pairs": {"train": (X, Y), "validation": VALID, "test": TEST},
    "other words": {"Training": (X, Y), "val": VALID, "test": TEST},
    "torch": SETS,
    "arrays": {"x_train": X, "y_train": Y, "x_val": VALID[0], "y_val": VALID[1],
               "x_test": TEST[0], "y_test": TEST[1], "seed": 3},
}  # fmt: skip


@pytest.mark.parametrize("what", GIVEN)
def test_a_factory_may_give_it_by_name(what):
    assert dataset_of(GIVEN[what], "data: f").digest == OWN.digest


def test_a_factory_may_say_how_many_and_a_torch_data_set_may_be_one():
    found = dataset_of({"train": (X, Y), "test": TEST, "validation": 7}, "data: f")
    assert found.validation == 7 and not found.own_validation
    own = from_dataset(SETS["train"], SETS["test"], SETS["validation"], name="t")
    assert own.digest == OWN.digest
    words = line(lambda: from_dataset(SETS["train"], SETS["test"], Items(items(9, np.float32))))
    assert "torch.uint8, validation inputs torch.float32" in words
    words = line(lambda: dataset_of({"x_train": X, "y_train": Y, "x_val": X}, "data: f"))
    assert "has no test inputs, no test targets, no validation targets, but x_train, y_tr" in words
    assert "give train and test, or x_train, y_train, x_test, y_test" in words


# --- .npz ---------------------------------------------------------------------------------------

ARRAYS = {"x_train": X, "y_train": Y, "x_test": TEST[0], "y_test": TEST[1]}
HELD = {"x_val": VALID[0], "y_val": VALID[1]}


def saved(folder, name="mine.npz", **arrays):
    path = folder / name
    np.savez_compressed(path, **arrays)
    return str(path)


@pytest.mark.parametrize("words", [
    "X_train Y_train X_test Y_test", "train_x train_y test_x test_y", "xtrain ytrain xtest ytest",
    "train_inputs train_targets test_inputs test_targets", "trainX trainY testX testY",
    "train_images train_labels test_images test_labels", "x_tr y_tr x_te y_te",
    "inputs-train targets-train inputs-test targets-test",
])  # fmt: skip
def test_an_npz_is_read_by_the_usual_names(tmp_path, words):
    names = words.split()
    found = npz(saved(tmp_path, **dict(zip(names, (X, Y, *TEST), strict=True))))
    assert found.train_inputs.dtype == torch.uint8 and found.validation == 6
    assert found.digest == tensors("x", (X, Y), TEST, 6).digest and found.name == "mine"
    assert array_called(names[1]) == ("train", "targets")


def test_numbers_to_predict_are_taken_where_it_is_said(tmp_path):
    inputs, values = torch.randn(30, 4), torch.rand(30)
    np.savez(
        tmp_path / "n.npz", x_train=inputs[:20], y_train=values[:20], x_test=inputs[20:],
        y_test=values[20:],
    )  # fmt: skip
    sets = [TensorDataset(inputs[rows], values[rows]) for rows in (slice(20), slice(20, 30))]
    for found in (npz(tmp_path / "n.npz", classes=0), from_dataset(*sets, classes=0)):
        assert found.classes == 0 and torch.equal(found.train_targets, values[:20, None])
    with pytest.raises(LthError, match=r"for regression say classes=0, as in lth\.data\.tensors"):
        from_dataset(*sets)


def test_its_own_validation_split_is_taken_and_what_is_not_used_is_noted(tmp_path):
    path = saved(tmp_path, **ARRAYS, **HELD, class_names=np.array(["a", "b"]))
    found = npz(path)
    assert found.digest == OWN.digest and found.note == "not used: class_names"
    words = line(lambda: npz(path, validation=5))
    assert words.startswith(f"data.validation=5: {path} has a validation split of its own; leave")
    assert npz(saved(tmp_path, **ARRAYS), validation=5).validation == 5


SHAPES = {  # as a file has them: (inputs of 60, channels=, shape of an example)
    "grey": ((60, 6, 5), None, (1, 6, 5)), "colour last": ((60, 6, 5, 3), None, (3, 6, 5)),
    "one last": ((60, 6, 5, 1), None, (1, 6, 5)), "colour first": ((60, 3, 6, 5), None, (3, 6, 5)),
    "first by word": ((60, 6, 5, 3), "first", (6, 5, 3)), "flat": ((60, 7), None, (7,)),
    "none by word": ((60, 6, 5), "none", (1, 6, 5)), "as it is": ((60, 6, 5), "first", (6, 5)),
    "many last": ((60, 6, 5, 7), "last", (7, 6, 5)), "both": ((60, 3, 3, 3), None, (3, 3, 3)),
}  # fmt: skip


@pytest.mark.parametrize("what", SHAPES)
def test_the_channels_of_pictures_come_first(tmp_path, what):
    shape, channels, wanted = SHAPES[what]
    inputs = R.randint(0, 256, shape, np.uint8)
    path = saved(tmp_path, x_train=inputs, y_train=Y[:, None], x_test=inputs[:12], y_test=Y[:12])
    found = npz(path, channels=channels)
    assert found.input_shape == wanted and len(found.mean) == wanted[0]
    pixel = found.train_inputs[(7, *[n - 1 for n in wanted])]
    assert int(pixel) == inputs[(7, *[n - 1 for n in shape[1:]])]


def member(content, name="x_train.npy"):
    """A zip archive with this member among good ones."""

    def write(path):
        with zipfile.ZipFile(path, "w") as packed:
            for key, array in ARRAYS.items():
                buffer = io.BytesIO()
                np.save(buffer, array)
                packed.writestr(
                    f"{key}.npy", content if f"{key}.npy" == name else buffer.getvalue()
                )

    return write


def header(text):
    body = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


def pickled(path):
    np.savez(path, **ARRAYS | {"x_train": np.array([{"a": 1}] * 60, dtype=object)})


def cut(path):
    np.savez_compressed(path, **ARRAYS)
    path.write_bytes(path.read_bytes()[:-40])


def spoilt(path):
    np.savez_compressed(path, **ARRAYS)
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)


HOSTILE = {
    "empty": (lambda p: p.write_bytes(b""), "not an .npz file, which np.savez writes"),
    "text": (lambda p: p.write_text("x,y\n1,2"), "not an .npz file, which np.savez writes"),
    "one array": (lambda p: p.write_bytes(header("{}")), "not an .npz file, which np.savez writes"),
    "folder": (lambda p: p.mkdir(), "not an .npz file, which np.savez writes; for pictures in fol"),
    "pickled": (pickled, "cannot be read (ValueError: Object arrays cannot be loaded when allow_p"),
    "cut": (cut, "not an .npz file"),
    "spoilt": (spoilt, "cannot be read ("),
    "no array": (member(b"hello"), "give numbers"),
    "code": (member(header("__import__('os').system('true')")), "cannot be read ("),
    "huge": (member(header("{'descr': '|u1', 'fortran_order': False, 'shape': (10**14,)}")), "can"),
    "too large": (member(header("{'descr': '|u1', 'fortran_order': False, "
                                "'shape': (90000000000000,)}")), "cannot be read ("),
    "no names": (lambda p: np.savez(p, X, Y), "has no train inputs, no train targets, no test inp"),
    "no test": (lambda p: np.savez(p, x_train=X, y_train=Y), "has no test inputs, no test targets, "
                "but x_train, y_train: name them x_train, y_train, x_test, y_test, and perhaps"),
    "twice": (lambda p: np.savez(p, train_images=X, **ARRAYS), "both the train inputs: keep one"),
    "split names": (lambda p: np.savez(p, train=X, test=Y), "but train, test: name them x_train"),
    "a scalar": (lambda p: np.savez(p, **ARRAYS | {"x_train": np.float64(3)}), "has shape (): one"),
    "objects": (lambda p: np.savez(p, **ARRAYS | {"y_train": np.array(["a"] * 60)}), "give n"),
    "unlike": (lambda p: np.savez(p, **ARRAYS | {"x_test": TEST[0][:, 0]}), "make them alike"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_is_none_is_told_of_in_one_line(tmp_path, what):
    path = tmp_path / "mine.npz"
    write, words = HOSTILE[what]
    write(path)
    with forged.nothing_runs():
        message = line(lambda: npz(path))
    assert words in message and "mine" in message


def test_a_file_that_unpacks_to_more_than_memory_is_refused_unread(tmp_path, monkeypatch):
    path = saved(tmp_path, **ARRAYS)
    monkeypatch.setattr(os, "sysconf", lambda name: 40)
    words = line(lambda: npz(path))
    assert f"{path}: its arrays would take" in words and words.endswith("keep fewer examples")


PATHS = {
    "": (None, "data.path: name the file, such as data.path=mine.npz"),
    "nowhere": ("no/such.npz", "data.path=no/such.npz: no such file (looked from "),
    "number": (3, "data.path=3: the file is named by text, such as mine.npz"),
    "null byte": ("a\0b", "data.path=a\0b: "),
}


@pytest.mark.parametrize("what", PATHS)
def test_a_path_that_is_none_is_told_of(what):
    assert line(lambda: npz(PATHS[what][0])).startswith(PATHS[what][1])
    words = PATHS[what][1].replace("file", "folder").replace("mine.npz", "pictures")
    assert line(lambda: image_folder(PATHS[what][0])).startswith(words.split(":")[0])


def test_where_a_file_lies_is_not_part_of_what_a_study_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(path):
        data = {"_target_": "lth.data.npz", "path": path}
        recipe = {"steps": 4, "batch": 8, "eval_every": 4}
        return laws.run(out="out", trials=1, levels=1, data=data, recipe=recipe)[0]

    saved(tmp_path, **ARRAYS)
    first = run("mine.npz")
    assert first.provenance["trained"] == 3
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # matplotlib has looked into it by now
    os.rename("mine.npz", "home/moved.npz")
    again = run("~/moved.npz")
    assert again.id == first.id and again.provenance["trained"] == 0
    saved(tmp_path, **ARRAYS | {"y_train": Y[::-1]})
    other = run("mine.npz")
    assert other.id != first.id and other.provenance["trained"] == 3
    assert fit([again, first]) == []
    with pytest.raises(lth.LthError, match="its data hold others than those of"):
        fit([first, other])


# --- folders of pictures -------------------------------------------------------------------------


def drawn(folder, tree, mode="RGB", size=(5, 4)):
    """Write so many noise pictures into each folder: ``{"train/cat": 3}``."""
    for place, count in tree.items():
        for i in range(count):
            path = folder / place / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (size[1], size[0], len(Image.new(mode, (1, 1)).getbands()))
            pixels = R.randint(0, 256, shape, np.uint8)
            Image.fromarray(pixels[:, :, 0] if shape[2] == 1 else pixels, mode).save(path)
    return folder


TREE = {"train/cat": 6, "train/dog": 5, "test/cat": 2, "test/dog": 3}


@pytest.fixture
def folder(tmp_path):
    return drawn(tmp_path / "pictures", TREE)


def pixels(path):
    return torch.tensor(np.array(Image.open(path))).permute(2, 0, 1)


def test_pictures_are_read_by_class_in_the_order_of_names(folder):
    found = image_folder(str(folder))
    assert found.train_inputs.dtype == torch.uint8 and found.input_shape == (3, 4, 5)
    assert found.train_targets.tolist() == [0] * 6 + [1] * 5
    assert found.test_targets.tolist() == [0] * 2 + [1] * 3 and found.classes == 2
    assert torch.equal(found.train_inputs[7], pixels(folder / "train/dog/1.png"))
    assert torch.equal(found.test_inputs[1], pixels(folder / "test/cat/1.png"))
    assert found.note == "classes: 0 cat, 1 dog" and found.name == "pictures"
    assert found.validation == 1 and image_folder(folder, validation=3).validation == 3


def test_a_val_folder_is_the_validation_split(folder):
    drawn(folder, {"val/dog": 2, "val/cat": 1})
    found = image_folder(folder)
    assert found.own_validation and found.validation == 3 and found.training == 11
    assert found.train_targets[-3:].tolist() == [0, 1, 1]
    assert torch.equal(found.train_inputs[-1], pixels(folder / "val/dog/1.png"))
    words = line(lambda: image_folder(folder, validation=3))
    assert words.startswith(f"data.validation=3: {folder / 'val'} is a validation split of its own")


def test_hidden_files_and_what_is_no_picture_are_left_aside(folder):
    digest = image_folder(folder).digest
    (folder / "train" / ".git").mkdir()
    for name in (".DS_Store", "cat/.hidden.png", "cat/._1.png", "cat/Thumbs.db", "cat/notes.txt"):
        (folder / "train" / name).write_bytes(b"none")
    (folder / "README").write_text("mine")
    assert image_folder(folder).digest == digest


def test_folders_inside_a_class_and_numbers_for_names(tmp_path):
    folder = drawn(tmp_path / "d", {f"{s}/{k}": 1 for s in ("train", "test") for k in range(11)})
    found = image_folder(folder)
    assert found.note.endswith("9 9, 10 10")
    drawn(folder, {"train/3/more": 2})
    assert image_folder(folder).train_targets.tolist().count(3) == 3


MODES = {"1": 1, "L": 1, "LA": 1, "P": 3, "RGB": 3, "RGBA": 3}


@pytest.mark.parametrize("mode", MODES)
def test_pictures_of_every_mode_have_one_or_three_channels(tmp_path, mode):
    folder = drawn(tmp_path / "d", TREE)
    for path in folder.rglob("*.png"):
        Image.open(path).convert(mode).save(path)
    found = image_folder(folder)
    assert found.input_shape == (MODES[mode], 4, 5)
    for colour, channels in (("grey", 1), ("rgb", 3)):
        assert image_folder(folder, colour=colour).input_shape == (channels, 4, 5)
    if mode == "1":
        assert set(found.train_inputs.unique().tolist()) == {0, 255}


def test_a_picture_is_turned_as_its_camera_was_held(tmp_path):
    folder = drawn(tmp_path / "d", TREE)
    for path in folder.rglob("*.png"):
        picture = Image.open(path)
        exif = picture.getexif()
        exif[274] = 6
        picture.resize((40, 30)).save(path.with_suffix(".jpg"), exif=exif)
        path.unlink()
    assert image_folder(folder).input_shape == (3, 40, 30)


def test_pictures_are_resized_where_asked(folder):
    drawn(folder, {"train/cat/large": 1}, size=(50, 40))
    words = line(lambda: image_folder(folder))
    assert "large/0.png is 40 x 50 pixels, " in words and "4 x 5: say data.size=N to res" in words
    assert image_folder(folder, size=6).input_shape == (3, 6, 6)
    found = image_folder(folder, size=(4, 5))
    assert torch.equal(found.train_inputs[0], pixels(folder / "train/cat/0.png"))
    for bad in (0, -1, 2.5, True, "8", [3], [3, 4, 5], [3, None]):
        assert "data.size=" in line(lambda bad=bad: image_folder(folder, size=bad))


def spoil(change):
    def apply(folder):
        change(folder)
        return line(lambda: image_folder(folder))

    return apply


def deep_picture(folder):
    Image.fromarray(R.randint(0, 60000, (4, 5)).astype(np.uint16)).save(folder / "train/cat/9.png")


def val_only(folder):
    os.rename(folder / "test", folder / "val")


def flat(folder):
    for name in ("cat", "dog"):
        os.rename(folder / "train" / name, folder / name)
        for path in (folder / "test" / name).iterdir():
            path.unlink()
        (folder / "test" / name).rmdir()
    (folder / "train").rmdir()
    (folder / "test").rmdir()


def cut_short(folder):
    path = folder / "test/dog/1.png"
    path.write_bytes(path.read_bytes()[:60])


SPOILT = {
    "empty class": (lambda f: (f / "train/emu").mkdir(), "train/emu: no picture in it (png, jpg"),
    "other class": (lambda f: drawn(f, {"test/emu": 1}), "test/emu: train has no such class, but"),
    "corrupt": (lambda f: (f / "train/cat/2.png").write_bytes(b"no picture"), "2.png: cannot be"),
    "cut short": (cut_short, "test/dog/1.png: cannot be read ("),
    "no bytes": (lambda f: (f / "train/cat/2.png").write_bytes(b""), "cat/2.png: cannot be r"),
    "a mix": (lambda f: drawn(f, {"train/dog/g": 1}, "L"), "g/0.png is grey, "),
    "deep": (deep_picture, "9.png: more than eight bits a pixel (mode I;16"),
    "no test": (val_only, "has no test/, but train, val: call val/ test/, and a tenth of train/"),
    "no splits": (flat, "has no train/ and no test/, but cat, dog: lay it out as train/<class>"),
    "two": (lambda f: drawn(f, {"training/cat": 1}), "keep one"),
    "no class": (lambda f: (f / "val").mkdir(), "val: no folder of a class in it: val/<class>"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*which train has")
@pytest.mark.parametrize("what", SPOILT)
def test_a_folder_that_is_none_is_told_of_in_one_line(folder, what):
    change, words = SPOILT[what]
    change(folder)
    message = line(lambda: image_folder(folder))
    assert words in message and message.startswith(str(folder))


def test_a_class_that_the_test_set_lacks_is_told_of(folder):
    drawn(folder, {"train/emu": 1})
    with pytest.warns(UserWarning, match="test: it has no emu, which train has"):
        assert image_folder(folder).classes == 3


def test_huge_pictures_and_too_many_are_refused_unread(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 19)
    assert "0.png: more than 19 pixels: make it smaller first" in line(lambda: image_folder(folder))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(os, "sysconf", lambda name: 20)
    words = line(lambda: image_folder(folder))
    assert "pictures: 16 pictures would take" in words and words.endswith("say a smaller data.size")


def test_a_file_in_the_place_of_a_folder_says_so(tmp_path):
    path = saved(tmp_path, **ARRAYS)
    words = line(lambda: image_folder(path))
    assert words == f"{path}: not a folder; for an .npz file say data=npz"


# --- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["npz", "folder"])
def test_words_that_make_no_sense_are_refused_by_name(tmp_path, name):
    path = saved(tmp_path, **ARRAYS) if name == "npz" else drawn(tmp_path / "d", TREE)
    values = config.load("data", name) | {"path": str(path)}
    assert dataset_of(build(values), "data").train_inputs.dtype == torch.uint8
    for key in set(values) - {"_target_"}:
        message = line(lambda key=key: prepare(config.compose(data=values | {key: "rubbish"})))
        assert key in message or "rubbish" in message
    assert "misspelt" in line(lambda: prepare(config.compose(data=values | {"misspelt": 1})))


def test_a_path_in_the_place_of_a_choice_is_told_the_choice(tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, **ARRAYS)
    words = line(lambda: lth.run(data="mine.npz"))
    assert words == "data=mine.npz: no such choice; a file is data=npz data.path=mine.npz"
    words = line(lambda: lth.run(data="pictures/"))
    assert words.endswith("no such choice; a folder is data=folder data.path=pictures/")
    assert "did you mean mnist?" in line(lambda: lth.run(data="mnits"))


def test_resnet18_is_the_papers_name_for_resnet20():
    assert config.load("model", "resnet18") == config.load("model", "resnet20")
