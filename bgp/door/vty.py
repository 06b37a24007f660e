"""The language of FRR's vty sockets: commands there, answers back. Pure.

    command:  text, NUL
    answer:   text, NUL NUL NUL, status

Answers come in the order of the commands, so that several may be sent at once. An answer's text has
no NUL in it (lib/vty.c ends what it prints by three of them, and adds the status).
"""

from dataclasses import dataclass, field

END = b"\0\0\0"
LONGEST_COMMAND = 1_000
"""Bytes; the engine's own buffer for a line is larger."""
MOST_ANSWER = 64 << 20
"""Bytes of one answer: the state of some 10,000 peers, or 100,000 prefixes, has room in it."""


class VtyError(ValueError):
    """A command that cannot be sent, or an answer that is none. It names no text of either."""


@dataclass(frozen=True, slots=True)
class VtyAnswer:
    """What a daemon says to one command. The text may hold passwords, and is in no repr."""

    status: int
    text: str = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the command was taken; 2 is an unknown one, 1 and 13 are refusals."""
        return self.status == 0


def encode(command: str) -> bytes:
    """Return a command as it is sent. Raises `VtyError` for what would be more than one line."""
    try:
        line = command.encode()
    except UnicodeEncodeError:
        raise VtyError("a command that is no text") from None
    if not line or len(line) > LONGEST_COMMAND or any(byte < 0x20 or byte == 0x7F for byte in line):
        raise VtyError("a command that is empty, too long, or has control characters")
    return line + b"\0"


class AnswerDecoder:
    """Takes bytes as they come and gives whole answers. After an error it takes no more."""

    def __init__(self, most: int = MOST_ANSWER) -> None:
        self._most = most
        self._bytes = bytearray()
        self._seen = 0
        """How much of it was looked through for an end."""
        self._broken = False

    def feed(self, data: bytes) -> list[VtyAnswer]:
        """Return the answers that are whole with these bytes. Raises `VtyError`."""
        if self._broken:
            raise VtyError("bytes after an error")
        self._bytes += data
        answers: list[VtyAnswer] = []
        while (end := self._bytes.find(END, self._seen)) >= 0 and end + len(END) < len(self._bytes):
            answers.append(self._cut(end))
        if end < 0:
            self._seen = max(0, len(self._bytes) - len(END) + 1)
        if (len(self._bytes) if end < 0 else end) > self._most:
            raise self._failure("an answer that is too long")
        return answers

    def handle_end(self) -> None:
        """Take the end of the connection. Raises `VtyError` where it ends within an answer."""
        if self._bytes:
            raise self._failure("an answer that was cut off")

    def _cut(self, end: int) -> VtyAnswer:
        text, status = self._bytes[:end], self._bytes[end + len(END)]
        if end > self._most or b"\0" in text:
            raise self._failure("an answer that is too long, or has a NUL in it")
        del self._bytes[: end + len(END) + 1]
        self._seen = 0
        return VtyAnswer(status, text.decode("utf-8", "replace"))

    def _failure(self, why: str) -> VtyError:
        self._broken = True
        self._bytes = bytearray()
        return VtyError(why)
