"""What others wrote is shown as it is: it is no markup, and it moves no cursor."""

from __future__ import annotations

import click
import pytest
from rich.text import Text

from goldengrain.cli.output import emit, print_error, table
from goldengrain.cli.settings import Settings

HOSTILE = "[/x] [red]sold[/red] \x1b[2J\x1b]0;title\x07 \x9b1A \rpaid"
SHOWN = r"[/x] [red]sold[/red] \x1b[2J\x1b]0;title\x07 \x9b1A \x0dpaid"


def test_a_hostile_text_is_shown_as_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    context = click.Context(click.Command("any"), obj=Settings())
    emit(context, {}, [HOSTILE, table(HOSTILE, ("name",), [[HOSTILE]]), Text("mine", "bold")])
    print_error(Settings(), "REFUSED", HOSTILE)
    shown, errors = capsys.readouterr()
    assert shown.count(SHOWN) == 3
    assert "mine" in shown
    assert errors == f"error REFUSED: {SHOWN}\n"


def test_lines_and_tabs_stay(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(Settings(), "REFUSED", "one\n\ttwo")
    assert capsys.readouterr().err == "error REFUSED: one\n\ttwo\n"
