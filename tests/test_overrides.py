"""Overrides of the command that name another factory, and folders of one's own."""

import sys

import pytest

import lth.cli
from lth.study.overrides import freed, named_by
from lth.study.sweep import ready
from tests.toys import by_hydra


def plain_loss():
    """A loss of its own, which takes no setting."""
    return lambda outputs, targets: outputs.square().mean()


def data(validation=7, n=3):
    """Data of its own, which takes a setting of the preset too."""


def composed(*overrides):
    return freed(by_hydra(*overrides), overrides)


def test_another_factory_gets_no_argument_of_the_preset_that_it_does_not_take():
    here = __name__
    assert by_hydra()["recipe"]["loss"].keys() > {"_target_"}  # the preset has some
    wanted = {"_target_": f"{here}.plain_loss"}
    assert composed(f"recipe.loss._target_={here}.plain_loss")["recipe"]["loss"] == wanted
    given = f"recipe.loss={{_target_: {here}.plain_loss}}"
    assert composed(given)["recipe"]["loss"] == wanted
    found = composed(f"data._target_={here}.data", "+data.n=5")["data"]
    assert found == {"_target_": f"{here}.data", "n": 5, "validation": found["validation"]}
    assert found["validation"] != 7  # what it takes stays as the preset has it


def test_what_a_user_says_and_what_a_preset_names_itself_stays():
    wrong = composed(f"recipe.loss._target_={__name__}.plain_loss", "recipe.loss.label_smoothing=1")
    assert wrong["recipe"]["loss"]["label_smoothing"] == 1  # which is refused, by name
    same = by_hydra()["recipe"]["loss"]
    assert composed(f"recipe.loss._target_={same['_target_']}")["recipe"]["loss"] == same
    arm = composed(f"arms.random_reinit._target_={__name__}.plain_loss")["arms"]["random_reinit"]
    assert set(arm) == {"_target_", "copies"}
    assert composed("recipe.loss._target_=nowhere.at_all")["recipe"]["loss"].keys() == same.keys()


def test_a_mapping_with_a_target_is_a_factory_with_arguments_of_its_own():
    given = "recipe.optimizer={_target_: torch.optim.SGD, momentum: 0.9}"
    assert ready([given]) == [f"++{given}"]
    assert ready(["recipe.measures={}", f"+{given}"]) == ["recipe.measures={}", f"+{given}"]
    found = composed(*ready([given]))["recipe"]["optimizer"]
    assert found["momentum"] == 0.9 and not {"betas", "eps", "amsgrad"} & set(found)


def test_a_study_is_named_after_a_factory_of_ones_own():
    assert named_by(["data._target_=mine.blobs", "trials=2"], "data") == "blobs"
    assert named_by(["data=mnist", "data.of._target_=mine.blobs"], "data") is None


def test_choices_of_ones_own_come_before_the_packages_by_the_command(tmp_path, monkeypatch):
    (tmp_path / "own" / "data").mkdir(parents=True)
    (tmp_path / "own" / "data" / "folder.yaml").write_text("_target_: mine.pictures\nroot: ???\n")
    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lth.cli, "_act", lambda settings, console: seen.append(settings["data"]))
    monkeypatch.setattr(lth.cli.interrupt, "install", lambda: None)
    for flag in (["--config-dir", "own"], ["--config-dir=own"]):
        monkeypatch.setattr(sys, "argv", ["lth", *flag, "data=folder", "data.root=cats"])
        lth.cli.main()
    assert seen == [{"_target_": "mine.pictures", "root": "cats"}] * 2


def test_a_setting_of_a_method_that_is_not_chosen_is_refused_in_words(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lth", "method.fine_tune.repeat=2"])
    monkeypatch.setattr(lth.cli.interrupt, "install", lambda: None)
    with pytest.raises(SystemExit):
        lth.cli.main()
    said = "error: method.fine_tune.repeat: no such setting; none is chosen: method=[fine_tune]"
    assert capsys.readouterr().err.strip() == said
