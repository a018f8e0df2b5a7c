"""The calls from Python: what they take, what they give back, and how it shows itself."""

import inspect
import os
import subprocess
import sys
import threading
import time
import warnings
from functools import partial
from pathlib import Path

import nbformat
import pytest
import yaml
from matplotlib.figure import Figure
from rich.table import Table

import lth
from lth import moves
from lth.api import display as displays
from lth.api.display import Notebook, Quiet, shown
from lth.api.results import Figures, Results
from lth.api.settings import Common, Settings
from lth.measured import Measured
from lth.store.shown import study_html
from tests.synthetic import study as synthetic
from tests.toys import SETTINGS

ROOT = Path(__file__).parents[1]

ELSEWHERE = {
    "defaults", "hydra", "action", "fit", "studies", "reference", "axis", "budgets", "plan",
    "clean",
}  # fmt: skip
"""What the command is told by settings, and Python by other functions and arguments."""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("api") / "out")
    return lth.run(**SETTINGS | {"out": out, "levels": 2}, progress=False)


def test_what_is_public_is_listed_and_there():
    public = (
        "LthError Study Ticket analyse compare data fit load_ticket models moves pack plan plot "
        "run unpack"
    )
    assert lth.__all__ == public.split()
    assert set(lth.__all__) <= set(dir(lth)) and "import_module" not in dir(lth)
    assert all(getattr(lth, name) is not None for name in lth.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'rum'"):
        _ = lth.rum
    assert (ROOT / "lth" / "py.typed").is_file()


def test_importing_it_waits_for_nothing():
    heavy = "{'torch', 'pytorch_lightning', 'hydra', 'wandb', 'matplotlib', 'rich', 'pandas'}"
    code = f"import sys, lth; dir(lth); assert not {heavy} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_setting_of_the_command_has_its_type():
    """One that is new in conf/config.yaml has a type here, or another way from Python."""
    config = yaml.safe_load((ROOT / "conf" / "config.yaml").read_text())
    groups = {name for entry in config["defaults"] if entry != "_self_" for name in entry}
    known = set(Settings.__annotations__) | ELSEWHERE
    assert {n for n in {*groups, *config} if not n.startswith("override ")} <= known


@pytest.mark.parametrize("function", [lth.run, lth.plan, lth.fit])
def test_its_signature_names_the_settings(function):
    taken = inspect.signature(function).parameters
    assert set(Common.__annotations__) <= taken.keys() and "settings" not in taken
    assert "trials: 'int' = ..." in str(inspect.signature(function))


@pytest.mark.parametrize("action", ["plan", "plot", "analyse", "compare", "fit"])
def test_an_action_is_another_function(action):
    with pytest.raises(lth.LthError, match=rf"lth\.run runs; lth\.{action} does that"):
        lth.run(action=action)
    assert callable(getattr(lth, action))


def test_a_plan_says_what_it_would_take(study):
    settings = SETTINGS | {"out": str(study.folder.parents[1]), "levels": 3}
    planned = lth.plan(**settings)
    assert planned.members == planned.to_train.total() > 0 and planned.steps > 0
    assert planned.bytes > 0 and planned.seconds is not None
    assert f"{planned.members} members to train" in repr(planned) and "\n" not in repr(planned)
    assert "<table>" in planned._repr_html_()
    assert lth.plan(**settings | {"levels": 2}).members == 0


def test_figures_are_matplotlibs_and_belong_to_no_window(study):
    from matplotlib._pylab_helpers import Gcf

    before = (study.folder / "figures").exists() and len(list((study.folder / "figures").iterdir()))
    figures = lth.plot(study.folder)
    assert type(figures) is Figures and {"tickets", "curves"} <= figures.keys()
    assert all(isinstance(f, Figure) for f in figures.values())
    assert not Gcf.get_all_fig_managers() and repr(figures).startswith("Figures(tickets")
    assert len(list((study.folder / "figures").iterdir())) >= max(before, len(figures))


WRONG_LOOKS = {
    "width": (lambda s: lth.plot(s, width="column"), r"width: no such setting; figures=\{'width'"),
    "figure": (lambda s: lth.analyse(s, figure={}), "figure: no such setting; did you"),
    "a number": (lambda s: lth.analyse(3), "a study is needed, .* not of type int"),
    "one of two": (lambda s: lth.compare(s, None), "a study is needed, .* not of type NoneType"),
    "nothing": (lambda s: lth.compare(), r"name studies or folders: lth.compare\(a, b\)"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_LOOKS)
def test_what_is_no_study_or_no_setting_is_one_line(what, study):
    call, message = WRONG_LOOKS[what]
    with pytest.raises(lth.LthError, match=message):
        call(study)


@pytest.mark.parametrize("call", [lth.run, lth.plan])
def test_calls_from_threads_go_one_after_the_other(call, monkeypatch):
    """What draws a network seeds generators that a process has once."""
    inside, together = [], []

    def prepare(config):
        inside.append(config)
        time.sleep(0.05)
        together.append(len(inside))
        inside.pop()
        raise lth.LthError("enough")

    def asks():
        with pytest.raises(lth.LthError, match="enough"):
            call()

    monkeypatch.setattr("lth.study.setup.prepare", prepare)
    threads = [threading.Thread(target=asks) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert together == [1, 1, 1]


def test_a_comparison_gives_tables_and_a_figure(study):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = lth.compare(study, name="x")
    assert isinstance(found, Results) and isinstance(found.figure, Figure)
    assert found.folder == study.folder.parents[1] / "compare" / "x"
    assert {r["method"] for r in found.table} >= {"winning_ticket", "dense network"}
    assert all(isinstance(r["density"], float) for r in found.table)
    assert any("reference" in note for note in found.notes)
    assert "winning_ticket" in str(found) and "\x1b" not in str(found)
    assert len(repr(found).splitlines()) == 1 and "<pre>" in found._repr_html_()
    assert lth.compare([study]).table == found.table
    for call, words in (
        (lambda: lth.compare([]), "name studies or folders"),
        (lambda: lth.compare("nowhere/*"), r"nowhere/\*: it matches no folder"),
        (lambda: lth.compare(study, reference="winning_tickt"), "no such arm of"),
    ):
        with pytest.raises(lth.LthError, match=words):
            call()


def test_an_analysis_gives_tables_and_figures(study):
    found = lth.analyse(study, progress=False)
    assert list(found.tables) == ["analysis", "matching", "paths"]
    assert {"analysis", "layers"} <= found.figures.keys()
    assert {"value", "level", "arm"} <= found.table[0].keys()
    assert found.text and "analysis (" in repr(found)
    frame = found.to_pandas("matching")
    assert list(frame.columns) == list(found.tables["matching"][0])
    with pytest.raises(lth.LthError, match="no table analyses; did you mean analysis"):
        found.to_pandas("analyses")
    assert len(study.to_pandas("analysis")) == len(found.table)


def test_records_are_a_frame(study):
    frame = study.to_pandas()
    assert len(frame) == len(study.records) and frame["value"].dtype == float
    assert list(frame.itertuples(index=False, name=None)) == [tuple(r) for r in study.records]
    assert len(study.to_pandas("curves")) == len(study.curves)
    assert len(study.to_pandas("members")) == len(study.members)
    with pytest.raises(lth.LthError, match="no table record; did you mean records"):
        study.to_pandas("record")


def test_without_pandas_it_says_so_in_a_line(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(lth.LthError, match=r"to_pandas needs pandas.*pip install"):
        study.to_pandas()


def test_a_study_shows_itself_shortly(study):
    assert repr(study).startswith(f"Study({study.id}: trials 0") and "\n" not in repr(study)
    page = study._repr_html_()
    assert "level 2" in page and "winning_ticket" in page and len(page) < 4000
    assert study.levels == [0, 1, 2] and "winning_ticket" in study.arms and study.trials[0] == 0
    assert study.verdict and study.rates == sorted({r.lr for r in study.records})


def test_a_study_of_many_levels_and_arms_still_fits_on_a_screen():
    arms = ("winning_ticket", *(f"arm{i}" for i in range(8)))
    records, _ = synthetic(levels=35, arms=arms, trials=2)
    page = study_html("x", records, Measured())
    assert page.count("<tr>") <= 32 and "arm6" in page and "arm7" not in page.split("</table>")[0]


def test_a_study_whose_records_are_gone_still_has_a_repr(study, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "config.yaml").write_text((study.folder / "config.yaml").read_text())
    bare = lth.Study(tmp_path / "x")
    assert "no such records" in repr(bare) and "no such records" in bare._repr_html_()


ASKED = {
    "an arm": ({"arm": "winning_tickt"}, "has no arm 'winning_tickt'; did you mean winning_ticket"),
    "a level": ({"level": 9}, r"winning_ticket has no level 9; it has 0\.\.2"),
    "a trial": ({"trial": 9}, "winning_ticket at level 0 has no trial 9"),
    "a rate": ({"lr": 3.0}, "has no lr 3.0; it has "),
    "a name": ({"levle": 1}, "a member has no levle; did you mean level"),
}


@pytest.mark.parametrize("what", ASKED)
def test_what_there_is_not_is_named_with_what_there_is(what, study):
    place, words = ASKED[what]
    for call in (study.ticket, study.network, study.entry, study.budget, study.net, study.trained):
        with pytest.raises(lth.LthError, match=words) as caught:
            call(**place)
        assert "\n" not in str(caught.value)


def test_the_network_is_the_trained_one(study):
    network, ticket = study.network(level=1), study.ticket(level=1)
    state = study.trained(level=1)
    assert not network.training
    assert all((p == state.params[n]).all() for n, p in network.named_parameters())
    assert any((p != ticket.start.params[n]).any() for n, p in network.named_parameters())


def test_a_study_stays_what_its_run_gave(tmp_path):
    """As where a loop runs one method with several values under one name, and compares them."""
    found = []
    for bits in (2, 5):
        method = {"few": {"at": "dense", "repeat": 1, "moves": [
            partial(moves.quantize, bits=bits, steps=0), moves.measure]}}  # fmt: skip
        out = {"out": str(tmp_path), "method": method, "levels": 1, "trials": 1}
        found.append(lth.run(**SETTINGS | out, progress=False))
    assert found[0].folder == found[1].folder
    few, more = (study.budget(arm="few", level=1).bytes for study in found)
    assert few < more
    assert [len(lth.pack(study.net(arm="few", level=1))) for study in found] == [few, more]


def test_a_notebook_has_one_output_that_moves(tmp_path, monkeypatch):
    """Not a line per level: one output is made, and updated, and ends with what was done."""
    bundles = []

    outputs = []

    def output(bundle):
        outputs.append(bundle)
        bundles.append(bundle)
        return bundles.append

    monkeypatch.setattr(displays, "in_notebook", lambda: True)
    monkeypatch.setattr(displays, "_Output", output)
    monkeypatch.setattr(displays, "PAUSE", 0.0)
    lth.run(**SETTINGS | {"out": str(tmp_path), "levels": 2})
    assert len(outputs) == 1 and len(bundles) > 20
    middle = "".join(b["text/html"] for b in bundles)
    assert "<progress" in middle and "level 1: density" in middle
    last = bundles[-1]
    assert "level 2: density" in last["text/plain"] and "trained" in last["text/plain"]
    assert len(last["text/plain"].splitlines()) <= 4 and "<progress" not in last["text/html"]
    assert "records:" in last["text/html"] and "\x1b" not in last["text/html"]


def test_a_notebooks_output_does_not_end_with_a_tables_frame():
    shown = []
    with Notebook(lambda bundle: shown.append(bundle) or shown.append) as display:
        table = Table("knob")
        table.add_row("0.2")
        display.say("chosen: 0.2")
        display.say(table)
    assert "\N{BOX DRAWINGS LIGHT HORIZONTAL}" in display.text
    assert "\N{BOX DRAWINGS LIGHT HORIZONTAL}" not in shown[-1]["text/plain"]


def test_who_shows_a_call(capsys):
    with shown(False) as display:
        assert not display.enabled
    quiet = Quiet()
    with shown(False, quiet) as display:
        assert display is quiet
    quiet.note("<careful>")
    quiet.say("said")
    assert quiet.notes == ["<careful>"] and quiet.text == "<careful>\nsaid"
    bundles = []
    notebook = Notebook(lambda bundle: bundles.append(bundle) or bundles.append)
    notebook.note("<careful>")
    page = bundles[-1]["text/html"]
    assert "&lt;careful&gt;" in page and "<careful>" not in page
    assert capsys.readouterr().out == ""


NOTEBOOK = """
import lth
study = lth.run(model="lenet", data="digits", trials=1, levels=3, logger="none", out="out",
                recipe={"steps": 10, "batch": 60}, trainer={"workers": 0})
---
figures = lth.plot(study)
figures
---
figures["tickets"]
---
study.ticket(level=1)
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's own machinery
def test_in_a_real_notebook(tmp_path):
    from nbclient import NotebookClient

    cells = [nbformat.v4.new_code_cell(c.strip()) for c in NOTEBOOK.split("---")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}})
    client.execute(env=os.environ | {"PYTHONPATH": str(ROOT)})
    run, both, one, ticket = (cell.outputs for cell in notebook.cells)
    assert len(run) == 1 and run[0].output_type == "display_data"
    assert [next(iter(o.data)) for o in both] == ["image/png"] * len(both) and len(both) >= 2
    assert len(one) == 1 and "image/png" in one[0].data
    assert len(ticket) == 1 and "<table>" in ticket[0].data["text/html"]
