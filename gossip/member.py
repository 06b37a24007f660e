"""One row of the member table."""

from dataclasses import dataclass

from gossip.address import to_text
from gossip.io import Address, MemberView
from gossip.wire.messages import Alive, NodeState, State

TCP_PING_VERSION = 3
NACK_VERSION = 4
CRC_VERSION = 5


@dataclass(slots=True)
class Member:
    """What is known of one node; `since` is when `state` was last set.

    `addr` is kept as received, byte for byte: Go compares it so. Rows hold only addresses that
    `to_text` can read.
    """

    name: str
    addr: bytes
    port: int
    state: State
    incarnation: int
    meta: bytes | None
    vsn: bytes
    since: float
    own: bool = False
    told: NodeState | None = None
    """The row of a push/pull that last said just this; see `Membership.news`."""
    _row: NodeState | None = None

    @classmethod
    def of(cls, row: NodeState, now: float) -> "Member":
        """Make a row of what a push/pull said."""
        return cls(
            row.name,
            row.addr,
            row.port,
            row.state,
            row.incarnation,
            row.meta,
            row.vsn,
            now,
            told=row if row.state is State.ALIVE else None,
            _row=row,
        )

    @property
    def address(self) -> Address:
        """Where to send to."""
        return Address(to_text(self.addr) or "", self.port)

    @property
    def protocol_max(self) -> int:
        """The highest protocol version the node understands (PMax)."""
        return self.vsn[1]

    @property
    def living(self) -> bool:
        """Alive, or only suspected: still a member."""
        return self.state in (State.ALIVE, State.SUSPECT)

    def view(self) -> MemberView:
        """Copy the row for the outside."""
        return MemberView(
            self.name,
            self.address,
            self.state,
            self.incarnation,
            self.meta or b"",
            self.vsn,
            self.own,
        )

    def row(self) -> NodeState:
        """Return the row as push/pull carries it, the same one for as long as nothing changes."""
        row = self._row
        if (
            row is None
            or row.incarnation != self.incarnation
            or row.state is not self.state
            or row.meta is not self.meta
            or row.addr is not self.addr
            or row.port != self.port
            or row.vsn is not self.vsn
        ):
            row = self._row = NodeState(
                self.addr,
                self.incarnation,
                self.meta,
                self.name,
                self.port,
                self.state,
                self.vsn,
            )
        return row

    def alive(self) -> Alive:
        """Return the message that says this node lives, as known here."""
        return Alive(self.addr, self.incarnation, self.meta, self.name, self.port, self.vsn)
