"""``lth --help``: what the command does, its settings, every group and its choices, its flags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lth.config import ACTIONS
from lth.help.layout import paragraph, rows
from lth.help.topics import DO
from lth.known import all_groups
from lth.presets import offered

HELP = """\
lth: find, control and compare winning tickets.

  lth                                       LeNet-300-100 on digits, about a minute
  lth experiment=frankle2019/lenet          a paper's settings (here: MNIST, downloaded)
  lth action=plan trials=10 levels=20       what that would train, and what is there already
  lth 'recipe.lr=[2e-4,1.2e-3,4e-3]'        a learning-rate sweep, trained as one cohort
  lth -m seed=0,1 model=lenet,conv2         several studies that share one store, and a table of all
  lth tune=learning_rate trials=2 levels=3  find a learning rate (pip install 'lth[optuna]')
  lth action=compare 'studies=[out/studies/compare-*]'    their methods side by side
  lth task=lightning task.module._target_=mine.Lit ...    any LightningModule of your own
  lth --help arms.rigl                      what a choice is, its arguments, its source; so too
                                            recipe.lr, recipe/optimizer, experiment=compare/snip

Settings (name=value; in most shells [ ] and * need quotes: 'levels=[7,13]'):
  trials=N levels=N seed=N    replicates, pruning levels, where random numbers derive from
  levels=[7,13]               train only these levels, and the tickets that lead to them
  out=DIR                     root of all outputs            (default: out)
  data.root=DIR               folder that holds mnist/, ...  (default: download)
  recipe.steps=N recipe.lr=X  training length and learning rate, or a list of rates
  prune.rate=X rewind.step=N  share pruned per level, step to rewind to
  table=short|full            rows of the table that is shown at the end
  figures.width=column        how figures are written: figures.formats=[png,pdf,svg], style, font;
                              action=plot writes them anew
  name=TEXT                   of the study's folder, or the comparison's
  budget=auto|true|false      measure what networks cost to store and to run (auto: with methods)
  plan.measure=true           action=plan times a few steps here, and says what to ask Slurm for
  optimize='accuracy at level 5'  what a sweep's table shows and its sweeper is told, on validation
  reference=STUDY/ARM         (or either) what action=compare names differences to
  axis=bytes                  what action=compare draws accuracy against: bytes, macs, params or
                              density; and at equal budgets (budgets=[27000,44000])
  fit.knob=.. fit.values=..   what action=fit tries (or fit.low to fit.high) and chooses, best on
                              validation within fit.budget='bytes<=27000' (or params, nonzeros,
                              macs, density; of fit.trials=all or mean)
  task.module.X=.. task.data.X=..  arguments of a LightningModule and its data (task=lightning)
  trainer.X=..                with task=lightning any argument of pl.Trainer

Actions (action=NAME):
{actions}

Choices (group=name; arms and method take lists; --help group=name says what one is):
{choices}

Flags:
  -m, --multirun              run every combination of comma-separated values
  --config-dir DIR            a folder of your own choices, laid out like conf/
  --cfg job                   print the configuration and stop
  --traceback                 show the whole traceback of an error
  --version                   the versions of lth and torch
  --hydra-help                the flags of Hydra itself
"""


def overview(width: int, own: Path | None = None) -> str:
    """Return the whole help, laid out in so many columns."""
    parts = list[str]()
    for block in HELP.strip().split("\n\n"):
        title, *lines = block.splitlines()
        head = [paragraph(title, width)] if not title.startswith(" ") else []
        lines = lines if head else [title, *lines]
        if lines == ["{actions}"]:
            parts.append("\n".join([*head, rows([(a, DO.get(a, "")) for a in ACTIONS], width)]))
        elif lines == ["{choices}"]:
            parts.append("\n".join([*head, rows(_choices(own), width)]))
        else:
            parts.append("\n".join([*head, *([rows(_pairs(lines), width)] if lines else [])]))
    return "\n\n".join(parts) + "\n"


def _pairs(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Part names from remarks, which two spaces keep apart and which go on in lines set in."""
    found: list[tuple[str, str]] = []
    for line in lines:
        name, *remark = re.split(r"\s{2,}", line.strip())
        if line.startswith(" " * 8) and found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {' '.join([name, *remark])}")
        else:
            found.append((name, " ".join(remark)))
    return found


def _choices(own: Path | None) -> Iterator[tuple[str, str]]:
    """Yield every group with its choices; experiments by their folders."""
    for group in all_groups():
        names = offered(group, own)
        if group != "experiment":
            yield group, " ".join(names)
            continue
        folders = dict.fromkeys(n.rpartition("/")[0] for n in names)
        for folder in folders:
            inside = (n.rpartition("/")[2] for n in names if n.rpartition("/")[0] == folder)
            yield (f"{group}={folder}/" if folder else group), " ".join(inside)
