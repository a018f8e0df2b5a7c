"""Provenance: the command as it can be typed again, and the commit it came from."""

import sys

from lth.provenance import commit, provenance


def test_the_command_is_one_that_can_be_typed_again(monkeypatch):
    for program in ("/somewhere/lth/__main__.py", "/somewhere/bin/lth"):
        monkeypatch.setattr(sys, "argv", [program, "trials=2", "arms=[a,b]"])
        assert provenance()["command"] == "lth trials=2 'arms=[a,b]'"


def test_a_folder_that_is_no_checkout_has_no_commit(tmp_path):
    assert commit(tmp_path) is None
