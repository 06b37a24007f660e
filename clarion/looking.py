"""What all commands have in common: where to look, how to answer, and the exit status."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from rich.console import Console

from clarion.answers import Envelope, Remark, plain
from clarion.options import (
    CONTEXT,
    DRAIN_ON_CORDON,
    FROM,
    IGNORE_EXCLUDE_LB,
    KUBECONFIG,
    LB_CLASS,
    NAMESPACE,
    OUTPUT,
    RELEASE,
    options,
)
from clarion.render import LINE, console, write_json
from clarion.sources.dumps import STDIN, readings
from clarion.sources.picture import Picture, merged
from clarion.sources.trouble import UnseenError
from kube.problem import Problem
from kube.snapshot import Reading
from plan.release import RELEASES, Options
from process.settings import default_namespace

NOBODY = ""
"""The own node of who looks from outside."""
HOME_CONFIG = Path(".kube/config")
POD = "KUBERNETES_SERVICE_HOST"
NODE = "METALLB_NODE_NAME"
"""The variable that names the node; it is set in a speaker's pod."""


class Status(IntEnum):
    """Exit statuses."""

    WELL = 0
    FOUND = 1
    """Something is wrong, and the answer says what."""
    UNSEEN = 2
    """There was nothing to look at, or the question was none."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What was asked for besides the question itself."""

    output: str
    source: str | None
    context: str | None
    kubeconfig: str
    namespace: str
    options: Options
    node: str = NOBODY
    """Whose running speaker is to be asked; empty: nobody's, but the source."""

    def picture(self) -> Picture:
        """Read the source. Raises `UnseenError`."""
        name, found = self._read()
        return Picture.made(name, self.namespace, self.options, [merged(found, self.namespace)])

    def _read(self) -> tuple[str, list[Reading]]:
        if self.source is not None:
            name = "stdin" if self.source == STDIN else self.source
            return plain(name), list(readings(self.source))
        # Imported late: dumps need neither Kubernetes' package nor aiohttp.
        from clarion.sources.api import reading

        kubeconfig = self._kubeconfig()
        name = f"cluster of {kubeconfig or 'this pod'}" + (
            f", context {self.context}" if self.context else ""
        )
        return plain(name), [reading(kubeconfig, self.context, self.namespace)]

    def _kubeconfig(self) -> str:
        """Return the file; empty: what a pod finds mounted. Raises `UnseenError`."""
        if self.kubeconfig or (POD in os.environ and self.context is None):
            return self.kubeconfig
        at_home = Path.home() / HOME_CONFIG
        if at_home.exists():
            return str(at_home)
        raise UnseenError(f"nothing to look at: no --from, no --kubeconfig, and no {at_home}")

    def tell(self, answer: Envelope, draw: Callable[[Any, Console], None]) -> NoReturn:
        """Write the answer, `draw` as tables, and leave with its status."""
        try:
            self._write(answer, draw)
            sys.stdout.flush()
        except BrokenPipeError:
            # Who reads has seen enough. Nothing may be written at the end of the process either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(Status.WELL if answer.well else Status.FOUND)

    def _write(self, answer: Envelope, draw: Callable[[Any, Console], None]) -> None:
        if self.output == "json":
            write_json(answer)
            return
        shown = console()
        draw(answer, shown)
        draw_remarks(answer, shown)


def draw_remarks(answer: Envelope, shown: Console) -> None:
    """Write what is wrong with the objects, a line each."""
    for found in answer.remarks:
        style = "red" if found.severity == "error" else "yellow"
        shown.print(line_of(found), style=style, **LINE)


def line_of(found: Remark) -> str:
    """Write a remark as compilers do: `file:line: severity: object: field: message`."""
    place = f"{found.file}:{found.line}" if found.line else found.file
    parts = place, found.severity, found.object, found.field, found.message
    return ": ".join(part for part in parts if part)


def remark(found: Problem) -> Remark:
    """Return what is told of a problem."""
    texts = (plain(text) for text in (found.object, found.field, found.message))
    return Remark(found.severity.value, plain(found.file), found.line, *texts)


# ---- options

_Command = TypeVar("_Command", bound=Callable[..., Any])

WHERE = (FROM, CONTEXT, KUBECONFIG)
RUNNING = (
    click.option("--node", default="", help="Ask the running speaker of this node, on this machine."
                 f" The default where ${NODE} is set and nothing else is named."),
    click.option("--cluster", is_flag=True, help="Ask the cluster, in a speaker's pod as well."),
)  # fmt: skip
HOW = (NAMESPACE, LB_CLASS, RELEASE, IGNORE_EXCLUDE_LB, DRAIN_ON_CORDON)


def looking(*where: Callable[[Any], Any]) -> Callable[[_Command], Any]:
    """Give a command the options of a `Inquiry`, which it gets as its first argument.

    `where` are the options that say where to look; none for a command that has its own way.
    """

    def decorate(command: _Command) -> Any:
        @wraps(command)
        def run(**given: Any) -> Any:
            return command(_inquiry(given), **given)

        return options(*where, *HOW, OUTPUT)(run)

    return decorate


def _inquiry(given: dict[str, Any]) -> Inquiry:
    """Take what is common from what was given."""
    told = Options(
        NOBODY,
        lb_class=given.pop("lb_class") or None,
        ignore_exclude_lb=given.pop("ignore_exclude_lb"),
        release=RELEASES[given.pop("metallb_release")],
        drain_on_cordon=given.pop("drain_on_cordon"),
    )
    source, context = given.pop("dump", None), given.pop("context", None)
    kubeconfig = given.pop("kubeconfig", "")
    elsewhere = source is not None or context is not None or bool(kubeconfig)
    return Inquiry(
        output=given.pop("output"),
        source=source,
        context=context,
        kubeconfig=kubeconfig,
        namespace=given.pop("namespace") or default_namespace(),
        options=told,
        node=_node(given, elsewhere) if "node" in given else NOBODY,
    )


def _node(given: dict[str, Any], elsewhere: bool) -> str:
    """Return whose speaker to ask; `elsewhere`: a source was named."""
    named, cluster = given.pop("node"), given.pop("cluster")
    if named and (elsewhere or cluster):
        raise click.UsageError("--node asks a running speaker, and no other source beside it")
    return named or (NOBODY if elsewhere or cluster else os.environ.get(NODE, NOBODY))
