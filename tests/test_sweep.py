"""What a sweep starts: every choice that a glob names, and never nothing at all."""

import sys

import pytest

from lth import LthError, cli, config
from lth.study.sweep import ready, values


def test_a_glob_reaches_into_the_folders_of_a_group(tmp_path):
    (flag, setting) = ready(["-m", "experiment=glob(compare/*)"])
    names = setting.removeprefix("experiment=").split(",")
    assert flag == "-m"
    assert names == [n for n in config.choices("experiment") if n.startswith("compare/")]
    assert len(names) > 5
    assert values(setting) == [f"experiment={name}" for name in names]
    own = tmp_path / "model"
    own.mkdir()
    (own / "convx.yaml").write_text("_target_: mine.net\n")
    assert ready(["-m", "model=glob(conv*)"], str(tmp_path))[1] == "model=conv2,conv4,conv6,convx"
    assert ready(["-m", "model=glob(conv*,exclude=conv4)"])[1] == "model=conv2,conv6"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("experiment=glob(comapre/*)", "it matches no choice; there are compare/early_bird"),
        ("model=glob(nope*)", "it matches no choice; there are all_conv"),
        ("seed=range(3,3)", "an empty sweep"),
    ],
)
def test_an_empty_sweep_is_refused_by_name(setting, words, tmp_path, monkeypatch, capsys):
    with pytest.raises(LthError, match=r".*") as caught:
        ready(["-m", setting])
    assert str(caught.value).startswith(setting) and words in str(caught.value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lth", "-m", setting])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    err = capsys.readouterr().err
    assert ended.value.code == 1 and err.startswith(f"error: {setting}") and err.count("\n") == 1


def test_settings_may_stand_on_both_sides_of_a_flag():
    given = ["logger=none", "-m", "seed=0,1", "--config-dir", "own", "model=lenet", "--cfg=job"]
    assert ready(given) == [
        "-m", "--config-dir", "own", "--cfg=job", "logger=none", "seed=0,1", "model=lenet",
    ]  # fmt: skip


def test_what_does_not_sweep_stays_as_it_is():
    plain = ["recipe.lr=[1,2]", "name=a b", "levels=[7,13]", "+x=glob(a)", "arms=[a,b"]
    assert ready(["-m", *plain])[1:] == plain
    assert values("seed=0,1") == ["seed=0", "seed=1"] and values("levels=[1]") is None
    assert ready(["seed=range(3,3)"]) == ["seed=range(3,3)"]  # Hydra says that it is no sweep


def test_a_name_in_any_language_needs_no_quotes():
    assert ready(["name=größe 2"]) == ["name='größe 2'"] and ready(["name=a-b"]) == ["name=a-b"]


@pytest.mark.parametrize(
    "path", ["~/mine.npz", "a(1).npz", "a,b.npz", "ünï.npz", "it's.npz", "{a}"]
)
def test_a_path_is_taken_as_it_is_written(path):
    (given,) = ready([f"data.path={path}"])
    assert _value(given) == path
    assert ready(["data.path=my file.npz", "out=o"]) == ["data.path=my file.npz", "out=o"]
    assert ready(["-m", "data.path=a,b"]) == ["-m", "data.path=a,b"]


def _value(setting):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    override = OverridesParser.create().parse_override(setting)
    assert not override.is_sweep_override()
    return override.value()
