"""One job of the command, and what became of those that ran in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any


class AlreadyReported(Exception):
    """An error of a job in another process, whose user has been told of it already."""


class Jobs:
    """What became of the jobs that ran in this process; None in a launcher's workers."""

    mine: Jobs | None = None

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.failed = False
        self.command = sys.argv  # as it was given: what is told to Hydra may be otherwise


def carry_out(
    act: Callable[[], Any], one_line: Callable[[BaseException], str], job: Any = None
) -> Any:
    """Do a job of a sweep, or one alone; what becomes of it stands in the job's file.

    An error is said in ``one_line`` here, and kept from Hydra, which would add words of its own.
    """
    from lth.study.jobs import DONE, FAILED, STOPPED, NoFile
    from lth.study.run import AllDiverged

    job = job or NoFile()
    try:
        result = act()
    except AllDiverged as error:
        if isinstance(job, NoFile):
            return _fail(error, one_line)
        print(one_line(error), flush=True)  # in a sweep that is a result, and no error
        result = error.result
    except KeyboardInterrupt:
        job.end(STOPPED)
        if Jobs.mine is not None:
            raise
        os._exit(1)  # the launcher's process would say much; the command has said it
    except SystemExit:  # by submitit, which starts the job again
        job.end(STOPPED)
        raise
    except Exception as error:
        job.end(FAILED, error=one_line(error))
        return _fail(error, one_line)
    job.end(DONE, **(result._asdict() if result is not None else {}))
    return result


def _fail(error: Exception, one_line: Callable[[BaseException], str]) -> None:
    print(f"error: {one_line(error)}", file=sys.stderr, flush=True)  # other jobs go on
    if Jobs.mine is None:
        raise AlreadyReported from error
    Jobs.mine.errors.append(error)
