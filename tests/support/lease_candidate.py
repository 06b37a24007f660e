"""One process that wants to lead, for tests: says what it finds, and lets go on SIGTERM.

    python lease_candidate.py KUBECONFIG NAMESPACE LEASE NAME

Each line is JSON: what happened, and when by the clock that all processes of the machine share. It
looks every 10 ms whether it leads, as one that writes would, and says what it finds when that
differs from the last look, with the time of the last look that found that it leads.
"""

import asyncio
import json
import signal
import sys
from typing import Any

import structlog

from kube.api.client import ApiClient
from kube.api.leading import Leadership, boot_clock, make_identity

LOOK = 0.01


def say(event: str, **more: Any) -> None:
    """Write one line at once: the next signal may be SIGKILL."""
    print(json.dumps({"event": event, "at": boot_clock(), **more}), flush=True)


async def look(leadership: Leadership) -> None:
    """Tell each look that finds other than the last one, and when the last good one was."""
    leads, last = False, 0.0
    while True:
        now = boot_clock()
        found = leadership.leads
        if found is not leads:
            leads = found
            say("looks", leads=leads, last=last)
        if found:
            last = now
        await asyncio.sleep(LOOK)


async def main(config: str, namespace: str, lease: str, name: str) -> None:
    """Want to lead until SIGTERM."""
    client = ApiClient(config)
    await client.open()
    identity = make_identity(name)
    leadership = Leadership(
        client,
        (namespace, lease),
        identity,
        lambda leads: say("change", leads=leads),
        structlog.get_logger(),
    )
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    running = asyncio.create_task(leadership.run())
    looking = asyncio.create_task(look(leadership))
    say("started", identity=identity)
    await told.wait()
    say("told")
    await leadership.release()
    say("released")
    looking.cancel()
    await asyncio.gather(running, looking, return_exceptions=True)
    await client.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(*sys.argv[1:]))
