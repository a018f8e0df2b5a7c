"""The worked example of CONTRIBUTING.md: one function and one YAML each, held to every law."""

import json
import re
import shlex
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from lth import cli
from lth.networks import masks
from tests import laws, toys

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """What its reader has written: mine.py, and a YAML for each function in it."""
    mine = [b for b in blocks("python") if b.startswith("# mine.py")]
    (tmp_path / "mine.py").write_text("\n\n".join(mine))
    for text in blocks("yaml"):
        path = tmp_path / re.match(r"# (\S+)", text)[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("mine", None)


def test_the_example_names_one_function_and_one_yaml_each(own):
    mine = [b for b in blocks("python") if b.startswith("# mine.py")]
    assert len(mine) == len(blocks("yaml")) == 2
    found = sorted(p.relative_to(own).as_posix() for p in own.rglob("*.yaml"))
    assert found == ["own/arms/flipped.yaml", "own/score/lamp.yaml"]


def test_both_keep_every_law(own):
    score = OmegaConf.to_container(OmegaConf.load(own / "own/score/lamp.yaml"))
    arm = OmegaConf.to_container(OmegaConf.load(own / "own/arms/flipped.yaml"))
    study, setup = laws.run(
        out=str(own / "out"), score=score, prune="globally", arms={"winning_ticket": {}, **arm}
    )
    laws.check(study, setup)
    for level in (1, 2):
        ticket, other = (study.ticket(arm=a, level=level) for a in ("winning_ticket", "flipped"))
        assert all(torch.equal(other.start.params[n], -ticket.start.params[n]) for n in ticket.mask)
    assert masks.kept(ticket.mask) != masks.kept(laws.run(
        out=str(own / "out"), prune="globally")[0].ticket(level=2).mask)  # fmt: skip


def test_its_scores_are_the_formula(own):
    from mine import lamp  # type: ignore[import-not-found]

    weight = torch.tensor([[3.0, -1.0], [2.0, 9.0]])
    mask = torch.tensor([[True, True], [True, False]])
    found = lamp()({"w": weight}, mask={"w": mask})["w"]
    expected = torch.tensor([[1.0, 1 / 14], [4 / 13, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_the_view_is_one(tmp_path, monkeypatch):
    (tmp_path / "ternary.py").write_text(next(b for b in blocks("python") if "ternary.py" in b))
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = replace(toys.ticket(), views={"ternary": {"_target_": "ternary.ternary"}})
    stored = toys.train_member(seen, tmp_path / "store", recipe=toys.recipe(steps=6))
    sys.modules.pop("ternary", None)
    assert stored.final.params["1.weight/level"] != seen.start.params["1.weight/level"]
    for name, mask in seen.mask.items():
        assert not stored.final.params[name][~mask].any()


def test_the_reading_order_is_as_short_as_it_says():
    text = TEXT[TEXT.index("## Reading order") : TEXT.index("## The laws")]
    order, said = re.match(r".*?\n\n(.*?): under ([\d,]+)\nlines", text, re.S).groups()
    paths = [ROOT / name for name in re.findall(r"`(lth/[\w/]+\.py)`", order)]
    assert len(paths) > 3
    lines = sum(len(p.read_text(encoding="utf-8").splitlines()) for p in paths)
    assert lines < int(said.replace(",", "")) <= lines + 100


def test_the_hops_from_the_command_to_the_line_that_prunes_are_there():
    """Each module of the walk imports, or asks for, the next; the last one ranks."""
    text = re.search(r"are four hops:\n(.*?)\.\n", TEXT, re.S)[1]
    cli_py, api_py, *rest = re.findall(r"`(lth/[\w/]+)\.py`", text)
    for first in (cli_py, api_py):
        walk = [first, *rest]
        assert len(walk) - 1 == 4
        for here, there in pairwise(walk):
            module = there.replace("/", ".")
            source = (ROOT / f"{here}.py").read_text(encoding="utf-8")
            assert f"from {module} import" in source or here.endswith("imp"), (here, there)
    loop = (ROOT / "lth" / "imp.py").read_text(encoding="utf-8")
    assert "experiment.prune(scores, mask" in loop  # which is a rule of lth/pruning/rules.py
    order = [
        loop.index(w)
        for w in ("train(tickets)", "turn.score(", "experiment.prune(", "turn.rewind()")
    ]
    assert order == sorted(order)


def test_its_command_runs(own, monkeypatch, capsys):
    line = next(x for x in re.findall(r"^    (lth .*)$", TEXT, re.M) if "--config-dir" in x)
    few = ["trials=1", "levels=1", "recipe.steps=6", "logger=none", "trainer=cpu",
           "trainer.workers=0"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", [*shlex.split(line), *few])
    cli.main()
    assert "trained 3 members" in capsys.readouterr().out
    (about,) = Path("out").glob("studies/*/provenance.json")  # the command as it was given
    assert "--config-dir own " in json.loads(about.read_text(encoding="utf-8"))["command"]
