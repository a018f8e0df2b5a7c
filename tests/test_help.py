"""``lth --help``, wrapped and whole; ``lth --help NAME``; what a typo may have meant."""

import re
import sys

import pytest

from lth import LthError
from lth.errors import nearest
from lth.help.comments import head, remarks
from lth.help.factory import described
from lth.help.layout import paragraph, rows, terminal_width
from lth.help.overview import HELP, overview
from lth.help.said import sources
from lth.help.topics import topic
from lth.help.words import check_words
from lth.known import GROUPS, all_groups, everywhere
from lth.near import inside, meant
from lth.presets import conf_folder, no_choice, offered
from lth.study.readable import check_readable
from tests.toys import commanded

CHOICES = [(group, name) for group in all_groups() for name in offered(group)]


@pytest.mark.parametrize("width", [40, 60, 80, 110])
def test_the_help_fits_the_terminal_and_lists_every_choice(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    text = overview(terminal_width())
    long = [line for line in text.splitlines() if len(line) > width]
    assert not [line for line in long if not line.startswith("  lth ")]  # to be copied whole
    words = set(re.split(r"[\s/]+", text))
    for group, name in CHOICES:
        assert name.rpartition("/")[2] in words, (group, name)
    for group in ("recipe/optimizer", "recipe/schedule", "method", "experiment=frankle2019/"):
        assert group in text
    assert all(f"{flag}" in text for flag in ("--version", "--multirun", "--traceback"))


def test_what_the_help_shows_is_safe_in_every_shell():
    for line in HELP.splitlines():
        command = re.match(r"  (lth .*?)(?:\s{2,}|$)", line)
        if command:
            assert not set("[]*") & set(re.sub(r"'[^']*'", "", command[1])), line


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_every_choice_says_what_it_is_and_what_it_takes(group, name):
    text = topic(f"{group}={name}", 80)
    first = head(conf_folder() / group / f"{name}.yaml").split()[0]
    assert first in text and len(text.splitlines()) > 2
    spaced = [line for line in text.splitlines() if len(line) > 80 and len(line.split()) > 1]
    assert not spaced


def test_an_arm_is_told_with_its_arguments_their_defaults_and_its_source():
    text = topic("arms.rigl", 100)
    assert text == topic("arms=[rigl]", 100) == topic("rigl", 100)
    assert "Dynamic sparse training" in text and "arms.rigl" in text
    assert re.search(r"fraction=0\.3 +of each layer's kept weights replaced", text)
    assert "Source: Evci et al. 2020, arXiv 1911.11134, Section 3 and Algorithm 1" in text


def test_a_method_is_told_move_by_move():
    text = topic("method.cluster", 100)
    assert re.search(r"bits=4 +or numbers by layer", text) and "method.cluster.moves.0" in text
    assert re.search(r"lth\.moves\.cluster +\(lth/moves/clustering\.py:\d+\)", text)
    assert "Han et al. 2016, arXiv 1510.00149" in text.rpartition("Source: ")[2]


def test_a_setting_is_told_with_its_values():
    text = topic("recipe.lr", 80)
    assert text.startswith("recipe.lr=0.0012") and "members of one cohort" in text
    assert re.search(r"recipe=vgg19 +0\.1", text)
    assert topic("lr", 80).startswith("recipe.lr=0.0012")
    assert topic("trials", 80).startswith("trials=5\n\n  replicates")
    assert "arXiv 1912.05671, Section 4" in topic("rewind.step", 80)
    assert "(default: to_step)" in topic("rewind", 80)
    assert "action=plan" in topic("action", 80)


def test_an_experiment_is_told_by_its_claim_and_what_it_sets():
    text = topic("experiment=frankle2019/lenet", 80)
    assert "Claim:" in text and "Expected:" in text and "recipe=lenet" in text
    assert "arXiv 1803.03635" in text.rpartition("Source: ")[2]
    assert "experiment=frankle2019/lenet" in topic("lenet", 80)  # of several groups
    assert "compare/snip" in topic("compare", 80)


UNKNOWN = {
    "arms.rgil": "arms.rigl", "methd": "method", "recipe/optimzer": "recipe/optimizer",
    "arms.rigl.evry": "arms.rigl.every", "experiment=frankle2019/lennet": "frankle2019/lenet",
    "action=pln": "plan", "trals": "trials", "recipe.stepz": "recipe.steps",
}  # fmt: skip


@pytest.mark.parametrize("word", UNKNOWN)
def test_what_is_unknown_may_have_meant_something(word):
    with pytest.raises(LthError, match=rf"did you mean {re.escape(UNKNOWN[word])}\?"):
        topic(word, 80)


def test_a_choice_of_the_users_own_is_told(tmp_path, monkeypatch):
    (tmp_path / "arms").mkdir()
    (tmp_path / "arms" / "flipped.yaml").write_text(
        "# Signs turned (Doe & Roe 2031, arXiv 3101.00001).\nflipped:\n  _target_: mine_h.flipped\n"
        "  share: 0.5   # of the weights\n  copies: 1\n"
    )
    (tmp_path / "mine_h.py").write_text(
        'def flipped(share=0.5, twice=False):\n    """Turn signs, ``twice`` to turn them back."""\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = topic("arms.flipped", 80, tmp_path)
    assert re.search(r"share=0\.5 +of the weights", text) and "Turn signs" in text
    assert "+twice=false" in text and "Source: Doe & Roe 2031, arXiv 3101.00001" in text
    assert "mine_h" not in sys.modules


def test_remarks_are_read_by_their_places(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "# Head,\n# two lines.\na:\n  b: 1   # one\n         # and on\n  moves:\n"
        "    - _target_: x\n      bits: 4  # few\n    - _target_: y\n      bits: 8\n"
    )
    assert head(path) == "Head,\ntwo lines."
    found = {k: v for k, v in remarks(path).items() if v}
    assert found == {"a.b": "one and on", "a.moves.0.bits": "few"}


def test_factories_are_read_and_not_imported():
    found = described("lth.arms.rigl")
    assert found.arguments["every"] == "100" and found.place.startswith("lth/arms/dynamic.py:")
    assert described("torch.optim.Adam") is None and described("lth.arms.nothing") is None
    assert described("fractions.Fraction").arguments.keys() >= {"numerator", "denominator"}


def test_citations_are_found_in_full():
    texts = ["(Zhou et al. 2019, arXiv 1905.01067, Section 5). Frankle & Carbin 2019 found it.",
             "Efron 1979; Mocanu et al. 2018, 1707.04780."]  # fmt: skip
    assert sources(texts) == [
        "Zhou et al. 2019, arXiv 1905.01067, Section 5", "Frankle & Carbin 2019", "Efron 1979",
        "Mocanu et al. 2018, 1707.04780",
    ]  # fmt: skip


def test_rows_stand_beside_each_other_or_below():
    wide, narrow = rows([("a", "b c"), ("longer", "d")], 80), rows([("a" * 20, "b " * 20)], 40)
    assert wide == "  a       b c\n  longer  d"
    assert narrow.splitlines()[0] == "  " + "a" * 20 and narrow.splitlines()[1].startswith(
        "      b"
    )
    assert paragraph("x" * 50, 40) == "x" * 50


WORDS = {
    "plan": "did you mean action=plan?", "run": "did you mean action=run?",
    "recipe.steps 50": "recipe.steps=50", "-v": "--version tells the versions",
    "--recipe.steps 50": "recipe.steps=50", "--recipe.steps=50": "recipe.steps=50",
    "--lr 0.1": "recipe.lr=0.1", "--multrun": "did you mean --multirun?",
    "rigl": "did you mean 'arms=[rigl]'?",
    "optimizer": "recipe/optimizer=VALUE", "synflw": "did you mean score=synflow?",
    "help": "did you mean --help?",
}  # fmt: skip


@pytest.mark.parametrize("words", WORDS)
def test_a_word_that_is_no_setting_is_told_what_it_may_mean(words):
    with pytest.raises(LthError) as caught:
        check_words(words.split())
    assert WORDS[words] in str(caught.value)


UNREADABLE = {
    "model=null": "model=null: no such choice; there are all_conv",
    "recipe/optimizer=3": "recipe/optimizer=3: no such choice; there are adam",
    "model=[lenet,conv2]": "one at a time: model=lenet, or a study of each: lth -m model=lenet,co",
    "logger=[]": "none is logger=none", "~score": "choose another: score=NAME",
    "+score=snip": "there is one already: score=snip", "+trials=2": "one already: trials=2",
    "=3": "settings are name=value", "arms=a,": "lists are written 'arms=[a]'",
    "arms=(a, b)": "lists are written 'arms=[a,b]'", "levels=[3,]": "'levels=[3]'",
}  # fmt: skip


@pytest.mark.parametrize("word", UNREADABLE)
def test_what_chooses_nothing_is_told_how_it_is_said(word):
    with pytest.raises(LthError) as caught:
        check_readable([word])
    assert UNREADABLE[word] in str(caught.value)


def test_what_chooses_passes():
    check_readable(["-m", "model=lenet,conv2", "arms=[rigl]", "+experiment/compare=snip", "seed=0"])
    check_readable(["~tune", "method=[]", "+arms.rigl.every=3", "model._target_=mine.net"])


def test_words_that_are_right_pass():
    check_words(["-m", "seed=0,1", "--config-dir", "own", "--cfg", "job", "~arms", "+x=1", "a.b=c"])


MEANT = {
    "lr": "recipe.lr", "optimizer": "recipe/optimizer", "schedule": "recipe/schedule",
    "levls": "levels", "dataset": "data", "weight_decay": "recipe.optimizer.weight_decay",
    "workers": "trainer.workers", "label_smoothing": "recipe.loss.label_smoothing",
    "recipe/optimzer": "recipe/optimizer",
}  # fmt: skip


@pytest.mark.parametrize("key", MEANT)
def test_an_unknown_setting_points_to_its_full_place(key):
    assert meant(key, ["levels", "trials", *GROUPS]) == f"; did you mean {MEANT[key]}?"


def test_inside_a_group_it_points_there_too():
    values = {"recipe": {"steps": 1, "optimizer": {"weight_decay": 0.0}}, "arms": {"rigl": {}}}
    assert inside("recipe.stepz", values) == "; did you mean recipe.steps?"
    assert inside("recipe.weight_decay", values) == "; did you mean recipe.optimizer.weight_decay?"
    assert inside("rewind.epoch", {"rewind": {"step": 0}}) == "; rewind=to_epoch has it"
    assert inside("arms.set.every", values) == "; none is chosen: arms=[set]"
    assert inside("recpie.lr", values) == "; did you mean recipe.lr?"


def test_an_unknown_choice_may_have_meant_another_or_be_of_another_group():
    known = offered("arms")
    assert "did you mean winning_ticket?" in no_choice("arms", "wining_ticket", known)
    assert "a list: arms=[a,b]" in no_choice("arms", "a,b", known)
    assert "did you mean arms=[rigl]?" in no_choice("model", "rigl", offered("model"))
    assert "frankle2019/lenet" in no_choice("experiment", "lenet", offered("experiment"))
    assert nearest("zzz", ["a"]) == "; there are a"


def test_the_command_tells_versions_and_sweeps_need_their_flag(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, _ = commanded(monkeypatch, capsys, "--version")
    assert code == 0 and re.fullmatch(r"lth \S+ \(torch 2\S+, Python 3\S+\)\n", out)
    for word, told in (("arms=winning_ticket,rigl", "'arms=[winning_ticket,rigl]'"),
                       ("seed=0,1", "lth -m"), ("levels=[1,2", "a ] is missing"),
                       ("lr=0.1", "did you mean recipe.lr?"),
                       ("optimizer=sgd", "did you mean recipe/optimizer?"),
                       ("arms=[wining_ticket]", "did you mean winning_ticket?")):  # fmt: skip
        code, _, err = commanded(monkeypatch, capsys, word)
        assert code == 1 and told in err and err.count("\n") == 1, (word, err)
    code, _, err = commanded(monkeypatch, capsys, "--help", "arms.riggl")
    assert (code, "did you mean arms.rigl?" in err) == (1, True)


def test_every_setting_of_a_default_study_is_known_by_its_place():
    places = everywhere()
    assert {"recipe.lr", "prune.rate", "trainer.workers", "fit.knob", "arms.rigl.every"} <= {
        *places
    }
    assert places["recipe.steps"].value == 600 and places["rewind.step"].value == 0
