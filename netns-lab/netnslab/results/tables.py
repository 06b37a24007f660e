"""`lab report`: the table of docs/failover.md, made from result files."""

import json
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- made by: lab report -->", "<!-- end -->"
# Failures of one attempt that the page names; all of them are in the file.
MOST = 3
HEAD = (
    "| scenario | nodes, IPs | IP | faults | outage p50 / p99 ms | silent p50 / p99 ms | lost "
    "| new TCP failed | TCP reset | most moves | dual ms | |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|\n"
)


def load(folder: Path) -> list[dict[str, Any]]:
    """All results of a folder by name. Raises ValueError for a file that is none."""
    documents = []
    for file in sorted(folder.glob("*.json")):
        document = json.loads(file.read_text())
        if "scenario" not in document:
            raise ValueError(f"{file} holds no result of the lab")
        documents.append(document)
    return sorted(documents, key=lambda one: (one["family"], one["scenario"], one["nodes"]))


def _cells(document: dict[str, Any]) -> list[str]:
    seen = document["summary"]
    limits = document["settings"]["limits"]
    size, family = f"{document['nodes']}, {document['services']}", f"IPv{document['family']}"
    if not seen:
        return [document["scenario"], size, family, "0", *["-"] * 7, "failed"]
    pairs = [
        f"{seen[f'{name}_p50']:.0f} / {seen[f'{name}_p99']:.0f}"
        + (f" (of {limits[name][0]:g} / {limits[name][1]:g})" if name in limits else "")
        for name in ("outage_ms", "silent_ms")
    ]
    return [
        document["scenario"],
        size,
        family,
        f"{seen['faults']:g}",
        *pairs,
        f"{seen['lost']:g} of {seen['sent']:g}",
        f"{seen['tcp_failed']:g} of {seen['tcp_connects']:g}",
        f"{seen['tcp_reset']:g}",
        f"{seen['moves_most']:g}",
        f"{seen['dual_answer_ms_most']:g}",
        _verdict(document),
    ]


def _verdict(document: dict[str, Any]) -> str:
    """The last cell of the line: passed or not, and at which attempt."""
    earlier = len(document.get("earlier_attempts", ()))
    verdict = "ok" if document["ok"] else "**missed**"
    return f"{verdict}, attempt {earlier + 1}" if earlier else verdict


def _where(documents: list[dict[str, Any]]) -> str:
    """Commits and machines: where all of it is from."""
    commits = sorted({document["commit"][:12] for document in documents})
    machines = sorted(
        {
            f"{one['cpus']} cores, kernel {one['kernel']}, Python {one['python']}"
            for one in (document["machine"] for document in documents)
        }
    )
    return f"Commit {', '.join(commits)}; {'; '.join(machines)}.\n"


def _notes(documents: list[dict[str, Any]]) -> str:
    lines = []
    for document in documents:
        name = f"`{document['scenario']}` IPv{document['family']}"
        if document["scenario"] in ("loss", "quota"):
            notes = "; ".join(note.removeprefix("run 1: ") for note in document["notes"])
            lines.append(f"- {name}, {document['duration']:g} s: {notes}.\n")
        lines += [f"- {name} missed: {failure}\n" for failure in document["failures"][:MOST]]
        for number, attempt in enumerate(document.get("earlier_attempts", ()), 1):
            said = attempt["failures"][:MOST] or [attempt["outcome"]]
            lines += [f"- {name}, attempt {number}: {failure}\n" for failure in said]
    return "".join(lines)


def render(documents: list[dict[str, Any]]) -> str:
    """The whole part between the markers."""
    rows = "".join(f"| {' | '.join(_cells(document))} |\n" for document in documents)
    return "\n".join((_where(documents), HEAD + rows, _notes(documents)))


def write(folder: Path, page: Path) -> int:
    """Put the table into the page; how many results it shows. Raises ValueError, OSError."""
    documents = load(folder)
    if not documents:
        raise ValueError(f"no results in {folder}: make them with lab matrix")
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{page} has no place for the table: {BEGIN} ... {END}")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    page.write_text(f"{before}{BEGIN}\n\n{render(documents)}\n{END}{after}")
    return len(documents)
