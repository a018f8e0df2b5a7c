"""The records table: exact, atomic, and its errors."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lth import LthError
from lth.files import write_atomic
from lth.records.record import COLUMNS, Record, read_csv, write_csv

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1)
RECORDS = st.builds(
    Record, TEXT, st.integers(0), st.integers(0), st.floats(1e-10, 1), TEXT, st.integers(0),
    st.floats(0, 1), st.integers(0), TEXT, TEXT, st.floats(allow_nan=False),
    phase=st.integers(0), move=TEXT | st.just(""),
)  # fmt: skip


@given(st.lists(RECORDS))
def test_numbers_come_back_exactly(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("records") / "records.csv"
    write_csv(path, records)
    assert read_csv(path) == records
    before = path.read_bytes()
    write_csv(path, read_csv(path))
    assert path.read_bytes() == before


def test_the_columns_are_those_that_scripts_rely_on():
    first = "study,trial,copy,lr,arm,level,density,step,split,metric,value"
    assert ",".join(COLUMNS) == f"{first},phase,move"


def test_a_table_that_is_missing_foreign_or_cut_is_named(tmp_path):
    path = tmp_path / "records.csv"
    with pytest.raises(LthError, match="no such records; run the study first"):
        read_csv(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(LthError, match=r"not a records table: its columns must be study,trial"):
        read_csv(path)
    write_csv(path, [Record("s", 0, 0, 0.1, "a", 0, 1.0, 5, "test", "accuracy", 0.5)])
    path.write_text(path.read_text()[:-6])
    with pytest.raises(LthError, match=r"records\.csv: damaged"):
        read_csv(path)
    path.write_text("")
    with pytest.raises(LthError, match="not a records table"):
        read_csv(path)


def test_infinity_survives(tmp_path):
    record = Record("s", 0, 0, 0.1, "a", 0, 1.0, 5, "train", "loss", math.inf)
    write_csv(tmp_path / "r.csv", [record])
    assert read_csv(tmp_path / "r.csv") == [record]


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("lth.files.os.replace", full)
    with pytest.raises(OSError):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]
