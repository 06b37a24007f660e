"""The folder of `--source` is looked at again at leisure, and read at once at the start."""

import asyncio
from pathlib import Path

from kube.files.directory import DirectorySource
from kube.snapshot import Snapshot
from speakers import MANIFEST


def test_the_first_look_hurries_and_the_next_ones_do_not(tmp_path: Path) -> None:
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1

    states: asyncio.Queue[Snapshot] = asyncio.Queue()

    async def scenario() -> None:
        (tmp_path / "a.yaml").write_text(MANIFEST.format(name="a", ip="10.0.0.1"))
        source = DirectorySource(
            tmp_path, "metallb-system", lambda found, _: states.put_nowait(found), lambda: pause
        )
        running = asyncio.create_task(source.run())
        await asyncio.wait_for(states.get(), 5)
        assert pauses == 0
        (tmp_path / "b.yaml").write_text(MANIFEST.format(name="b", ip="10.0.0.2"))
        source.reload()
        await asyncio.wait_for(states.get(), 5)
        assert pauses > 0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
