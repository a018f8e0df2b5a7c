"""What the README tells its reader to type, works."""

import os
import re
import shlex
import subprocess
import sys
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import torch

import lth
from lth import cli, config, models
from lth.study import sweep
from tests.toys import by_hydra

ROOT = Path(__file__).parents[1]
lenet = partial(models.lenet, widths=[20, 10])  # what the pages train, quicker to pack
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
TEXTS = {p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in PAGES} | {
    "ledger": (ROOT / "experiments" / "README.md").read_text(encoding="utf-8"),
    "help": cli.HELP,
}

pytestmark = pytest.mark.usefixtures("one_core")


def commands():
    """Every ``lth ...`` that a page of documentation shows, without its remark."""
    found = []
    for text in TEXTS.values():
        for line in re.findall(r"^(?:    |  |\$ )(lth(?: .*)?)$|`(lth [^`]*)`", text, re.M):
            words = shlex.split(re.split(r"\s{2,}|\s#", "".join(line))[0])
            if "--help" not in words and "--config-dir" not in words:
                found.append(words[1:])
    once = [list(c) for c in dict.fromkeys(map(tuple, found))]  # several pages show the same
    return [c for c in once if all(re.match(r"[\w./]+=|-m$", w) for w in c)]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


def test_there_are_commands_to_test():
    assert len(commands()) > 10


@pytest.mark.parametrize("overrides", [c for c in commands() if "-m" not in c], ids=" ".join)
def test_every_command_composes(overrides):
    if any(word.startswith("tune=") for word in overrides):
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    composed = by_hydra(*sweep.ready(overrides))
    assert composed.get("task") or composed["model"]["_target_"]


SWEEPS = [c for c in commands() if "-m" in c]


@pytest.mark.parametrize("arguments", SWEEPS, ids=" ".join)
def test_every_sweep_has_jobs_and_each_composes(arguments):
    settings = [a for a in sweep.ready(arguments) if a != "-m"]
    if "hydra/sweeper=optuna" in settings:
        return  # what it draws is not known beforehand (tests/test_sweeping.py runs one)
    swept = [s for s in settings if not s.startswith(("hydra/launcher=", "hydra.launcher."))]
    jobs = list(product(*(sweep.values(s) or [s] for s in swept)))
    assert len(jobs) > 1
    for overrides in jobs:
        assert by_hydra(*overrides)["model"]["_target_"]


def test_there_are_sweeps_to_test():
    assert len(SWEEPS) > 2 and any("glob(" in word for c in SWEEPS for word in c)


@pytest.mark.slow  # minutes
@pytest.mark.filterwarnings("ignore:.*cleaning up <Temp")  # wandb's own folders
def test_five_minutes_run_from_the_first_command_to_the_last(tmp_path, monkeypatch, capsys):
    """In one folder, each with what those before it left, sweeps and loggers too; but small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    few = ["trials=1", "levels=1", "trainer.workers=0", "data=digits"]
    ran = []
    for line in next(b for b in blocks("console") if "action=list" in b).splitlines():
        for words in map(shlex.split, re.split(r"\s#", line.removeprefix("$ "))[0].split("&&")):
            steps = 1600 if "experiment=glob(compare/*)" in words else 64
            small = [*few, f"recipe.steps={steps}", f"recipe.eval_every={steps // 4}"]
            monkeypatch.setattr(sys, "argv", words if "--help" in words else [*words, *small])
            cli.main()
            said = capsys.readouterr()
            assert "error" not in said.err and "Traceback" not in said.out + said.err, words
            last = r"reused \d+$|(table|figure): +\S+$|what can be freed$"
            assert "--help" in words or re.search(last, said.out.strip()), (words, said)
            ran.append(words)
    assert len(ran) > 20 and len(list((tmp_path / "out" / "studies").iterdir())) > 15
    assert sum("-m" in words for words in ran) == 3


def test_every_make_target_and_file_that_is_named_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    for name, text in TEXTS.items():
        assert set(re.findall(r"^    make (\w+)", text, re.M)) <= targets, name
        folder = ROOT / "experiments" if name == "ledger" else (ROOT / name).parent
        # pages of the site that it writes itself are checked by its own build
        links = re.findall(r"\]\((?!http|#|(?:\.\./)?generated/)([^)#]+)", text)
        assert not [link for link in links if not (folder / link).exists()], name
    named = re.findall(r"`((?:lth|conf|tests|experiments)/[\w/.]+)`", TEXTS["CONTRIBUTING.md"])
    assert len(named) > 30
    assert not [n for n in named if not (ROOT / n).exists()]


def test_the_python_example_runs(tmp_path, monkeypatch):
    """As it stands, but that its members are small; without a main guard: test_cli.py."""
    example = next(b for b in blocks("python") if "lth.run" in b)
    few = {"recipe": {"steps": 40, "eval_every": 20}, "trainer": {"workers": 0, "device": "cpu"}}
    run = partial(lth.run, **few, progress=False)
    monkeypatch.setattr(lth, "run", lambda model, **said: run(model=lenet, **said))
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(example, found)
    tests = found["tests"]
    assert found["step"] == 0 and 22 <= len(tests) <= 44  # members, at early stop and the end
    assert found["module"](torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_the_data_of_ones_own_is_one_data_set(tmp_path):
    folder = tmp_path / "mydata.py"
    folder.write_text(next(b for b in blocks("python") if "mydata.py" in b))
    done = subprocess.run(
        [sys.executable, "-c", "import mydata; from lth.data.own import data_of; "
         "print(data_of({'_target_': 'mydata.blobs', 'seed': 2}))"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.strip() == "Dataset(blobs: 400 + 100 examples of shape [8], 4 classes)"


def test_every_example_of_a_lightning_loop_runs(tmp_path):
    """One after the other, as its reader goes through them; the first is the file they import."""
    first = TEXT.index("## In your own Lightning loop")
    section = TEXT[first : TEXT.index("\n## ", first + 1)]
    module, *programs = re.findall(r"```python\n(.*?)```", section, re.S)
    (tmp_path / "lit.py").write_text(module)
    assert len(programs) == 5
    for name in ("find_tickets", "KeepMask", "RewindPoint", "PruneDuring", "TicketModule"):
        assert any(f"import {name}" in p or f", {name}" in p for p in programs), name
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(programs)], cwd=tmp_path, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "level 3: density 0.51" in done.stdout and "Tensor" not in done.stdout


def test_the_lightning_module_runs_in_the_whole_framework(tmp_path):
    block = next(b for b in blocks("python") if b.startswith("# mylit.py"))
    (tmp_path / "mylit.py").write_text(block)
    words = next(c for c in commands() if "task=lightning" in c)
    few = ["trials=1", "levels=1", "logger=none", "trainer.max_epochs=2", "rewind.step=3"]
    done = subprocess.run(
        [sys.executable, "-m", "lth", *words, *few], cwd=tmp_path, capture_output=True, text=True,
        timeout=300, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("trained 6 members, reused 0")


def test_the_method_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block = next(b for b in blocks("python") if b.startswith("# shrinking.py"))
    (tmp_path / "shrinking.py").write_text(block.replace("steps=200", "steps=6"))
    monkeypatch.syspath_prepend(str(tmp_path))
    import shrinking

    study = shrinking.study(
        trials=1, levels=2, recipe={"steps": 20, "eval_every": 10}, logger="none", progress=False,
        trainer={"workers": 0, "device": "cpu"}, out=str(tmp_path / "out"), model=lenet,
    )  # fmt: skip
    sys.modules.pop("shrinking")
    winner = study.ticket(level=2)
    mask = shrinking.textbook(study, level=2)
    assert {n: int(m.sum()) for n, m in mask.items()} == {
        n: int(m.sum()) for n, m in winner.mask.items()
    }
    assert {"tuned", "textbook", "mine"} <= {r.arm for r in study.records}


def test_the_loss_and_the_measure_run(tmp_path, monkeypatch):
    block = next(b for b in blocks("python") if b.startswith("# sharp.py"))
    (tmp_path / "sharp.py").write_text(block)
    monkeypatch.syspath_prepend(str(tmp_path))
    import sharp

    from lth.recipe import measures

    named = {"accuracy": measures.accuracy, "confident": sharp.confident}
    study = lth.run(
        recipe={"loss": sharp.sharper, "measures": named, "steps": 20}, trials=1, levels=1,
        trainer={"workers": 0, "device": "cpu"}, out=str(tmp_path / "out"), logger="none",
        progress=False,
    )  # fmt: skip
    sys.modules.pop("sharp")
    shares = [r.value for r in study.records if r.metric == "confident"]
    assert shares and all(0 <= v <= 1 for v in shares)


def test_the_extensions_run(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("".join(b for b in blocks("python") if "mine.py" in b))
    folder = tmp_path / "own" / "model"
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text(blocks("yaml")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "mine", None)  # so that it is forgotten afterwards
    del sys.modules["mine"]
    import mine

    study = lth.run(
        score=mine.least_moved, arms=["winning_ticket", mine.sign_only], model=mine.tiny,
        trials=1, levels=2, recipe={"steps": 20}, trainer={"workers": 0, "device": "cpu"},
        out=str(tmp_path / "out"), logger="none", progress=False,
    )  # fmt: skip
    assert {p.arm for p in study.members} == {"winning_ticket", "sign_only"}
    assert set(config.choices("model", tmp_path / "own")) == {"tiny"}
    weights = study.ticket(level=1, arm="sign_only").params["1.weight"]
    assert len(weights.unique()) == 3
