"""One Kubernetes object as plain data that knows where it was read. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kube.problem import Path, Problem, Severity, field_text


class ManifestError(Exception):
    """A text, or one object of it, that cannot be read; `problem` says where and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an object was read: enough to name one of its fields in a problem."""

    file: str = ""
    object: str = ""
    lines: Mapping[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """Line of the field, or of the nearest field around it; 0 where there are no lines."""
        for length in range(len(path), -1, -1):
            if (found := self.lines.get(path[:length])) is not None:
                return found
        return 0

    def problem(self, severity: Severity, path: Path, message: str) -> Problem:
        """Name the object and the field at `path`."""
        return Problem(severity, self.file, self.line(path), self.object, field_text(path), message)

    def error(self, path: Path, message: str) -> Problem:
        """Name the field that makes the object unusable."""
        return self.problem(Severity.ERROR, path, message)

    def warning(self, path: Path, message: str) -> Problem:
        """Name the field that is probably not as meant."""
        return self.problem(Severity.WARNING, path, message)

    def only(self, *paths: Path) -> "Origin":
        """Forget all lines but those of the object and of `paths`, to save memory."""
        if not self.lines:
            return self
        kept = {path: self.line(path) for path in ((), *paths)}
        return Origin(self.file, self.object, kept)


@dataclass(frozen=True, slots=True)
class Document:
    """One Kubernetes object as plain data. Kind, name and the others are empty where absent."""

    kind: str
    api_version: str
    name: str
    namespace: str
    data: Mapping[str, Any]
    origin: Origin

    def line(self, path: Path) -> int:
        """Line of the field at `path`, from 1."""
        return self.origin.line(path)


def document(data: Any, origin: Origin) -> Document:
    """Wrap the data of one object; `origin.object` is filled in from it."""
    if not isinstance(data, dict):
        raise ManifestError(origin.error((), "is not an object with fields"))
    metadata = data.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kind, api, name, namespace = (
        value if isinstance(value, str) else ""
        for value in (
            data.get("kind"),
            data.get("apiVersion"),
            metadata.get("name"),
            metadata.get("namespace"),
        )
    )
    title = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
    titled = Origin(origin.file, title.strip()[:300] if title.isprintable() else "", origin.lines)
    return Document(kind, api, name, namespace, data, titled)
