"""Data that people bring: taken for what it is, or refused in one line that names the row."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import data as torch_data

import lth
from lth.data import Dataset, digits, flip_and_crop, from_dataset, random_labels, subset, tensors
from lth.data.own import data_of, dataset_of
from tests.toys import blobs, mlp, run_study, setup_of

R = np.random.RandomState(0)
X, Y = R.rand(60, 1, 4, 4), np.arange(60) % 3
TEST = R.rand(12, 1, 4, 4), np.arange(12) % 3


def made(inputs=X, targets=Y, test=None, validation=10, **more):
    """A data set of these inputs, its test set their first twelve."""
    test = (inputs[:12], targets[:12]) if test is None else test
    return tensors("t", (inputs, targets), test, validation, **more)


def refused(*args, **more):
    return line(lambda: made(*args, **more))


def line(attempt):
    with pytest.raises(lth.LthError) as caught:
        attempt()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    return message


# --- inputs -------------------------------------------------------------------------------------

FLOATS = {
    "float64": X, "float32": X.astype(np.float32), "float16": X.astype(np.float16),
    "longdouble": X.astype(np.longdouble), "big-endian": X.astype(">f8"), "tensor": torch.tensor(X),
    "bfloat16": torch.tensor(X).bfloat16(), "requires_grad": torch.tensor(X, requires_grad=True),
    "not contiguous": torch.tensor(X).transpose(2, 3), "Fortran": np.asfortranarray(X),
    "backwards": X[::-1], "channels last": torch.tensor(X).to(memory_format=torch.channels_last),
    "parameter": nn.Parameter(torch.tensor(X)), "lists": X.tolist(),
    "int16": (X * 1000).astype(np.int16), "uint16": (X * 1000).astype(np.uint16),
    "int8": (X * 100).astype(np.int8), "uint32": (X * 1000).astype(np.uint32),
    "read-only": np.broadcast_to(X[:1], X.shape),
}  # fmt: skip


@pytest.mark.parametrize("what", FLOATS)
def test_measurements_of_any_dtype_are_normalised_float32(what):
    found = made(FLOATS[what])
    for inputs in (found.train_inputs, found.test_inputs):
        assert type(inputs) is torch.Tensor and inputs.dtype == torch.float32
        assert inputs.is_contiguous() and not inputs.requires_grad
        given = FLOATS[what]
        given = given.detach().float().numpy() if isinstance(given, torch.Tensor) else given
        wanted = torch.tensor(np.array(given, dtype=np.float32))
        assert torch.allclose(inputs, wanted[: len(inputs)])
    prepared = found.prepare(found.train_inputs)
    assert prepared.dtype == torch.float32 and abs(float(prepared.mean())) < 1e-5
    assert mlp((1, 4, 4), 3)(prepared).shape == (60, 3)


def test_booleans_are_pixels():
    found = made(X > 0.5)
    assert found.train_inputs.dtype == torch.uint8
    assert found.mean == pytest.approx([(X > 0.5).mean()])
    assert found.prepare(found.test_inputs).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_whole_numbers_are_tokens_and_pass_as_they_are(dtype):
    tokens = torch.randint(0, 30, (60, 5), generator=torch.Generator().manual_seed(0)).to(dtype)
    by_hand = Dataset("t", tokens, Y, tokens[:9], Y[:9], mean=[0.0], std=[1.0], classes=3,
                      validation=5)  # fmt: skip
    for found in (made(tokens), made(tokens, normalise=False), by_hand, made(tokens).to("cpu")):
        prepared = found.prepare(found.train_inputs[:7])
        assert prepared.dtype == dtype and torch.equal(prepared, tokens[:7])
        assert nn.Embedding(30, 4)(prepared).shape == (7, 5, 4)
    pixels = made(tokens, normalise=True)
    assert pixels.prepare(tokens).dtype == torch.float32
    assert torch.allclose(pixels.prepare(tokens).mean(0), torch.zeros(5), atol=1e-6)


def test_normalisation_can_be_left_out():
    raw = made(X, normalise=False)
    assert torch.equal(raw.prepare(raw.train_inputs), torch.tensor(X, dtype=torch.float32))
    assert raw.digest != made(X).digest
    octets = made((X * 255).astype(np.uint8), normalise=False)
    assert octets.prepare(octets.train_inputs).dtype == torch.int64
    assert "normalise='no'" in refused(normalise="no")


class Tokens(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.embedding, self.head = nn.Embedding(30, 4), nn.Linear(20, classes)

    def forward(self, tokens):
        return self.head(self.embedding(tokens).flatten(1))


def words():
    tokens = torch.randint(0, 30, (60, 5), generator=torch.Generator().manual_seed(0))
    return (tokens, tokens[:, 0] % 3), (tokens[:9], tokens[:9, 0] % 3)


def test_tokens_are_trained_on_and_scored(tmp_path):
    settings = {"model": Tokens, "data": words, "levels": 0, "trials": 1,
                "recipe": {"steps": 4, "batch": 10, "eval_every": 4}}  # fmt: skip
    study = run_study(tmp_path, **settings | {"score": "snip", "levels": 1})
    assert study.config["data"] == {"_target_": "tests.test_own_data.words"}
    flops = [r.value for r in study.records if r.metric == "training_flops" and r.level == 0]
    assert flops == [3 * 2 * 60 * 10 * 4]
    again = run_study(tmp_path / "w", **settings | {"trainer": {"workers": 1, "device": "cpu"}})
    assert again.trained().params["head.weight"].equal(study.trained().params["head.weight"])


def spoilt(row, value, dtype=np.float64):
    inputs = X.astype(dtype)
    inputs[row, 0, 2, 1] = value
    return inputs


BAD_INPUTS = {
    "nan": (spoilt(17, np.nan), r"t: train_inputs[17] holds nan (as float32), 1 rows do"),
    "inf": (spoilt(3, np.inf, np.float16), "t: train_inputs[3] holds inf"),
    "too large": (spoilt(3, 1e300), "t: train_inputs[3] holds inf (as float32)"),
    "complex": (torch.tensor(X) + 1j, "t: train_inputs: a Tensor torch.complex128: give real"),
    "complex array": (X + 1j, "t: train_inputs: an array of complex128: give numbers"),
    "text": (np.full((60, 2), "a"), "t: train_inputs: an array of <U1 ('a', ...): give numbers"),
    "objects": (np.full((60, 2), None), "t: train_inputs: an array of object: give numbers"),
    "ragged": ([[1.0], [1.0, 2.0]], "t: train_inputs: no array of numbers"),
    "masked": (np.ma.masked_array(X, X > 2), "t: train_inputs: a masked array: fill it"),
    "dates": (np.full((60, 2), "2020", "datetime64[Y]"), "an array of datetime64[Y]: give numbers"),
    "sparse": (torch.tensor(X).to_sparse(), "a sparse, nested or quantized Tensor: give a dense"),
    "meta": (torch.zeros(60, 4, device="meta"), "t: train_inputs: a Tensor on the meta device"),
    "flat": (X[:, 0, 0, 0], "t: train_inputs has shape (60,): one row per example, such as x[:, N"),
    "one number": (np.float64(3), "t: train_inputs has shape (): one row per example"),
    "nothing in a row": (np.zeros((60, 0)), "t: train_inputs has shape (60, 0): there is nothing"),
    "no array": ({1: 2}, "t: train_inputs: a dict: give a tensor or an array"),
    "none": (None, "t: train_inputs: a NoneType: give a tensor or an array"),
    "too few": (X[:59], "t: 59 train inputs, 60 targets"),
    "empty": (X[:0], "t: 0 train inputs, 60 targets"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_INPUTS)
def test_inputs_that_are_no_numbers_are_refused_by_name(what):
    inputs, words = BAD_INPUTS[what]
    assert words in refused(inputs, test=TEST)
    by_hand = line(lambda: Dataset("t", inputs, Y, *TEST, [0.0], [1.0], 3, 10))
    assert words in by_hand or what == "empty"


# --- targets ------------------------------------------------------------------------------------

TARGETS = {
    "float": Y.astype(float), "int8": Y.astype(np.int8), "uint8": torch.tensor(Y).to(torch.uint8),
    "column": Y[:, None], "list": Y.tolist(), "float16": torch.tensor(Y).half(),
    "requires_grad": torch.tensor(Y, dtype=torch.float32, requires_grad=True), "bool": Y > 0,
}  # fmt: skip


@pytest.mark.parametrize("what", TARGETS)
def test_whole_targets_of_any_dtype_are_classes(what):
    found = made(targets=TARGETS[what], test=(TEST[0], TEST[1] % 2))
    assert found.train_targets.dtype == torch.int64 and found.train_targets.shape == (60,)
    assert found.train_targets.tolist() == [
        int(v) for v in np.ravel(Y > 0 if what == "bool" else Y)
    ]
    assert found.classes == (2 if what == "bool" else 3)


BAD_TARGETS = {
    "regression": (R.rand(60), "t: train_targets[0] = 0.230571: no class"),
    "nan": (np.where(np.arange(60) == 4, np.nan, Y), "t: train_targets[4] = nan: no class"),
    "inf": (np.where(np.arange(60) == 4, np.inf, Y), "t: train_targets[4] = inf: no class"),
    "negative": (Y - 1, "t: train_targets[0] = -1: classes are 0, 1, ...; leave examples without"),
    "from 1": (Y + 1, "t: no training example of class 0, 4 classes up to 3: number them from 0"),
    "a gap": (np.where(Y == 1, 7, Y), "t: no training example of class 1, 3, 4, 5, 6, 8 classes"),
    "huge": (np.where(Y == 1, 10**12, Y), "t: no training example of class 1, 3, 4, 5, 6, "),
    "text": (Y.astype(str), "t: train_targets: an array of <U21 ('0', ...): give numbers"),
    "one-hot": (np.eye(3)[Y], "t: train_targets has shape (60, 3): one class per example, [N]"),
    "per token": (np.zeros((60, 5), int), "of one per token or pixel say how many there are"),
    "per pixel": (np.zeros((60, 4, 4), int), "of one per token or pixel say how many there are"),
    "one": (0, "t: train_targets has shape (): one class per example"),
    "too few": (Y[:59], "t: 60 train inputs, 59 targets"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_TARGETS)
def test_targets_that_are_no_classes_are_refused_by_name(what):
    targets, words = BAD_TARGETS[what]
    assert words in refused(targets=targets, test=TEST)


def test_a_class_that_only_the_test_set_has_is_refused():
    assert "no training example of class 3" in refused(test=(TEST[0], TEST[1] + 1))
    assert made(test=(TEST[0], TEST[1] + 1), classes=5).classes == 5
    found = line(lambda: made(test=(TEST[0], TEST[1] + 1), classes=3))
    assert found == "t: test_targets[2] = 3: the classes are 0..2"
    assert "classes=-1: a whole number from 1, or 0 for regression" in refused(classes=-1)
    assert made(classes=0).outputs == 1  # whole numbers are numbers, too


UNLIKE = {
    "shape": ((TEST[0].repeat(3, 1), TEST[1]), "shape [1, 4, 4], one of the test set [3, 4, 4]"),
    "axes": ((TEST[0][:, 0], TEST[1]), "one of the test set [4, 4]: make them alike"),
    "units": (((TEST[0] * 255).astype(np.uint8), TEST[1]), "float32, test inputs torch.uint8: the"),
    "tokens": ((TEST[0].astype(int), TEST[1]), "float32, test inputs torch.int64: their units"),
    "empty": ((TEST[0][:0], TEST[1][:0]), "t: 0 test inputs, 0 targets"),
    "nan in the test": ((spoilt(5, np.nan)[:12], TEST[1]), "t: test_inputs[5] holds nan"),
    "no pair": (TEST[0], "t: test is a pair (inputs, targets), not ndarray"),
    "three": ((*TEST, 1), "t: test is a pair (inputs, targets), not 3 things"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNLIKE)
def test_a_test_set_of_another_kind_is_refused(what):
    assert UNLIKE[what][1] in refused(test=UNLIKE[what][0])


@pytest.mark.parametrize("validation", [0, 60, -1, True, 0.2, "5", None])
def test_what_validation_must_be_is_said(validation):
    words = (
        r"data.validation=.*: it must (lie|be a whole number) in 1..59: .*held out, to stop earl"
    )
    with pytest.raises(lth.LthError, match=words):
        made(validation=validation)
    assert made(validation=np.int64(5)).validation == 5


@pytest.mark.parametrize(("mean", "std"), [
    ([0.0], [0.0]), ([0.0], [-1.0]), ([float("nan")], [1.0]), ([0.0], [float("inf")]),
    ([0.0, 0.0], [1.0, 1.0]), ([0.0], []), (None, [1.0]), ("x", [1.0]), ([0.0], [[1.0]]),
])  # fmt: skip
def test_constants_that_make_no_sense_are_refused(mean, std):
    words = line(lambda: Dataset("t", X, Y, *TEST, mean, std, 3, 10))
    assert words.startswith(("t: mean", "t: std"))


# --- constant features --------------------------------------------------------------------------

CONSTANTS = {
    "zero": 0.0, "a tenth": 0.1, "large": 1e6 + 0.1, "rounded": 5 + 1e-7 * R.randn(60),
    "small": 1e-30,
}  # fmt: skip


@pytest.mark.parametrize("what", CONSTANTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.uint8])
def test_a_feature_without_spread_is_left_at_its_distance_from_the_mean(what, dtype):
    if dtype in (np.uint8, np.float16) and what not in ("zero", "a tenth"):
        return
    train, test = (R.rand(60, 6) * 200).astype(dtype), (R.rand(12, 6) * 200).astype(dtype)
    train[:, 2] = np.broadcast_to(CONSTANTS[what], 60).astype(dtype)
    test[:, 2] = train[0, 2]
    test[4, 2] = train[0, 2] + dtype(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = made(train, test=(test, TEST[1]))
    assert found.std[2] == 1.0
    prepared = found.prepare(found.test_inputs)[:, 2]
    assert float(prepared[4]) == pytest.approx(1, rel=0.1) and float(prepared[0].abs()) < 0.1


def test_a_constant_channel_is_left_too():
    pictures = np.concatenate([X, np.full_like(X, 0.3)], 1)
    found = made(pictures)
    assert found.std[1] == 1.0 and float(found.prepare(found.test_inputs)[:, 1].abs().max()) < 1e-6


def test_a_small_spread_that_is_one_is_kept_and_a_far_test_value_told_of():
    train = R.randn(60, 3) * 1e-9
    found = made(train, test=(train[:12], TEST[1]))
    assert found.std == pytest.approx(train.std(0).tolist(), rel=1e-5)
    far = train[:12].copy()
    far[7, 1] = 1.0
    with pytest.warns(UserWarning, match=r"t: test_inputs\[7\] lies 1e\+09 standard deviations"):
        made(train, test=(far, TEST[1]))


# --- digests ------------------------------------------------------------------------------------


def test_a_copy_with_other_tensors_has_another_digest():
    clean = digits()
    flipped = dataclasses.replace(clean, train_targets=9 - clean.train_targets)
    blind = dataclasses.replace(clean, test_inputs=clean.test_inputs * 0)
    moved = dataclasses.replace(clean, mean=[0.0])
    assert len({d.digest for d in (clean, flipped, blind, moved)}) == 4
    same = dataclasses.replace(flipped, train_targets=clean.train_targets)
    assert same.digest == clean.digest == clean.to("cpu").digest
    assert dataclasses.replace(clean, note="x", name="y").digest == clean.digest


def test_a_change_in_place_is_another_content():
    for change in (
        lambda d: d.train_targets.add_(1).remainder_(3), lambda d: d.test_inputs[0].zero_(),
        lambda d: d.train_inputs.numpy().__setitem__(0, 7), lambda d: d.test_targets.data.zero_(),
    ):  # fmt: skip
        found = made()
        before = found.digest
        assert before == made().digest
        change(found)
        assert found.digest != before


def test_a_digest_cannot_be_given():
    assert "digest" not in {f.name for f in dataclasses.fields(Dataset)}
    with pytest.raises(TypeError):
        dataclasses.replace(digits(), digest="e7408e")
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits().digest = "e7408e"


def test_a_data_set_is_shown_without_its_tensors():
    shown = "Dataset(digits: 1,397 + 400 examples of shape [1, 8, 8], 10 classes)"
    assert repr(digits()) == shown


# --- augmentation -------------------------------------------------------------------------------


class Odd:
    def __init__(self, change):
        self.change = change

    def draw(self, batch, generator):
        return torch.zeros(batch, 1, dtype=torch.int64)

    def __call__(self, inputs, draws):
        return self.change(inputs)


AUGMENTS = {
    "flat": (flip_and_crop(1), R.rand(60, 6), "augment=flip_and_crop: it fails on inputs of [2"),
    "dtype": (Odd(lambda x: x / 2), (X * 255).astype(np.uint8), "torch.uint8, it makes [2, 1, 4"),
    "shape": (Odd(lambda x: x[..., 1:]), X, "it makes [2, 1, 4, 3], torch.float32: shape and"),
    "nothing": (Odd(lambda x: None), X, "it makes None: shape and dtype must stay"),
    "no draw": (lambda x: x, X, "data.augment=function: it must be called with a batch, and have"),
}  # fmt: skip


def augmented(what):
    return made(AUGMENTS[what][1], augment=AUGMENTS[what][0])


@pytest.mark.parametrize("what", AUGMENTS)
def test_an_augmentation_that_fails_is_refused_before_any_work(what):
    data = {"_target_": "tests.test_own_data.augmented", "what": what}
    recipe = {"steps": 4, "batch": 20, "eval_every": 4}
    assert AUGMENTS[what][2] in line(lambda: setup_of("out", recipe=recipe, data=data))


# --- what a factory may give --------------------------------------------------------------------


class Items(torch_data.Dataset):
    """A map-style data set of these items."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, row):
        return self.items[row]


class Stream(torch_data.IterableDataset):
    def __iter__(self):
        return iter([])


class Noisy(Items):
    def __getitem__(self, row):
        inputs, target = self.items[row]
        return torch.as_tensor(inputs) + torch.rand(1), target


class Failing(Items):
    def __getitem__(self, row):
        return self.items[row] if row != 7 else 1 / 0


class Picture:
    """What of a PIL picture is used."""

    def __init__(self, pixels, mode):
        self.pixels, self.mode = pixels, mode

    def getbands(self):
        return tuple(self.mode)

    def convert(self, mode):
        return Picture(np.repeat(self.pixels[..., None], 3, -1), mode)

    def __array__(self, dtype=None, copy=None):
        return self.pixels


def items(count, kind=np.asarray):
    return [(kind(x), int(y)) for x, y in zip(X[:count], Y[:count], strict=True)]


WHOLE = tensors("data", (X, Y), (X[:12], Y[:12]), 6)
GIVEN = {
    "Dataset": lambda: WHOLE,
    "pairs": lambda: ((X, Y), (X[:12], Y[:12])),
    "lists of tensors": lambda: [[torch.tensor(X), torch.tensor(Y)], [X[:12], Y[:12].tolist()]],
    "four": lambda: (X, Y, X[:12], Y[:12]),
    "four as scikit-learn's": lambda: (X, X[:12], Y, Y[:12]),
    "four of one length": lambda: (X[:12], X[:12], Y[:12], Y[:12]),
    "named": lambda: {"train": (X, Y), "test": (X[:12], Y[:12])},
    "torch": lambda: (Items(items(60)), Items(items(12))),
    "torch of tensors": lambda: (Items(items(60, torch.tensor)), Items(items(12, torch.tensor))),
    "TensorDataset": lambda: tuple(
        torch_data.TensorDataset(torch.tensor(X[:n]), torch.tensor(Y[:n])) for n in (60, 12)),
    "subset": lambda: (torch_data.Subset(Items(items(60)), range(60)), Items(items(12))),
    "joined": lambda: (torch_data.ConcatDataset([Items(items(60)[:9]), Items(items(60)[9:])]),
                       torch_data.Subset(Items(items(60)), range(12))),
}  # fmt: skip


@pytest.mark.parametrize("what", GIVEN)
def test_what_a_factory_gives_becomes_a_data_set(what):
    found = dataset_of(GIVEN[what](), "data: f", "data")
    assert found.digest == WHOLE.digest or what == "four of one length"
    assert found.name in ("data",) and found.validation in (6, 1)


def pair():
    return GIVEN["torch"]()


def whole_numbers():
    return (X.astype(int), Y), (X[:12].astype(int), Y[:12])


def nothing():
    return None


def test_a_study_takes_what_its_data_factory_gives():
    found = setup_of("out", data=pair)
    assert found.dataset.name == "pair" and found.dataset.validation == 6
    again = data_of(found.data, quiet=True)  # as a worker does
    assert again.digest == found.dataset.digest
    words = line(lambda: setup_of("out", data=whole_numbers))
    assert "dtype" in words and "; inputs of torch.int64 pass as they are, as tokens: " in words
    words = line(lambda: setup_of("out", data=nothing))
    assert words.startswith("data: tests.test_own_data.nothing gave no data set but a NoneType: gi")
    noisy = random_labels(pair(), 0.5)
    assert noisy.validation == 6 and subset(pair(), 30).train_inputs.shape == (30, 1, 4, 4)


def test_pictures_become_pixels_channels_first():
    pixels = (X * 255).astype(np.uint8)[:, 0]
    grey = [(Picture(p, "L"), int(y)) for p, y in zip(pixels, Y, strict=True)]
    found = from_dataset(Items(grey), Items(grey[:12]), validation=9, name="grey")
    assert found.train_inputs.dtype == torch.uint8 and found.input_shape == (1, 4, 4)
    assert torch.equal(found.train_inputs[:, 0], torch.tensor(pixels))
    assert found.validation == 9 and found.name == "grey"
    colour = np.stack([pixels, pixels // 2, pixels // 3], -1)
    rgb = [(Picture(p, "RGB"), int(y)) for p, y in zip(colour, Y, strict=True)]
    found = from_dataset(Items(rgb), Items(rgb[:12]), augment=flip_and_crop(1))
    assert found.input_shape == (3, 4, 4) and found.validation == 6
    assert torch.equal(found.train_inputs[5, 1], torch.tensor(colour[5, :, :, 1]))
    palette = [(Picture(p, "P"), int(y)) for p, y in zip(pixels, Y, strict=True)]
    assert from_dataset(Items(palette), Items(palette[:12])).input_shape == (3, 4, 4)


GOOD = Items(items(60))
BAD_SETS = {
    "iterable": (Stream(), "is a Stream, which has no items by number"),
    "loader": (torch_data.DataLoader(GOOD), "is a DataLoader: give the data set that it loads"),
    "empty": (Items([]), "is empty"),
    "other shapes": (Items([*items(5), (X[0][:, :2], 1)]), "[5]: its input is [1, 2, 4] of torch"),
    "other dtypes": (Items([*items(5), (X[0].astype(int), 1)]), "[5]: its input is [1, 4, 4] of t"),
    "no target": (Items(list(X)), "[0] is a ndarray: give (input, class)"),
    "three": (Items([(1, 2, 3)] * 60), "[0] is (a int, a int, a int): give (input, class)"),
    "dicts": (Items([{"x": 1}] * 60), "[0] is a dict: give (input, class)"),
    "boxes": (Items([(X[0], {"boxes": []})] * 60), "[0]: its target: a dict: give a tensor or an"),
    "words": (Items([(X[0], "cat")] * 60), "[0]: its target: a str: give a tensor or an array"),
    "at random": (Noisy(items(60)), "[0] is not the same when read twice: it draws at random"),
    "failing": (Failing(items(60)), "[7] cannot be read: ZeroDivisionError: division by zero (te"),
    "not finite": (Items([*items(5), (X[0] * np.nan, 1)]), "train_inputs[5] holds nan"),
    "object": (object(), "is a object, which has no items by number"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_SETS)
def test_a_torch_data_set_that_is_none_is_refused_by_item(what):
    bad, words = BAD_SETS[what]
    assert words in line(lambda: from_dataset(bad, GOOD))


@pytest.mark.parametrize("found", [
    None, 3, {}, X, (X, Y), (X, Y, X), [], GOOD, (GOOD,), (GOOD, GOOD, GOOD), (GOOD, (X, Y)),
    torch.zeros(1000, 1000), (X, Y, X[:12], Y[:11]), {"train": (X, Y)}, list(range(10**5)),
    (i for i in range(2)), blobs, "mnist", ((X, Y), None), (X, (X, Y)),
], ids=lambda v: type(v).__name__)  # fmt: skip
def test_what_is_no_data_set_is_told_what_to_give(found):
    message = line(lambda: dataset_of(found, "data: f"))
    assert "give" in message or "pair" in message
