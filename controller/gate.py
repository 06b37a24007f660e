"""The webhooks of one replica: what is watched for them, their certificate, and their server."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from structlog.typing import FilteringBoundLogger as Log

from controller.admission.refusal import ReviewError
from controller.admission.world import BGPType
from controller.cluster.knowledge import Knowledge
from controller.cluster.watching import Watching
from controller.settings import Settings
from controller.webhooks.certificates import HeldCertificates
from controller.webhooks.contexts import make_context
from controller.webhooks.keeper import FileKeeper, Keeper, KeeperSettings
from controller.webhooks.metrics import WebhookMetrics
from controller.webhooks.server import WebhookServer
from kube.api.client import ApiClient
from process.loop_thread import LoopThread


class Gate:
    """Serves in a thread of its own, so that an answer never waits for what a watch brings."""

    def __init__(
        self,
        client: ApiClient,
        watching: Watching,
        settings: Settings,
        leads: Callable[[], bool],
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        self._settings, self._log = settings, log
        self.knowledge = Knowledge(
            client,
            watching,
            settings.namespace,
            BGPType.named(settings.bgp_type or None),
            clock,
            log,
        )
        answers = self.knowledge.answers()
        self.metrics = WebhookMetrics(answers)
        self._server = WebhookServer(answers, ReviewError, self.metrics, self._on_error)
        self._thread = LoopThread("webhooks")
        self.keeper = self._make_keeper(client, leads)

    def _make_keeper(self, client: ApiClient, leads: Callable[[], bool]) -> Keeper | FileKeeper:
        settings = self._settings
        if settings.cert_dir is not None:
            return FileKeeper(settings.cert_dir, self._take, self._log)
        kept = KeeperSettings(settings.namespace, settings.webhook_service, settings.webhook_secret)
        return Keeper(client, kept, leads, self._take, self._log)

    def parts(self) -> Mapping[str, Coroutine[Any, Any, None]]:
        """Return what is to run until the end, by name."""
        serving = self._server.run(self._settings.host, self._settings.webhook_port)
        return {
            "webhook watches": self.knowledge.run(),
            "webhook certificate": self.keeper.run(),
            "webhooks": self._thread.run(serving),
        }

    def handle_lead(self) -> None:
        """This replica leads from now on: what the last leader left undone is done."""
        self.keeper.look()

    @property
    def waiting_for(self) -> str | None:
        """Why nothing can be answered yet."""
        return self.knowledge.waiting_for or self.keeper.waiting_for

    def _take(self, held: HeldCertificates) -> None:
        self._server.context = make_context(held, self._settings.webhook_terms)

    def _on_error(self, error: Exception) -> None:
        self._log.error("survived", part="webhooks", error=repr(error), exc_info=error)
