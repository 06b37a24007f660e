"""docs/operations.md and docs/controller.md name every flag, variable and metric that there is."""

from collections.abc import Iterable
from pathlib import Path

import click
import pytest
from prometheus_client.core import Metric

from controller import metrics as controllers
from controller.cli import controller
from speaker.cli import speaker
from speaker.metrics.collector import Figures, make_registry
from speaker.wire.layer2 import Layer2Stats

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    "speaker": (DOCS / "operations.md").read_text(),
    "controller": (DOCS / "controller.md").read_text(),
}
COLLECTED_BY_THE_LIBRARY = ("process_", "python_")


def options(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option)]


def flags() -> list[tuple[str, str]]:
    commands = {"speaker": speaker, "controller": controller}
    return [
        (name, each.opts[0])
        for name, command in commands.items()
        for each in options(command)
        if not each.hidden
    ]


def names() -> list[tuple[str, str]]:
    """Variables and metrics of each program."""
    commands = {"speaker": speaker, "controller": controller}
    variables = [
        (name, str(each.envvar))
        for name, command in commands.items()
        for each in options(command)
        if each.envvar
    ]
    registry = controllers.make_registry(controllers.Figures())
    shown = [("controller", name) for name in named(registry.collect())]
    return [*variables, *(("speaker", name) for name in metrics()), *shown]


def named(families: Iterable[Metric]) -> list[str]:
    """Names as they are scraped: a counter's ends in `_total`."""
    found = [f"{each.name}_total" if each.type == "counter" else each.name for each in families]
    return [name for name in found if not name.startswith(COLLECTED_BY_THE_LIBRARY)]


def metrics() -> list[str]:
    figures = Figures(
        node="a",
        layer2=Layer2Stats(),
        announced={},
        serves=lambda ip, service: False,
        owners=dict,
    )
    return named(make_registry(figures)[0].collect())


@pytest.mark.parametrize(("program", "flag"), flags())
def test_a_flag_is_explained(program: str, flag: str) -> None:
    assert f"`{flag}`" in PAGES[program] or f"`{flag} " in PAGES[program]


@pytest.mark.parametrize(("program", "name"), names())
def test_a_variable_and_a_metric_are_explained(program: str, name: str) -> None:
    assert f"`{name}`" in PAGES[program]
