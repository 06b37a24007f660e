"""What is told before the watch has shown anything waits for it, and is not forgotten."""

import asyncio
import json
import time

import structlog

from kube.api.bgp_state import OwnStatuses
from kube.api.client import ApiClient
from kube.api.state import Scope
from kube.api.turns import Turns
from speaker.cluster.bgp_publisher import BgpPublisher


def test_nothing_is_written_before_it_is_known_what_there_is() -> None:
    async def scenario() -> None:
        asked: asyncio.Queue[str] = asyncio.Queue()
        # Never opened: every request fails, and so is seen.
        client = ApiClient()
        statuses = OwnStatuses(client, "a", "m", time.monotonic, structlog.get_logger())
        scope = Scope(node="a", namespace="m", bgp=True)
        made = BgpPublisher(
            client, statuses, scope, list, Turns(), lambda key, error: asked.put_nowait(key)
        )
        assert made.note("shop/web", ("r2", "r1", "r2"))
        assert not made.note("shop/web", ("r1",))
        assert not made.note("shop/db", ())
        await asyncio.gather(*made._queue._workers)
        assert asked.empty()
        assert made._early == {"shop/web", "shop/db"}
        page = json.dumps({"metadata": {"resourceVersion": "1"}, "items": []}).encode()
        assert statuses.reflector.begin_page(page) == []
        statuses._take(statuses.reflector, statuses.reflector.end_page())
        async with asyncio.timeout(5):
            assert await asked.get() == "shop/web"
        assert not made._early
        made.close()

    asyncio.run(scenario())
