"""What is wrong with the input, where, and how badly: one line for a person."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

Path = tuple[str | int, ...]
"""The way to a field: mapping keys and list indices, for instance `("spec", "addresses", 0)`."""
Finding = tuple[Path, str]
"""A field of an object that is known to the reader, and what is wrong with it."""

FAULT = "not used, by a fault of this program"
MAX_QUOTED = 80
MAX_PROBLEMS = 100


class Severity(StrEnum):
    """How much a problem matters."""

    ERROR = "error"
    """What it names is not used; the last good state of it is kept where there is one."""
    WARNING = "warning"
    """It is used, but probably not as its author meant."""
    DEBUG = "debug"
    """Nothing is wrong; it explains what was left out."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `line` counts from 1, 0 where there is none; empty texts are left out."""

    severity: Severity
    file: str
    line: int
    object: str
    field: str
    message: str

    def __str__(self) -> str:
        """Return one line: `file:line: severity: object: field: message`."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        parts = (place, self.severity.value, self.object, self.field, self.message)
        return ": ".join(part for part in parts if part)


def fault(subject: str, error: Exception, file: str = "") -> Problem:
    """Blame this program, not the object: nothing that is read may make it raise such an error.

    So one object costs only itself, and is named, as it is wherever it is read again.
    """
    name = subject if subject.isprintable() else quoted(subject)
    text = quoted(f"{type(error).__name__}: {error}")
    return Problem(Severity.ERROR, file, 0, name, "", f"{FAULT}: {text}")


def quoted(text: object) -> str:
    """Quote input for a message: no control characters, at most about `MAX_QUOTED` characters."""
    plain = str(text)
    return repr(plain if len(plain) <= MAX_QUOTED else plain[: MAX_QUOTED - 1] + "…")


def field_text(path: Path) -> str:
    """Write a path as people do: `spec.addresses[0]`, `metadata.labels[example.com/rack]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif not step.isprintable() or len(step) > MAX_QUOTED:
            text += f"[{quoted(step)}]"
        elif "." in step or "/" in step:
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def worst_first(problems: Iterable[Problem]) -> list[Problem]:
    """Sort by severity and cut at `MAX_PROBLEMS`, with a last one that counts what was cut."""
    ranks = tuple(Severity)
    found = sorted(problems, key=lambda problem: ranks.index(problem.severity))
    more = len(found) - MAX_PROBLEMS
    if more <= 0:
        return found
    rest = Problem(found[MAX_PROBLEMS].severity, "", 0, "", "", f"{more} more problems")
    return [*found[:MAX_PROBLEMS], rest]
