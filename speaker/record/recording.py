"""What of all that leaves and reaches the heart is kept in the flight recorder. Pure.

The driver and those who tell people hand over what they have drained or taken anyway: events,
questions, letters. Nothing of the heart calls here. What repeats itself ten times a second, as
beats and misses do, is kept once.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from gossip.io import MemberView
from link.address import IPAddress
from ownership.announcing.decisions import Announced
from ownership.io import (
    Ask,
    BarsChanged,
    Confirmed,
    Contested,
    Failed,
    Filtered,
    ForeignAnswer,
    HandedOver,
    Held,
    Lost,
    Moved,
    OwnershipEvent,
    PutOff,
    QuorumChanged,
    Released,
    Send,
    TookQuietly,
    Won,
)
from ownership.letters import letters
from ownership.letters.courier import Letter
from ownership.letters.letters import LetterError, LetterKind
from ownership.letters.mark import Flags
from ownership.liveness.barred import Barred
from ownership.liveness.verdicts import PROCESS, Subject
from speaker.record.flight_recorder import FlightRecorder, RecordKind, word
from speaker.record.tenures import Tenures

AGAIN = 5.0
"""Seconds until the same miss is kept once more."""
LASTS = 0.5
"""Seconds for which a miss counts for a verdict here: longer than where it is reached."""
MOST_MISSES = 256
MOST_WITNESSES = 16
MOST_CLIENTS_WAITING = 64


def _quiet_ips(payload: bytes) -> frozenset[IPAddress]:
    return letters.decode_quiet(payload).ips


_IP_LETTERS: Mapping[LetterKind, Callable[[bytes], frozenset[IPAddress]]] = {
    LetterKind.YOURS: letters.decode_ips,
    LetterKind.MINE: letters.decode_ips,
    LetterKind.ASK: letters.decode_ips,
    LetterKind.DENY: letters.decode_ips,
    LetterKind.QUIET: _quiet_ips,
}
_LIFE_LETTERS = {LetterKind.MISSING, LetterKind.GONE, LetterKind.BACK}


class _Repeats:
    """What is said again and again: by whom, and when it was said last."""

    def __init__(self) -> None:
        self._said: dict[tuple[Subject, str], tuple[float, float]] = {}
        """When it was kept, and when it was said last."""

    def note(self, subject: Subject, by: str, now: float) -> bool:
        """Tell whether this is to be kept: it was not kept for a while."""
        kept, _ = self._said.pop((subject, by), (float("-inf"), 0.0))
        news = now - kept >= AGAIN
        self._said[subject, by] = now if news else kept, now
        if len(self._said) > MOST_MISSES:
            del self._said[next(iter(self._said))]
        return news

    def close(self, subject: Subject, now: float) -> list[str]:
        """Return who has said it lately. What comes next is another story."""
        found = [(by, said) for (about, by), (_, said) in self._said.items() if about == subject]
        for by, _ in found:
            del self._said[subject, by]
        return sorted(by for by, said in found if now - said <= LASTS)


class Recording:
    """Writes the flight recorder of one node, and who owns what since when."""

    def __init__(self, node: str) -> None:
        self.recorder = FlightRecorder()
        self.tenures = Tenures()
        self._node = node
        self._misses, self._judgements = _Repeats(), _Repeats()
        self._clients: deque[tuple[IPAddress, str, IPAddress]] = deque(maxlen=MOST_CLIENTS_WAITING)
        """Who has confirmed, until it is known what that took."""
        self._told: Mapping[type[Any], Callable[[Any, float], None]] = {
            Moved: self._moved,
            Won: self._won,
            Lost: self._lost,
            BarsChanged: self._bars_changed,
            Held: self._held,
            Released: self._released,
            Confirmed: self._confirmed,
            Contested: self._contested,
            TookQuietly: self._took_quietly,
            PutOff: self._put_off,
            HandedOver: self._handed_over,
            ForeignAnswer: self._foreign_answer,
            Filtered: self._filtered,
            QuorumChanged: self._quorum_changed,
            Failed: self._failed,
        }

    # ---- what the heart gives out

    def note_event(self, event: OwnershipEvent, now: float) -> None:
        """Keep what the heart has decided, or what has come of it."""
        # One that is not known here is none of this node's affair: nothing may fail for it.
        if (told := self._told.get(type(event))) is not None:
            told(event, now)

    def note_ask(self, link: str, ask: Ask, now: float) -> None:
        """A question leaves by this link."""
        mac = ask.mac.hex(":") if ask.mac is not None else None
        self.recorder.note_deed(RecordKind.ASKED, now, ips=(ask.ip,), details=(link, mac))

    def note_sent(self, send: Send, now: float) -> None:
        """A letter leaves."""
        if send.kind is LetterKind.BEAT:
            return
        to = send.to[0] if send.to is not None and len(send.to) == 1 else None
        if send.kind in _IP_LETTERS:
            self._ip_letter(RecordKind.SAID, send.kind, send.payload, to, now)
        elif send.kind in _LIFE_LETTERS:
            self._life_letter(send.kind, self._node, send.about, send.payload, now)

    def note_letter(self, letter: Letter, now: float) -> None:
        """A letter of another Clarion has come."""
        if letter.kind == LetterKind.BEAT:
            return
        try:
            kind = LetterKind(letter.kind)
        except ValueError:
            return
        if kind in _IP_LETTERS:
            self._ip_letter(RecordKind.HEARD, kind, letter.payload, letter.sender, now)
        elif kind in _LIFE_LETTERS:
            self._life_letter(kind, letter.sender, letter.about, letter.payload, now)

    def note_flags(self, flags: Flags, now: float) -> None:
        """This node publishes why it may own nothing."""
        names = ",".join(flag.name.lower() for flag in flags if flag.name)
        self.recorder.note_cause(RecordKind.FLAGS, now, self._node, details=(names,))

    # ---- what others see

    def note_client(self, ip: IPAddress, link: str, client: IPAddress) -> None:
        """A client has confirmed; the event that says how long it took follows."""
        self._clients.append((ip, link, client))

    def note_announcement(self, ip: IPAddress, announced: Announced, now: float) -> None:
        """The first frame of an IP that was won has left."""
        reason = next(iter(announced.reasons.values()), "")
        seconds = announced.seconds
        details = word(reason), seconds
        services = tuple(announced.reasons)
        self.tenures.note_arrival(ip, now, seconds)
        self.recorder.note_deed(RecordKind.ANNOUNCED, now, self._node, (ip,), services, details)

    def note_member(self, member: MemberView, now: float) -> None:
        """Gossip tells of a member."""
        details = member.state.name.lower(), member.address.ip
        self.recorder.note_cause(RecordKind.MEMBER, now, word(member.name), details=details)

    def note_routes(self, service: str, peers: tuple[str, ...], reason: str, now: float) -> None:
        """These peers hear of a service from now on; none: no more."""
        names = word(",".join(peers))
        details = names, word(reason)
        self.recorder.note_deed(
            RecordKind.ROUTES, now, self._node, services=(service,), details=details
        )

    def note_bgp(self, event: str, state: str, about: str, reason: str, now: float) -> None:
        """A session, or the engine, has changed."""
        details = word(event), word(state), word(about), word(reason)
        self.recorder.note_cause(RecordKind.BGP, now, details=details)

    # ---- events, one by one

    def _moved(self, event: Moved, now: float) -> None:
        move = event.move
        self.tenures.note_move(move, now)
        details = move.before, move.reason
        self.recorder.note_deed(
            RecordKind.ELECTED, now, move.after, event.ips, (move.service,), details
        )

    def _won(self, event: Won, now: float) -> None:
        action = event.action
        tenure = self.tenures.of(action.service)
        if tenure is not None and tenure.at == now and tenure.move.after == self._node:
            # The record before says it.
            return
        names = action.interfaces
        links = None if names is None else word(",".join(sorted(names)))
        details = action.reason, links
        services = (action.service,)
        self.recorder.note_deed(RecordKind.WON, now, self._node, action.ips, services, details)

    def _lost(self, event: Lost, now: float) -> None:
        action = event.action
        self.tenures.note_loss(action.ips)
        services, details = (action.service,), (str(action.reason),)
        self.recorder.note_deed(RecordKind.LOST, now, self._node, action.ips, services, details)

    def _bars_changed(self, event: BarsChanged, now: float) -> None:
        before, after = event.before, event.after
        for subject in sorted(after.links - before.links):
            self._verdict(subject, "gone", now)
        for subject in sorted(before.links - after.links):
            self._verdict(subject, "void", now)
        self._bars(after, before, "barred", now)
        self._bars(before, after, "free", now)

    def _bars(self, there: Barred, not_there: Barred, state: str, now: float) -> None:
        for name in sorted(there.nodes - not_there.nodes):
            self.recorder.note_cause(RecordKind.BARRED, now, word(name), details=(state,))

    def _verdict(self, subject: Subject, state: str, now: float) -> None:
        found = self._misses.close(subject, now)[:MOST_WITNESSES]
        self._judgements.close(subject, now)
        witnesses = word(",".join(found)) if state == "gone" else ""
        details = subject.link, state, witnesses
        self.recorder.note_cause(RecordKind.VERDICT, now, word(subject.node), details=details)

    def _held(self, event: Held, now: float) -> None:
        details = "held", event.reason.value, "", event.gap
        self.recorder.note_cause(RecordKind.CONTACT, now, self._node, details=details)

    def _released(self, event: Released, now: float) -> None:
        details = "made", event.reason.value, event.by, event.waited
        self.recorder.note_cause(RecordKind.CONTACT, now, self._node, details=details)

    def _confirmed(self, event: Confirmed, now: float) -> None:
        if self._clients:
            ip, link, client = self._clients.popleft()
            details = link, str(client), event.seconds
            self.recorder.note_deed(RecordKind.CONFIRMED, now, ips=(ip,), details=details)

    def _contested(self, event: Contested, now: float) -> None:
        mac = event.mac.hex(":") if event.mac else None
        node = word(event.node)
        self.recorder.note_deed(RecordKind.CONTESTED, now, node, (event.ip,), details=(mac,))

    def _took_quietly(self, event: TookQuietly, now: float) -> None:
        self.recorder.note_deed(RecordKind.QUIET, now, self._node, (event.ip,))

    def _put_off(self, event: PutOff, now: float) -> None:
        self.recorder.note_deed(RecordKind.PUT_OFF, now, self._node, tuple(event.ips))

    def _handed_over(self, event: HandedOver, now: float) -> None:
        self.recorder.note_deed(RecordKind.HANDED_OVER, now, services=tuple(sorted(event.services)))

    def _foreign_answer(self, event: ForeignAnswer, now: float) -> None:
        self.recorder.note_deed(RecordKind.FOREIGN_ANSWER, now, word(event.node), (event.ip,))

    def _filtered(self, event: Filtered, now: float) -> None:
        self.recorder.note_cause(RecordKind.ECHO_FILTERED, now, word(event.node))

    def _quorum_changed(self, event: QuorumChanged, now: float) -> None:
        details = event.changed, event.lacking
        self.recorder.note_cause(RecordKind.QUORUM, now, details=details)

    def _failed(self, event: Failed, now: float) -> None:
        details = event.reason, word(type(event.error).__name__)
        services = (event.service,)
        self.recorder.note_cause(RecordKind.FAILED, now, services=services, details=details)

    # ---- letters

    def _ip_letter(
        self, kind: RecordKind, letter: LetterKind, payload: bytes, node: str | None, now: float
    ) -> None:
        try:
            ips = _IP_LETTERS[letter](payload)
        except LetterError:
            return
        who = None if node is None else word(node)
        ordered = tuple(sorted(ips, key=lambda ip: ip.packed))
        self.recorder.note_deed(kind, now, who, ordered, details=(letter.name.lower(),))

    def _life_letter(
        self, letter: LetterKind, sender: str, about: str, payload: bytes, now: float
    ) -> None:
        if letter is LetterKind.BACK:
            self._back(sender, about, now)
            return
        try:
            subject = Subject(about, letters.decode_link_name(payload))
        except LetterError:
            return
        if letter is LetterKind.MISSING:
            repeats, kind = self._misses, RecordKind.MISSED
        else:
            repeats, kind = self._judgements, RecordKind.JUDGED
        # What we judge ourselves is told by the verdict.
        ours = kind is RecordKind.JUDGED and sender == self._node
        if not ours and repeats.note(subject, sender, now):
            details = subject.link, word(sender)
            self.recorder.note_cause(kind, now, word(about), details=details)

    def _back(self, sender: str, about: str, now: float) -> None:
        details = PROCESS, "back", word(sender)
        self.recorder.note_cause(RecordKind.VERDICT, now, word(about), details=details)
