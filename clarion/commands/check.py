"""`clarion check DIR|-`: manifests judged by file, line and field."""

from collections.abc import Sequence

import click
from rich.console import Console

from clarion.answers import Check, Remark, plain
from clarion.checks.hints import hints
from clarion.checks.judging import judgements
from clarion.looking import Inquiry, looking, remark
from clarion.render import LINE
from clarion.sources.dumps import STDIN, readings
from clarion.sources.picture import Picture
from kube.problem import Problem, Severity
from kube.snapshot import Reading

MOST = 1_000
"""Findings that are told; the counts are of all."""


def answer(picture: Picture, strict: bool = False, fast_failover: bool = True) -> Check:
    """Return what is wrong with the manifests. `strict`: warnings are wrong, too."""
    found = list(dict.fromkeys((*judgements(picture), *hints(picture, fast_failover))))
    errors = sum(problem.severity is Severity.ERROR for problem in found)
    warnings = len(found) - errors
    return Check(
        source=picture.source,
        well=not errors and not (strict and warnings),
        remarks=_remarks(found),
        files=len(picture.readings),
        objects=_objects(picture.readings),
        errors=errors,
        warnings=warnings,
    )


def _remarks(found: Sequence[Problem]) -> tuple[Remark, ...]:
    """Return them in the order of the files; where there are too many, errors before warnings."""
    if len(found) > MOST:
        found = sorted(found, key=lambda problem: problem.severity is not Severity.ERROR)[:MOST]
    ordered = sorted(found, key=lambda problem: (problem.file, problem.line, problem.field))
    return tuple(map(remark, ordered))


def _objects(found: Sequence[Reading]) -> int:
    return sum(len(reading.views) + len(reading.broken) for reading in found)


def draw(found: Check, shown: Console) -> None:
    """Write what was looked at; the findings follow."""
    text = (
        f"{found.source}: {found.files} files, {found.objects} objects that count, "
        f"{found.errors} errors, {found.warnings} warnings"
    )
    shown.print(text, style="green" if found.well else "red", **LINE)


@click.command()
@click.argument("manifests", metavar="DIR|FILE|-")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@click.option(
    "--bgp-fast-failover",
    type=click.Choice(["auto", "off"]),
    default="auto",
    show_default=True,
    help="As the speakers are told.",
)
@looking()
def check(inquiry: Inquiry, manifests: str, strict: bool, bgp_fast_failover: str) -> None:
    """Judge manifests by file, line and field, by MetalLB's rules and ours.

    For CI: exit status 1 if anything would be refused. What stands elsewhere, as Secrets and
    Nodes may, is not missed.
    """
    name = "stdin" if manifests == STDIN else plain(manifests)
    found = readings(manifests, lines=True)
    picture = Picture.made(name, inquiry.namespace, inquiry.options, found)
    inquiry.tell(answer(picture, strict, bgp_fast_failover == "auto"), draw)
