"""Reads from each speaker's metrics its version and the settings that are to be alike. A driver."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import Sequence

from clarion.doctor.agreement import SpeakerFacts
from clarion.doctor.documents import SpeakerPlace
from clarion.doctor.told import told

TIMEOUT = 3.0
MOST = 16 * 1024 * 1024
"""Bytes of a page: one of 5,000 IPs has 2 MiB."""
AT_ONCE = 16


async def ask_all(
    places: Sequence[SpeakerPlace], port: int
) -> tuple[tuple[SpeakerFacts, ...], tuple[str, ...]]:
    """Return what those say that answer, and the nodes of those that do not."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(place: SpeakerPlace) -> SpeakerFacts | None:
        async with turns:
            text = await asyncio.to_thread(_page, place.ip, port)
            return None if text is None else told(place.node, text)

    found = await asyncio.gather(*map(one, places))
    silent = tuple(place.node for place, its in zip(places, found, strict=True) if its is None)
    return tuple(filter(None, found)), silent


def _page(ip: str, port: int) -> str | None:
    host = f"[{ip}]" if ":" in ip else ip
    try:
        # The address is one of a pod, written by the cluster, and no URL of anybody's.
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=TIMEOUT) as answer:
            return str(answer.read(MOST).decode(errors="replace"))
    except (OSError, ValueError, urllib.error.URLError):
        return None
