"""Who may announce in the routed network, by name; and the speaker that is ours among them."""

import signal
import subprocess
from collections.abc import Iterable
from importlib import import_module

from netnslab.errors import LabError
from netnslab.machines import manifests
from netnslab.machines.node import DEFAULT_SPEAKER, HTTP_PORT
from netnslab.routed import plan, sessions
from netnslab.routed.engine import DAEMONS, LabEngine
from netnslab.routed.nodes import PARTS, SPEAKER, BGPNode, IdleNode, PlainNode, Surroundings

EXITS_WITHIN = 30.0
# In the folder that both share, the engine says which daemons it runs.
DAEMON_LIST = "daemons"


class SpeakerNode(BGPNode):
    """A speaker with FRR beside it, as the two containers of its pod.

    It is `python -m speaker --bgp-engine=FOLDER`, and reads a folder of manifests of its own.

    The lab stands for whoever starts containers anew: `start` starts what does not run.
    """

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self.engine = LabEngine(self.name, around.host.namespace, around.logs)
        self._source = around.logs / f"of-{self.name}"
        self._secret = around.logs / "secretkey"
        self._log = around.logs / f"{self.name}-speaker.log"
        self._wanted = set(around.ips)
        self._process: subprocess.Popen[bytes] | None = None
        specs = sessions.specs_of_peers(around.given, around.neighbours)
        pool = [plan.SERVICES, plan.SERVICES6]
        manifests.write_bgp(self._source, pool, around.nodes, specs)
        if not self._secret.exists():
            manifests.write_secret(self._secret)

    def command(self) -> list[str]:
        """What is started."""
        around = self.around
        own = around.nodes[self.name]
        # Nodes on ports of their own do not reach each other by these addresses.
        gossips = not around.given.unnumbered
        flags = {
            "source": self._source,
            "node-name": self.name,
            "bgp-engine": self.engine.folder,
            "ml-bindaddr": own if gossips else "",
            "ml-secret-key-path": self._secret,
            "join": ",".join(around.nodes.values()) if gossips else "",
            "host": "127.0.0.1",
            "port": HTTP_PORT,
            "log-level": "info",
        }
        return [*DEFAULT_SPEAKER, *(f"--{name}={value}" for name, value in flags.items())]

    @property
    def running(self) -> bool:
        """Whether there is a process of the speaker."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """As of any node; FRR is started whole, if one daemon is not there."""
        if not self.engine.running:
            self.engine.kill(("bgpd", "bfdd", "zebra"))
            self.engine.start()
            (self.engine.folder / DAEMON_LIST).write_text("\n".join(DAEMONS))
        if not self.running:
            self.announce(self._wanted)
            with self._log.open("ab") as log:
                self._process = self.around.host.namespace.start(
                    self.command(), stdout=log.fileno(), stderr=log.fileno()
                )

    def announce(self, ips: Iterable[str]) -> None:
        """Write the services and have the folder read now."""
        self._wanted = set(ips)
        manifests.write_services(self._source, sorted(self._wanted), self.around.nodes)
        self._signal(signal.SIGHUP)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def stop(self) -> None:
        """The speaker first, which leads the traffic away; the engine waits for it."""
        self._signal(signal.SIGTERM)
        try:
            if self._process is not None:
                self._process.wait(EXITS_WITHIN)
        except subprocess.TimeoutExpired:
            self._kill_speaker()
        self.engine.stop()

    def kill(self, part: str = "") -> None:
        """As of any node."""
        if part not in ("", *PARTS):
            raise LabError(f"{part}: no part of a node")
        if part in ("", SPEAKER):
            self._kill_speaker()
        if part in DAEMONS:
            self.engine.kill([part])
        elif part != SPEAKER:
            self.engine.kill()

    def _kill_speaker(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """The end of the speaker's log."""
        return self._log.read_text()[-1500:] if self._log.exists() else ""


CONTESTANTS: dict[str, type[BGPNode]] = {
    "speaker": SpeakerNode,
    "plain": PlainNode,
    "idle": IdleNode,
}


def contestant(name: str) -> type[BGPNode]:
    """Return one of `CONTESTANTS`, or the class that `module:Class` names. Raises LabError."""
    if name in CONTESTANTS:
        return CONTESTANTS[name]
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise LabError(f"{name}: no contestant: {error}") from None
    if not (isinstance(found, type) and issubclass(found, BGPNode)):
        raise LabError(f"{name}: no contestant, as it is no BGPNode")
    return found
