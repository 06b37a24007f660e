"""`clarion drain NODE`: has a node hand over all that it announces, and waits until it has."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from clarion.doctor.finding import plain, some
from clarion.drain.announced import announced
from clarion.drain.candidates import without_candidate
from clarion.drain.cluster import DrainCluster, addresses, page_of
from clarion.drain.duties import Drained, DrainWatch, Duty, DutyRow, drained, duties, holders
from clarion.options import (
    CONTEXT,
    DRAIN_ON_CORDON,
    IGNORE_EXCLUDE_LB,
    KUBECONFIG,
    LB_CLASS,
    ML_LABELS,
    NAMESPACE,
    OUTPUT,
    PORT,
    RELEASE,
    options,
)
from clarion.reaching.way import UnseenClusterError, cluster
from clarion.render import console, write_json
from kube.api.client import ApiError
from plan.release import RELEASES, Options
from plan.service import EXCLUDE_LABEL
from process.settings import default_namespace

LOOK = 0.5
"""Seconds between two looks: one is a list of the one node's objects."""
INTERRUPTED = 130
LOWEST_FAULT = 500
"""Of the HTTP statuses with which a server takes the blame."""


class DrainRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    node: str
    timeout: float
    force: bool
    ask_speaker: bool
    namespace: str
    context: str | None
    kubeconfig: str
    ml_labels: str
    port: int
    lb_class: str
    metallb_release: str
    ignore_exclude_lb: bool
    drain_on_cordon: bool

    @property
    def options(self) -> Options:
        """What the speakers were told."""
        return Options(
            "",
            lb_class=self.lb_class or None,
            release=RELEASES[self.metallb_release],
            drain_on_cordon=self.drain_on_cordon,
        )


@click.command()
@click.argument("node")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds to wait for the last of it.",
)
@click.option("--force", is_flag=True, help="Although services will be left without any node.")
@click.option(
    "--ask-speaker",
    is_flag=True,
    help="Believe it only once the node's own speaker says so on its /metrics, too.",
)
@options(
    OUTPUT,
    CONTEXT,
    KUBECONFIG,
    NAMESPACE,
    ML_LABELS,
    PORT,
    LB_CLASS,
    RELEASE,
    IGNORE_EXCLUDE_LB,
    DRAIN_ON_CORDON,
)
def drain(output: str, **given: object) -> None:
    """Exclude NODE from load balancing, and wait until all its IPs and routes are handed over.

    Sets a label on the Node by your own kubeconfig. `clarion undrain NODE` takes it off.
    """
    request = msgspec.convert(given, DrainRequest)
    if not request.namespace:
        request = msgspec.structs.replace(request, namespace=default_namespace())
    if request.ignore_exclude_lb:
        raise UnseenClusterError(f"speakers with --ignore-exclude-lb heed no label {EXCLUDE_LABEL}")
    labelled = False

    def note() -> None:
        nonlocal labelled
        labelled = True

    try:
        found = asyncio.run(_drain(request, note))
    except KeyboardInterrupt:
        _interrupted(request.node, labelled)
    except ApiError as error:
        stays = f"; {_stays(request.node)}" if labelled else ""
        raise UnseenClusterError(f"{error}{stays}") from None
    _answer(found, output)


def _interrupted(node: str, labelled: bool) -> NoReturn:
    text = _stays(node) if labelled else f"nothing was changed on node {plain(node, 253)}"
    click.echo(f"clarion: interrupted: {text}", err=True)
    raise click.exceptions.Exit(INTERRUPTED)


def _stays(node: str) -> str:
    name = plain(node, 253)
    return f"the label stays on node {name}, `clarion undrain {name}` takes it off"


# ---- the work


async def _drain(request: DrainRequest, note_label: Callable[[], None]) -> Drained:
    async with cluster(request.kubeconfig, request.context) as client:
        where = DrainCluster(client, request.namespace)
        before = await where.node(request.node)
        was_labelled = EXCLUDE_LABEL in before.labels
        speaker = await _prepare(where, request, was_labelled)
        began = time.monotonic()
        watch = DrainWatch(began, request.timeout)
        # Before the label: what goes at once shall be among what was handed over.
        watch.handle_look(duties(await where.statuses(request.node), request.node), began)
        # From here on it may be there, even if the answer never comes.
        note_label()
        if not was_labelled:
            await where.label(request.node, present=True)
        await _follow(where, request, speaker, watch)
        held, ips = await _heirs(where, watch)
        return drained(
            watch,
            held,
            ips,
            source=request.context or "cluster",
            node=request.node,
            was_labelled=was_labelled,
            seconds=time.monotonic() - began,
        )


async def _prepare(where: DrainCluster, request: DrainRequest, was_labelled: bool) -> str:
    """Return the address of the node's speaker, where it is to be asked.

    Raises `UnseenClusterError` where the node is not to be drained.
    """
    speakers = await where.speakers(request.ml_labels)
    if request.ask_speaker and request.node not in (speakers or {}):
        raise UnseenClusterError(f"--ask-speaker: no speaker's pod is known on {request.node}")
    if not was_labelled:
        held = holders(await where.statuses())
        snapshot, options = await where.snapshot(), request.options
        lost = without_candidate(snapshot, request.node, options, held, speakers or None)
        _refuse_loss(request, lost)
    return speakers[request.node] if request.ask_speaker and speakers else ""


def _refuse_loss(request: DrainRequest, lost: tuple[str, ...]) -> None:
    if lost and not request.force:
        raise UnseenClusterError(
            f"without node {request.node} no node may announce {some(lost)}"
            f" ({len(lost)} services); --force drains it all the same"
        )


async def _follow(
    where: DrainCluster, request: DrainRequest, speaker: str, watch: DrainWatch
) -> None:
    """Look until all is handed over, or the time is up. Raises `ApiError`."""
    with _progress() as shown:
        task = shown.add_task(f"draining {plain(request.node, 64)}", total=None)
        while True:
            with _patience(watch):
                left = await _left(where, request, speaker)
                watch.handle_look(left, time.monotonic())
                shown.update(task, total=len(watch.seen), completed=len(watch.seen - left))
            if watch.is_done(now := time.monotonic()) or watch.is_late(now):
                return
            await asyncio.sleep(LOOK)


@contextmanager
def _patience(watch: DrainWatch) -> Iterator[None]:
    """Let a look fail that may succeed when it is repeated, while there is time."""
    try:
        yield
    except ApiError as error:
        lasts = error.status not in (0, 429) and error.status < LOWEST_FAULT
        if lasts or watch.is_late(time.monotonic()):
            raise


async def _left(where: DrainCluster, request: DrainRequest, speaker: str) -> frozenset[Duty]:
    left = duties(await where.statuses(request.node), request.node)
    return left | await _speakers_word(speaker, request) if speaker else left


async def _heirs(
    where: DrainCluster, watch: DrainWatch
) -> tuple[Mapping[Duty, tuple[str, ...]], Mapping[str, tuple[str, ...]]]:
    """Return who announces what in the end, and the IPs of all services.

    An heir answers before it writes so, and hundreds of objects take it seconds to write.
    """
    while True:
        held = holders(await where.statuses())
        ips = addresses(await where.snapshot())
        if not watch.heirless(held, ips) or watch.is_late(time.monotonic()):
            return held, ips
        await asyncio.sleep(LOOK)


async def _speakers_word(ip: str, request: DrainRequest) -> frozenset[Duty]:
    try:
        page = await asyncio.to_thread(page_of, ip, request.port)
    except OSError as error:
        raise ApiError(0, f"--ask-speaker: {plain(ip)}: {error}") from None
    return announced(page, request.node)


def _progress() -> Progress:
    """Return a bar on the terminal of standard error; where that is none, nothing is shown."""
    console = Console(stderr=True, highlight=False, markup=False)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    return Progress(
        *columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal,
        transient=True,
    )  # fmt: skip


# ---- the answer


def _answer(found: Drained, output: str) -> NoReturn:
    if output == "json":
        write_json(found)
    else:
        _draw(found)
    raise click.exceptions.Exit(0 if found.well else 1)


def _draw(found: Drained) -> None:
    shown = console()
    for rows, style, what in (
        (found.moved, "green", "handed over to"),
        (found.left, "red", "still announced by"),
        (found.orphans, "red", "given up, and announced by nobody"),
    ):
        for row in rows:
            shown.print(Text(_line(row, what), style=style), soft_wrap=True)
    count = f"{len(found.moved)} of {len(found.moved) + len(found.left) + len(found.orphans)}"
    text = f"{found.node}: {count} handed over in {found.seconds:.1f} s"
    text += "" if found.left else ", it announces nothing"
    shown.print(Text(f"{text}; {_stays(found.node)}"), soft_wrap=True)


def _line(row: DutyRow, what: str) -> str:
    ips = some(row.ips) or "no IP"
    return f"{row.service} ({row.protocol.value}, {ips}): {what} {some(row.nodes)}".rstrip()
