"""Plays a text to the real heart of a node in virtual time, and writes down what it answers.

The language is told in tests/ownership/conversations/README.md. What the heart answers today:
`python tests/support/conversation.py FILE`.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path

from gossip.wire.messages import State
from link.address import IPAddress
from ownership.letters import letters
from ownership.letters.letters import LetterKind, Quiet
from ownership.letters.mark import Flags
from ownership.liveness.verdicts import PROCESS
from stage import STRANGER, Stage, interface

ANSWER = "-> "
_STEP = re.compile(r"(given|at (?P<at>\d+\.\d\d)): (?P<what>.+)")
_NEARLY = re.compile(r"(given|at [\d.]+):")
_LAST = 1e-6
"""What is due in the very moment of a step comes after it."""


class ConversationError(ValueError):
    """A line that nobody understands."""


@dataclass(slots=True)
class _Answer:
    """What was said once or more between two steps."""

    first: float
    last: float
    times: int = 1

    def line(self, text: str, asked: float) -> str:
        again = "" if self.times == 1 else f" ({self.times} times until {self.last:.2f})"
        at = "" if f"{self.first:.2f}" == f"{asked:.2f}" else f"at {self.first:.2f}: "
        return f"{ANSWER}{at}{text}{again}"


@dataclass
class Conversation:
    """One text, played as it is read. Time 0.00 is that of the first step which has a time."""

    text: str
    stage: Stage = field(default_factory=Stage)
    _began: float | None = None

    def lines(self) -> list[str]:
        """Return the text with the answers of today; an answer stands below its step's comments."""
        script = [line for line in self.text.splitlines() if not line.startswith(ANSWER)]
        found, asked = list[str](), None
        for number, line in enumerate(script):
            if asked is not None and not line.startswith("#"):
                found += self._answers(asked, _next_time(script[number:]))
                asked = None
            found.append(line)
            if step := _STEP.fullmatch(line):
                asked = self._take(step)
            elif _NEARLY.match(line):
                raise ConversationError(f"nobody understands {line!r}")
        return found if asked is None else found + self._answers(asked, None)

    def _take(self, step: re.Match[str]) -> float | None:
        """Do a step; return its time where its answers are to be shown."""
        if step["at"] is None:
            self._do(step["what"])
            return None
        at = float(step["at"])
        if self._began is None:
            self._began = self.stage.now
            self.stage.said()
        self.stage.now = max(self.stage.now, self._began + at)
        self._do(step["what"])
        return at

    def _do(self, what: str) -> None:
        for pattern, call in _INPUTS.items():
            if found := re.fullmatch(pattern, what):
                call(self.stage, *found.groups())
                return
        raise ConversationError(f"nobody understands {what!r}")

    def _answers(self, asked: float, until: float | None) -> list[str]:
        """Let time go by until the next step; return what was answered since this one."""
        assert self._began is not None
        if until is not None:
            self.stage.run(max(self.stage.now, self._began + until - _LAST))
        answers = dict[str, _Answer]()
        for now, text in self.stage.said():
            at = now - self._began
            known = answers.setdefault(text, _Answer(at, at, 0))
            known.last, known.times = at, known.times + 1
        return [answer.line(text, asked) for text, answer in answers.items()]


def _next_time(script: list[str]) -> float | None:
    steps = (_STEP.fullmatch(line) for line in script)
    return next((float(step["at"]) for step in steps if step is not None and step["at"]), None)


# ---- what a step may be


def _power(stage: Stage, name: str, what: str) -> None:
    other = stage.others[name]
    other.answers = other.beats = what == "has power again"


def _speaker(stage: Stage, name: str, what: str) -> None:
    if what == "starts anew":
        stage.join(name)
    stage.others[name].beats = what != "dies"


def _member(stage: Stage, name: str, state: str) -> None:
    stage.holds(name, State[state.upper()])


def _flag(stage: Stage, name: str, what: str) -> None:
    other = stage.others[name]
    other.flags = Flags.LEAVING if what == "leaves" else Flags.NONE
    stage.ownership.review_members()
    stage.turn()


def _misses(stage: Stage, sender: str, subject: str) -> None:
    _about_a_life(stage, LetterKind.MISSING, sender, subject)


def _judges(stage: Stage, sender: str, subject: str) -> None:
    _about_a_life(stage, LetterKind.GONE, sender, subject)


def _about_a_life(stage: Stage, kind: LetterKind, sender: str, subject: str) -> None:
    about = subject.removeprefix("the speaker of ")
    name, _, link = about.partition(" on ")
    payload = letters.encode_link_name(PROCESS if about != subject else link)
    stage.letter(kind, sender, payload, name)


def _about_ips(stage: Stage, sender: str, what: str, ips: str) -> None:
    for payload in letters.encode_ips(_ips(ips)):
        stage.letter(_KINDS[what], sender, payload)


def _quietly(stage: Stage, sender: str, ips: str, owner: str) -> None:
    quiet = Quiet(owner, stage.others[owner].hello.links, frozenset(_ips(ips)))
    for payload in letters.encode_quiet(quiet):
        stage.letter(LetterKind.QUIET, sender, payload)


def _announces(stage: Stage, who: str, how: str, ip: str, link: str) -> None:
    mac = STRANGER if who == "a stranger" else stage.others[who].mac()
    stage.announced(mac, ip_address(ip), link, alone=how == "tells us alone that it has")


def _carrier(stage: Stage, link: str, what: str) -> None:
    stage.links[link] = replace(stage.links[link], carrier=what == "has carrier again")
    stage.take_links()


def _cut(stage: Stage, link: str, what: str) -> None:
    (stage.cut.add if what == "is cut off" else stage.cut.discard)(link)


def _new_link(stage: Stage, link: str) -> None:
    stage.links[link] = interface(link)
    for other in stage.others.values():
        other.links = tuple(stage.links)
        stage.greet(other.name)
    stage.take_links()


def _plan(stage: Stage, service: str, ips: str) -> None:
    found = _ips(ips)
    stage.plan(service, ips=found, hash_ip=str(found[0]))


def _owners(stage: Stage, service: str, names: str) -> None:
    candidates = None if names == "any node" else frozenset(names.split(" or "))
    stage.plan(service, candidates=candidates)


def _no_plan(stage: Stage, service: str) -> None:
    stage.ownership.set_plan(service, None, "configuration")
    stage.turn()


def _leave(stage: Stage) -> None:
    stage.ownership.leave(stage.now)
    stage.turn()


def _seek(stage: Stage) -> None:
    stage.ownership.note_seeking(stage.now)
    stage.turn()


def _ips(text: str) -> tuple[IPAddress, ...]:
    return tuple(ip_address(word) for word in text.split(" and "))


_KINDS = {
    "yours is": LetterKind.YOURS,
    "do you answer for": LetterKind.ASK,
    "I answer for": LetterKind.MINE,
    "I do not answer for": LetterKind.DENY,
}
_NODE, _LINK, _IP = r"(node-\d)", r"(eth\d)", r"(\d+\.\d+\.\d+\.\d+)"
_IPS = rf"({_IP[1:-1]}(?: and {_IP[1:-1]})*)"
_SUBJECT = r"(the speaker of node-\d|node-\d on eth\d)"
_INPUTS: dict[str, Callable[..., None]] = {
    r"that is all": lambda stage: None,
    r"(\d+) s go by": lambda stage, s: stage.run(stage.now + float(s)),
    rf"{_NODE} joins": lambda stage, name: stage.join(name),
    rf"{_NODE} joins and speaks MetalLB": lambda stage, name: stage.join(name, foreign=True),
    rf"{_NODE} (loses power|has power again)": _power,
    rf"the speaker of {_NODE} (dies|runs again|starts anew)": _speaker,
    rf"gossip holds {_NODE} (alive|dead|left)": _member,
    rf"{_NODE} says that it (leaves|stays)": _flag,
    rf"{_NODE} writes: I miss {_SUBJECT}": _misses,
    rf"{_NODE} writes: {_SUBJECT} is gone": _judges,
    rf"{_NODE} writes: (yours is|do you answer for|I answer for|I do not answer for) {_IPS}": (
        _about_ips
    ),
    rf"{_NODE} writes: yours is {_IPS}, quietly from {_NODE}": _quietly,
    rf"(a stranger|node-\d) (announces|tells us alone that it has) {_IP} on {_LINK}": _announces,
    rf"a client asks for {_IP} on {_LINK}": (
        lambda stage, ip, link: stage.asked(ip_address(ip), link)
    ),
    rf"{_LINK} (loses carrier|has carrier again)": _carrier,
    rf"{_LINK} (is cut off|hears others again)": _cut,
    rf"there is {_LINK}": _new_link,
    rf"(\w+) has {_IPS}": _plan,
    r"(\w+) may be owned by (any node|node-\d(?: or node-\d)*)": _owners,
    r"(\w+) is deleted": _no_plan,
    r"node-1 is stopped": _leave,
    r"node-1 asks its seeds": _seek,
    r"node-1 stands still for (\d+) s": lambda stage, s: stage.stand_still(float(s)),
    rf"{_NODE} exchanges state with us": lambda stage, name: stage.exchanged(name, True),
    rf"{_NODE} exchanges state and does not know us": (
        lambda stage, name: stage.exchanged(name, False)
    ),
}


def main() -> None:
    """Print the conversations of these files as the heart holds them today."""
    for path in sys.argv[1:]:
        print("\n".join(Conversation(Path(path).read_text()).lines()))


if __name__ == "__main__":
    main()
