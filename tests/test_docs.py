"""The pages in docs/ run as they stand, and print what they say they print."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))


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
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True,
                          text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert len(promised) > 3 and [line for line in printed if line in promised] == promised
