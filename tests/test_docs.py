"""The pages in docs/ run as they stand, and print what they say they print."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs import links, pages
from lth import presets

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(p for p in DOCS.glob("*.md") if "```python" in p.read_text(encoding="utf-8"))
CONCEPTS = sorted((DOCS / "concepts").glob("*.md"))
pytestmark = pytest.mark.usefixtures("one_core")


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


def program_of(page, folder):
    """Write the page's modules (a block whose first line is their name); return the rest."""
    parts = []
    for block in blocks(page):
        module = re.match(r"# (\w+\.py)\n", block)
        if module:
            (folder / module[1]).write_text(block)
        else:
            parts.append(block)
    return "\n".join(parts)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.stem)
def test_a_page_runs_and_prints_what_it_says(page, tmp_path):
    program = program_of(page, tmp_path)
    promised = re.findall(r"^print\(.*\)  # (.*)$", program, re.M)
    printed = run(program, tmp_path)
    assert len(promised) > 3 and [line for line in printed if line in promised] == promised


def run(program, folder):
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True,
                          text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_examples_of_the_words_print_what_stands_below_them(tmp_path):
    """They share one small study, which trains once."""
    programs = {p.stem: "\n".join(blocks(p)) for p in CONCEPTS}
    marks = [f"print('page {name}')\n{program}" for name, program in programs.items()]
    printed = "\n".join(run("\n".join(marks), tmp_path))
    for name, program in programs.items():
        promised = re.findall(r"^(?:    )?print\(.*\)\n((?:# .*\n)+)", program + "\n", re.M)
        mine = re.search(rf"^page {name}$(.*?)(?=^page |\Z)", printed, re.M | re.S)[1].splitlines()
        wanted = [w.removeprefix("# ") for block in promised for w in block.splitlines()]
        assert wanted and [line for line in mine if line in wanted] == wanted, name


def test_every_word_has_a_page():
    assert {"trial", "arm", "level", "ticket", "cohort", "method"} <= {p.stem for p in CONCEPTS}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    pages.write(folder)
    return folder / "generated"


@pytest.mark.parametrize("group", pages.GROUPS)
def test_every_choice_has_a_page_and_stands_in_the_list(written, group):
    listing = (written / group.replace("/", "-") / "index.md").read_text()
    for name in presets.choices(group):
        page = written / group.replace("/", "-") / f"{name.replace('/', '-')}.md"
        text = page.read_text()
        assert text.startswith(f"# {name}\n") and f"[{name}]({page.name})" in listing
        assert ":: lth." in text or not re.search(r"_target_: lth\.", text)


def test_groups_with_pages_are_those_of_the_help():
    folders = {p.name for p in presets.conf_folder().iterdir() if p.is_dir()}
    assert folders == {g.split("/")[0] for g in pages.GROUPS}


def test_links_of_the_readme_lead_to_pages_of_the_site(written):
    linked = pages.linked(
        "[a](docs/data.md#x) [b](conf/) [c](CONTRIBUTING.md) ![d](e.png)", "README.md"
    )
    assert linked == "[a](../data.md#x) b (`conf`) [c](contributing.md) ![d](../../e.png)"
    assert pages.linked("[a](#how-fast)", "README.md") == "[a](trust.md#how-fast)"
    assert pages.linked("[a](https://b.c/d.md)", "README.md") == "[a](https://b.c/d.md)"


def test_the_reference_has_what_calls_give_back_and_what_a_ticket_inherits(written):
    page = (written / "api/lth.md").read_text()
    assert all(f"autoclass:: {name}" in page for name in pages.GIVEN)
    ticket = page.partition("autoclass:: lth.Ticket\n")[2].partition(".. auto")[0]
    assert ":inherited-members:" in ticket
    assert ":inherited-members:" not in (written / "api/lightning.md").read_text()
    assert ":inherited-members:" not in page.partition("autoclass:: lth.Study\n")[2].split("..")[0]


def test_a_broken_link_of_the_site_is_named(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#here">b</a> <a href="http://c.d/">c</a>')
    (tmp_path / "b.html").write_text('<p id="there"></p><a href="gone.html">x</a>')
    assert links.broken(tmp_path) == ["a.html: b.html#here", "b.html: gone.html"]
