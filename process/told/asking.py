"""Asks the running speaker. Every answer is plain data; what goes wrong is one LiveError."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from process.local.address import UntrustedError
from process.local.client import converse, gather
from process.local.protocol import LocalLine, LocalProtocolError, LocalQuestion, LocalRefusal
from process.told.rows import (
    LiveError,
    LiveMember,
    LiveOwner,
    LivePool,
    LiveRecord,
    read_record,
    read_row,
)

PROGRAM = "speaker"
"""In whose name a running speaker listens."""

_REFUSED = {
    LocalRefusal.NOT_FOUND: "the speaker on node {node} knows nothing of {about}",
    LocalRefusal.CROWDED: "too many ask the speaker on node {node} now",
    LocalRefusal.UNKNOWN_VERB: "the speaker on node {node} is older than this command",
    LocalRefusal.SCHEMA: "the speaker on node {node} is of another version than this command",
    LocalRefusal.FAILED: "the speaker on node {node} has failed to answer: see its log",
}
_ODD = "what answers on node {node} is no speaker: its answer makes no sense"


class RunningSpeaker:
    """The speaker of one node, on this machine."""

    def __init__(self, node: str) -> None:
        self.node = node

    def owners(self) -> list[LiveOwner]:
        """Return every IP, by service; raise LiveError, as all that follow."""
        return self._table(LiveOwner, "owners")

    def ring(self) -> list[LiveMember]:
        """Return every member, the asked one first."""
        return self._table(LiveMember, "ring")

    def pools(self) -> list[LivePool]:
        """Return every pool, by name, and how full it is."""
        return self._table(LivePool, "pools")

    def explanation(self, about: str) -> list[Any]:
        """Return rows about an IP or a service; what they hold: see docs/socket.md."""
        return [line.row for line in self._rows("explain", about) if line.row]

    def settings(self) -> dict[str, Any]:
        """Return the speaker's version, its settings, and which are each node's own."""
        found = [line.row for line in self._rows("settings") if isinstance(line.row, dict)]
        return found[0] if found else {}

    def log(self, about: str = "", after: int = 0) -> list[LiveRecord]:
        """Return the flight recorder, or what concerns an IP, a service or a node; what comes after
        the record of this number."""
        lines = self._rows("log", about, str(after or ""))
        return [read_record(line.row) for line in lines if line.row is not None]

    def follow(self, about: str = "") -> Iterator[LiveRecord | int]:
        """Yield that, and what happens from now on; a number says how many records were lost.

        Ends with the speaker.
        """
        question = LocalQuestion(verb="log", about=about, follow=True)
        with self._asking(about):
            for line in converse(PROGRAM, self.node, question):
                if line.lost:
                    yield line.lost
                elif line.row is not None:
                    yield read_record(line.row)

    # ---- inside

    def _table(self, kind: type[Any], verb: str) -> list[Any]:
        columns: tuple[str, ...] = ()
        found = []
        for line in self._rows(verb):
            columns = line.columns or columns
            if line.row is not None:
                found.append(read_row(kind, columns, line.row))
        return found

    def _rows(self, verb: str, about: str = "", after: str = "") -> Iterator[LocalLine]:
        question = LocalQuestion(verb=verb, about=about, after=after)
        with self._asking(about):
            yield from gather(PROGRAM, self.node, question)

    @contextmanager
    def _asking(self, about: str) -> Iterator[None]:
        try:
            yield
        except UntrustedError as error:
            text = f"user {error.uid} listens in the place of the speaker on node {self.node}"
            raise LiveError(text) from None
        except LocalProtocolError as error:
            text = _REFUSED.get(error.refusal, _ODD)
            raise LiveError(text.format(node=self.node, about=about)) from None
        except OSError:
            raise LiveError(f"no speaker answers on node {self.node}") from None
