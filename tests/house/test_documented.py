"""docs/operations.md names every flag, variable and metric that there is."""

from pathlib import Path

import click
import pytest

from speaker.cli import speaker
from speaker.metrics.collector import Figures, make_registry
from speaker.wire.layer2 import Layer2Stats

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
COLLECTED_BY_THE_LIBRARY = "process_"


def options() -> list[click.Option]:
    return [each for each in speaker.params if isinstance(each, click.Option)]


def variables() -> list[str]:
    return [str(each.envvar) for each in options() if each.envvar]


def metrics() -> list[str]:
    """Names as they are scraped: a counter's ends in `_total`."""
    figures = Figures(
        node="a",
        layer2=Layer2Stats(),
        announced={},
        serves=lambda ip, service: False,
        owners=dict,
    )
    families = list(make_registry(figures)[0].collect())
    names = [f"{each.name}_total" if each.type == "counter" else each.name for each in families]
    return [name for name in names if not name.startswith(COLLECTED_BY_THE_LIBRARY)]


@pytest.mark.parametrize("flag", [each.opts[0] for each in options() if not each.hidden])
def test_a_flag_is_explained(flag: str) -> None:
    assert f"`{flag}`" in PAGE or f"`{flag} " in PAGE


@pytest.mark.parametrize("name", [*variables(), *metrics()])
def test_a_variable_and_a_metric_are_explained(name: str) -> None:
    assert f"`{name}`" in PAGE
