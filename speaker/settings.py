"""What the operator set: the values behind flags, variables and mounted files."""

import json
import re
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gossip.config import LAN, RECLAIM_AFTER, WAN, Config
from gossip.wire.crypto import metallb_key
from gossip.wire.messages import CURRENT_VSN
from kube.durations import parse_duration
from ownership.announcing.pace import RATE
from ownership.election.quorum import QuorumMode
from ownership.liveness.targets import FAILOVER_AFTER
from plan.release import Release
from process.settings import SettingsError

if TYPE_CHECKING:
    from process.tls import Tls

GOSSIP_PORT = 7946
SHORT_SECRET = 16
"""Bytes: a shorter secret can be guessed. It is warned of at the start, as MetalLB takes any, and
refused where it would replace another: then it is most likely a file half written."""
SHORTEST_FAILOVER, LONGEST_FAILOVER = 0.1, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipTuning:
    """The guide's MEMBERLIST_* variables; None keeps the profile's number."""

    tcp_timeout: float | None = None
    push_pull_interval: float | None = None
    gossip_interval: float | None = None
    suspicion_mult: int | None = None
    vsn: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one speaker, checked. The secret key is never printed."""

    node_name: str
    source: Path | None
    """The folder of manifests; None: the Kubernetes API."""
    namespace: str
    log_level: str
    host: str
    port: int
    health_port: int
    lb_class: str | None
    ignore_exclude_lb: bool
    bind_address: str
    bind_port: int
    labels: str
    join: tuple[str, ...]
    secret: "GossipSecret"
    secret_path: str
    gossip: Config
    exclude: re.Pattern[str] | None
    release: Release = Release.V0_16
    pod_name: str = ""
    announce_rate: float = RATE
    """Announcement frames a second and interface; 0 for no limit."""
    announce_refresh: float = 0.0
    """Seconds between announcements that go on for ever; 0 for none."""
    failover_after: float = FAILOVER_AFTER
    """Seconds after which a dead node's IPs move, on average; 0: when memberlist says so."""
    quorum: QuorumMode = QuorumMode.OFF
    """What part of the nodes has to be in reach."""
    state: Path | None = None
    """The file in which a controller keeps the addresses of the folder's services."""
    bgp_engine: Path | None = None
    """The folder that the BGP engine shares with us; None: no BGP."""
    bgp_fast_failover: bool = True
    """Whether the MED tells routers that another node is gone."""
    drain_on_cordon: bool = False
    """Whether a cordoned node announces nothing."""
    page: bool = True
    """Whether there is a page for people beside /metrics."""
    tls: "Tls | None" = None
    """What /metrics is served with; None: plain HTTP."""

    @property
    def gossips(self) -> bool:
        """Whether there is gossip at all: MetalLB's rule, an address and the peers' labels."""
        return bool(self.bind_address) and (self.source is not None or bool(self.labels))


@dataclass(frozen=True, slots=True)
class GossipSecret:
    """The gossip key; its text form shows none of it."""

    key: bytes | None
    length: int = 0
    digest: bytes = b""
    """Of all its bytes: the key tells nothing of those after the first 32."""

    def __repr__(self) -> str:
        return f"GossipSecret({'set' if self.key else 'none'})"


def read_secret(path: str, value: str) -> GossipSecret:
    """Return the key from the file or folder at `path`, else from `value`, else none.

    A folder is a mounted Secret with the file `secretkey` in it. Nothing is trimmed: MetalLB takes
    the bytes as they are. Raises SettingsError where a path is set but holds no key.
    """
    if not path:
        return _secret(value.encode()) if value else GossipSecret(None)
    file = Path(path)
    try:
        if file.is_dir():
            file = file / "secretkey"
        content = file.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"--ml-secret-key-path: {file}: {reason}") from None
    if not content:
        raise SettingsError(f"--ml-secret-key-path: {file}: the file is empty")
    return _secret(content)


def _secret(content: bytes) -> GossipSecret:
    return GossipSecret(metallb_key(content), len(content), sha256(content).digest())


def split_seed(text: str, default_port: int) -> tuple[str, int]:
    """Split `HOST`, `HOST:PORT`, `IPV6` or `[IPV6]:PORT`; raise ValueError for a bad port."""
    try:
        return str(ip_address(text.strip("[]"))), default_port
    except ValueError:
        host, separator, port = text.rpartition(":")
        if not separator:
            return text, default_port
        number = int(port)
        if not 0 < number < 1 << 16:
            raise ValueError(f"port out of range: {number}") from None
        return host.strip("[]"), number


def delegate_version(text: str) -> bytes:
    """Return our version bytes with the delegate versions `MIN,MAX,CUR`; raise SettingsError.

    memberlist refuses peers whose delegate versions do not overlap: MetalLB has 0,0,0, serf 2,5,5.
    """
    try:
        low, high, current = (int(part) for part in text.split(","))
        if not 0 <= low <= current <= high <= 255:
            raise ValueError
    except ValueError:
        name = "CLARION_ML_DELEGATE_VERSION"
        raise SettingsError(f"{name}: must be MIN,MAX,CUR from 0 to 255, not {text!r}") from None
    return CURRENT_VSN[:3] + bytes((low, high, current))


def failover_after(text: str) -> float:
    """Return seconds, 0 for `off`; raise SettingsError for no duration or one out of bounds."""
    if text == "off":
        return 0.0
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise SettingsError(f"--failover-after: {error}") from None
    if not SHORTEST_FAILOVER <= seconds <= LONGEST_FAILOVER:
        raise SettingsError(f"--failover-after: must be off or 100ms to 5s, not {text!r}")
    return seconds


def gossip_config(wan: bool, tuning: GossipTuning, file: Path) -> Config:
    """Return the profile, replaced by MetalLB's `config.json` if mounted, with the tuning on top.

    Raises SettingsError naming the file and key, or the variable, that cannot be used.
    """
    base = WAN if wan else LAN
    if file.exists():
        base = _from_file(file)
    base = replace(base, dead_node_reclaim_time=RECLAIM_AFTER)
    changes = {
        name: getattr(tuning, name)
        for name in GossipTuning.__dataclass_fields__
        if getattr(tuning, name) is not None
    }
    try:
        return replace(base, **changes)
    except ValueError as error:
        raise SettingsError(f"MEMBERLIST_*: {error}") from None


_FILE_DURATIONS = {
    "TCPTimeout": "tcp_timeout",
    "PushPullInterval": "push_pull_interval",
    "ProbeTimeout": "probe_timeout",
    "ProbeInterval": "probe_interval",
    "GossipInterval": "gossip_interval",
    "GossipToTheDeadTime": "gossip_to_the_dead_time",
}
_FILE_NUMBERS = {
    "IndirectChecks": "indirect_checks",
    "RetransmitMult": "retransmit_mult",
    "SuspicionMult": "suspicion_mult",
    "SuspicionMaxTimeoutMult": "suspicion_max_timeout_mult",
    "AwarenessMaxMultiplier": "awareness_max_multiplier",
    "GossipNodes": "gossip_nodes",
    "UDPBufferSize": "udp_buffer_size",
}
_FILE_KEYS = {name: key for key, name in (_FILE_DURATIONS | _FILE_NUMBERS).items()}
"""What the file calls a field of `Config`; the bounds of all of them are there."""
_FILE_WIRE = {
    "GossipVerifyIncoming": "verify_incoming",
    "GossipVerifyOutgoing": "verify_outgoing",
    "EnableCompression": "compress",
}


def _from_file(file: Path) -> Config:
    """Read MetalLB's memberlist file: it replaces the whole profile, a missing number being 0."""
    content = _load_json(file)
    changes: dict[str, Any] = {"tcp_pings": not content.get("DisableTcpPings", False)}
    for key, name in _FILE_DURATIONS.items():
        try:
            changes[name] = parse_duration(str(content.get(key, "")))
        except ValueError as error:
            raise SettingsError(f"{file}: {key}: {error}") from None
    for key, name in _FILE_NUMBERS.items():
        changes[name] = _take_typed(file, content, key, int, 0)
    wire: dict[str, Any] = {
        name: _take_typed(file, content, key, bool, False) for key, name in _FILE_WIRE.items()
    }
    try:
        return replace(LAN, wire=replace(LAN.wire, **wire), **changes)
    except ValueError as error:
        name, _, reason = str(error).partition(": ")
        raise SettingsError(f"{file}: {_FILE_KEYS.get(name, name)}: {reason}") from None


def _load_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: {error}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{file}: must hold one object")
    return content


def _take_typed(
    file: Path, content: dict[str, Any], key: str, kind: type[int], missing: int
) -> int:
    value = content.get(key, missing)
    if type(value) is not kind and key in content:
        raise SettingsError(f"{file}: {key}: must be of type {kind.__name__}, not {value!r}")
    return kind(value)


def exclude_pattern(file: Path) -> re.Pattern[str] | None:
    """Return MetalLB's `excludel2.yaml` as one pattern; None where there is no file or no entry.

    Go's RE2 and Python's syntax agree on what interface names need. Raises SettingsError.
    """
    if not file.exists():
        return None
    key = "announcedInterfacesToExclude"
    try:
        content = yaml.load(file.read_text(), Loader=yaml.CSafeLoader) or {}
        patterns = content.get(key) or []
        joined = "|".join(f"({pattern})" for pattern in patterns)
        return re.compile(joined) if joined else None
    except (OSError, yaml.YAMLError, AttributeError, TypeError, re.error) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{file}: {key}: {reason}") from None
