"""`python -m bench.compare CHECKOUT [ROUNDS]`: our speaker and another checkout's, in turn.

Both have 1,000 service IPs, each on a segment of its own, and are asked as `python -m bench` asks:
one after the other, round by round, so that what the machine does besides meets both. Needs root;
prints both columns and the ratio of ours to the other's.
"""

import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.__main__ import ROOT, SERVICES, Responder, measure, process, service_ips, summary
from dualstack import dualstack, manifests

ROUNDS = 20
SETTLED = 90.0
"""Seconds until the announcements are out and all that is remembered for a minute is forgotten."""
SPEAKER = "import sys; sys.path.insert(0, sys.argv.pop(1)); from speaker.cli import main; main()"


def compared(checkout: Path, name: str, stack: ExitStack) -> Responder:
    """Start the checkout's speaker on a segment of its own."""
    machines = stack.enter_context(dualstack("client", "node", "stranger"))
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    source = manifests(folder / "source", *service_ips(SERVICES))
    flags = ["--source", str(source), "--node-name", "node", "--port", "0", "--log-level", "warn"]
    command = ["-c", SPEAKER, str(checkout), *flags]
    return Responder(name, machines, stack.enter_context(process(machines["node"], *command)))


def table(ours: dict[str, Any], other: dict[str, Any]) -> str:
    """Return both columns as Markdown, with ratios."""
    lines = ["| | other | ours | ratio |", "|---|---|---|---|"]
    for key in ours:
        ratio = f"{ours[key] / other[key]:.3f}" if other[key] else ""
        lines.append(f"| {key} | {other[key]} | {ours[key]} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    checkout = Path(sys.argv[1]).resolve()
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    with ExitStack() as stack:
        other = compared(checkout, "other", stack)
        ours = compared(ROOT, "ours", stack)
        time.sleep(SETTLED)
        for number in range(rounds):
            for responder in (ours, other) if number % 2 else (other, ours):
                measure(responder)
        print(table(summary(ours), summary(other)))
        ratios = [a / b for a, b in zip(ours.per_answer, other.per_answer, strict=True)]
        print(f"processor time an answer, median of the ratios: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
