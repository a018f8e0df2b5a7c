"""search=from_file: tickets of one's own, trained and compared as this study's."""

import pytest
import torch

from lth import LthError, Ticket
from lth.networks import masks
from lth.networks.ticket import draw_state
from lth.pruning.from_file import from_file
from tests.toys import run_study

MODEL = {"_target_": "tests.toys.mlp", "input_shape": [1, 4, 4], "classes": 4, "width": 10}
SETTINGS = {
    "recipe": {"steps": 6, "batch": 20, "eval_every": 6}, "trials": 1, "levels": 1,
    "arms": ["winning_ticket"],
}  # fmt: skip


def parts(seed=9):
    generator = torch.Generator().manual_seed(seed)
    params = draw_state(MODEL, seed).params
    mask = {n: torch.rand(p.shape, generator=generator) < 0.3
            for n, p in params.items() if p.ndim > 1}  # fmt: skip
    return params, mask


@pytest.fixture
def run(tmp_path):
    def call(mask, weights=None, **changes):
        search = {"_target_": "lth.pruning.from_file.from_file", "mask": str(mask)}
        search |= {} if weights is None else {"weights": str(weights)}
        return run_study(tmp_path / "out", **SETTINGS | {"search": search} | changes)

    return call


def starts(study, params, mask, level=1):
    """Whether a level starts from the given weights, under the given mask."""
    ticket = study.ticket(level=level)
    assert all(torch.equal(ticket.mask[n], m) for n, m in mask.items())
    for name, value in masks.apply(params, mask).items():
        assert torch.equal(ticket.start.params[name], value), name
    return True


def test_masks_and_weights_of_torch_save_as_openlth_writes_them(run, tmp_path):
    params, mask = parts()
    torch.save({n: m.float() for n, m in mask.items()}, tmp_path / "mask.pth")
    torch.save({f"module.{n}": p for n, p in params.items()}, tmp_path / "weights.pth")
    study = run(tmp_path / "mask.pth", tmp_path / "weights.pth")
    assert starts(study, params, mask) and study.ticket(level=1).step == 0
    kept = sum(int(m.sum()) for m in mask.values())
    rows = [r for r in study.records if r.level == 1]
    assert {r.density for r in rows} == {kept / (16 * 10 + 10 * 4)}
    alone = run(tmp_path / "mask.pth")  # the mask alone: from where this study rewinds to
    assert starts(alone, alone.ticket(level=0).params, mask)


def test_a_dict_of_torch_prune_is_mask_and_weights(run, tmp_path):
    params, mask = parts()
    torch.save(
        {f"{n}_orig" if n in mask else n: p for n, p in params.items()}
        | {f"{n}_mask": m.float() for n, m in mask.items()},
        tmp_path / "pruned.pt",
    )
    assert starts(run(tmp_path / "pruned.pt"), params, mask)


def test_tickets_and_masks_of_lth_a_file_for_each_place(run, tmp_path):
    made = {}
    for trial in range(2):
        for level in (1, 2):
            params, mask = parts(10 * trial + level)
            made[trial, level] = params, mask
            Ticket(model=MODEL, mask=mask, params=params, buffers={}).save(
                tmp_path / f"t{trial}-l{level}.safetensors"
            )
    study = run(tmp_path / "t{trial}-l{level}.safetensors", trials=2, levels=2)
    for (trial, level), (params, mask) in made.items():
        ticket = study.ticket(trial=trial, level=level)
        assert torch.equal(ticket.start.params["1.weight"], params["1.weight"] * mask["1.weight"])
    masks.save_mask(tmp_path / "m.safetensors", {"1.weight": made[0, 1][1]["1.weight"]})
    alone = run(tmp_path / "m.safetensors")
    assert alone.ticket(level=1).mask["3.weight"].all()  # a layer that it does not name


def test_what_a_file_holds_is_what_its_members_are(run, tmp_path):
    """Another file under the same name is another ticket: nothing of the first is reused."""
    keys = []
    for seed in (1, 2, 1):
        _, mask = parts(seed)
        torch.save({n: m.int() for n, m in mask.items()}, tmp_path / "mask.pth")
        study = run(tmp_path / "mask.pth")
        (key,) = (k for p, k in study.members.items() if p.level == 1)
        keys.append(key)
        assert all(torch.equal(study.ticket(level=1).mask[n], m) for n, m in mask.items())
    assert keys[0] == keys[2] != keys[1]


def save(path, mask=None, **values):
    _, own = parts()
    torch.save(values or (mask if mask is not None else own), path)
    return path


def frozen(path):
    params, mask = parts()
    rest = {"1.weight": torch.ones(10, 16)}
    Ticket(model=MODEL, mask=mask, params=params, buffers={}, frozen=rest).save(path)
    return path


REFUSED = {
    "none there": (lambda p: p / "none.pth", r"none\.pth: no such file"),
    "a folder": (lambda p: p, r"cannot be read"),
    "halves": (lambda p: save(p / "m.pth", {"1.weight": torch.full((10, 16), 0.5)}), "than 0 and"),
    "a layer of no name": (lambda p: save(p / "m.pth", {"9.weight": torch.ones(3)}), "9.weight"),
    "another shape": (lambda p: save(p / "m.pth", {"1.weight": torch.ones(9, 16)}), r"\(9, 16\)"),
    "a bias": (lambda p: save(p / "m.pth", {"1.bias": torch.ones(10)}), "masks 1.bias, which this"),
    "no tensors": (lambda p: save(p / "m.pth", x="text"), "m.pth"),
    "frozen": (lambda p: frozen(p / "t.safetensors"), "its ticket has frozen"),
    "braces": (lambda p: p / "{arm}.pth", "stand for numbers"),
    "rubbish": (lambda p: rubbish(p / "m.safetensors"), r"m\.safetensors: damaged"),
}


def rubbish(path):
    path.write_bytes(b"\x08\0\0\0\0\0\0\0rubbish!")
    return path


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_before_any_work(what, run, tmp_path):
    make, words = REFUSED[what]
    with pytest.raises(LthError, match=words) as caught:
        run(make(tmp_path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_weights_that_do_not_fit_are_refused_before_any_work(run, tmp_path):
    params, mask = parts()
    torch.save(mask, tmp_path / "m.pth")
    for change, words in (
        ({n: p for n, p in params.items() if n != "3.bias"}, r"w\.pth: state: it lacks 3\.bias"),
        (params | {"1.weight": torch.ones(10, 15)}, r"1\.weight has shape \(10, 15\)"),
        ({n: p.double() for n, p in params.items()}, "float64"),
        (params | {"x": torch.ones(1)}, "has no x"),
        ({f"module.{n}" if "1" in n else n: p for n, p in params.items()}, r"has no module\.1"),
    ):
        torch.save(change, tmp_path / "w.pth")
        with pytest.raises(LthError, match=words):
            run(tmp_path / "m.pth", tmp_path / "w.pth")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mask", ["???", "", None, 3])
def test_a_file_must_be_named(mask):
    with pytest.raises(LthError, match=r"search\.mask: name the file"):
        from_file(mask)


def test_weights_that_are_no_numbers_are_refused_before_any_work(run, tmp_path):
    params, mask = parts()
    torch.save(mask, tmp_path / "mask.pth")
    torch.save({n: p * float("nan") for n, p in params.items()}, tmp_path / "weights.pth")
    with pytest.raises(LthError, match="holds values that are no finite numbers"):
        run(tmp_path / "mask.pth", tmp_path / "weights.pth")
    assert not list(tmp_path.rglob("entry.json"))


LENET = {"_target_": "lth.models.lenet", "input_shape": [1, 4, 4], "classes": 4, "widths": [10]}


@pytest.mark.parametrize("field", [{"stretch": 10.0}, {"noise": 3}, {"changes": {"lr": 0.5}}])
def test_what_else_a_ticket_has_is_refused_by_name(field, run, tmp_path):
    params = draw_state(LENET, 0).params
    mask = {n: p > 0 for n, p in params.items() if p.ndim > 1}
    ticket = Ticket(model=LENET, mask=mask, params=params, buffers={}, **field)
    ticket.save(tmp_path / "ticket.safetensors")
    with pytest.raises(LthError, match=f"its ticket has {next(iter(field))}"):
        run(tmp_path / "ticket.safetensors")
