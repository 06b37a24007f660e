"""What the operator set: the values behind the controller's flags and variables."""

import ssl
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from process.tls import Tls

METRICS_PORT, WEBHOOK_PORT = 7472, 9443


class WebhookMode(StrEnum):
    """Whether webhooks are served, and whether anything else is done."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    ONLY_WEBHOOK = "onlywebhook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one controller, checked."""

    namespace: str
    log_level: str
    host: str
    port: int
    health_port: int
    page: bool
    """Whether there is a page for people beside /metrics."""
    lb_class: str | None
    pod_name: str
    deployment: str
    """Owns the gossip Secret that we make."""
    gossip_secret: str
    """The name of that Secret; empty: none is made."""
    webhook_mode: WebhookMode
    webhook_port: int = WEBHOOK_PORT
    webhook_secret: str = "metallb-webhook-cert"  # noqa: S105 - the name of an object
    webhook_service: str = "metallb-webhook-service"
    rotates: bool = True
    """Whether certificates are made and kept by us."""
    cert_dir: Path | None = None
    """Where they are read from instead."""
    bgp_type: str = ""
    """METALLB_BGP_TYPE: it chooses which fields of BGP objects are refused."""
    source: Path | None = None
    """A folder of manifests, in place of the Kubernetes API."""
    state: Path | None = None
    """Where the addresses of the folder's services are kept."""
    webhook_terms: tuple[ssl.TLSVersion, str] = (ssl.TLSVersion.TLSv1_2, "")
    """The least version of TLS for them, and suites in OpenSSL's words."""
    tls: "Tls | None" = None
    """What /metrics is served with; None: plain HTTP."""

    @property
    def allocates(self) -> bool:
        """Whether services get addresses from this process."""
        return self.webhook_mode is not WebhookMode.ONLY_WEBHOOK

    @property
    def serves_webhooks(self) -> bool:
        """Whether the API server may ask this process."""
        return self.webhook_mode is not WebhookMode.DISABLED and self.source is None
