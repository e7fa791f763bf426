"""What reaches a terminal: names and texts of others steer none, and a row stays a line."""

from __future__ import annotations

import pytest

from ilr_bench.core.console import fail_in_one_line, note, say, say_rows
from ilr_bench.core.errors import StoreError

HOSTILE = "a\x1b[2J\u202eb\rc\x9b\udce9"
SHOWN = "a\ufffd[2J\ufffdb\ufffdc\ufffd\ufffd"


def test_nothing_said_or_noted_steers_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"{HOSTILE}\tx\r\ny\u6570")
    note(HOSTILE)
    with pytest.raises(SystemExit), fail_in_one_line():
        raise StoreError(f"{HOSTILE} cannot be read")
    seen = capsys.readouterr()
    assert seen.out == f"{SHOWN}\tx\ny\u6570\n"
    assert seen.err == f"{SHOWN}\nerror: {SHOWN} cannot be read\n"


def test_a_row_is_one_line_of_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    say_rows([("model", "seed"), ("a\nb\tc\rd", "0"), ("\x1bx", "1")])
    assert capsys.readouterr().out == "model    seed\na b c d  0\n\ufffdx       1\n"
