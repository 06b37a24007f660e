"""A changed secret file: what counts as a new key, and what is said of the rest."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from gossip.wire.crypto import metallb_key
from speaker.ring.rekeying import SecretRefusal
from speaker.ring.secret_file import SecretFile
from speaker.settings import SHORT_SECRET, read_secret

FIRST = b"the secret of yesterday, 40 bytes of it.."
SECOND = b"the secret of today, as long as the other"


class Watched:
    """A mounted secret, the watch on it, and what came of it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "secretkey"
        self.file.write_bytes(FIRST)
        self.keys: list[bytes] = []
        self.lines: list[dict[str, Any]] = []
        current = read_secret(str(self.file), "")
        self.watch = SecretFile(str(self.file), current, self.keys.append, cast(Any, self))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append({"event": event} | fields)

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            asyncio.run(self.watch.look())

    def put(self, content: bytes) -> None:
        self.file.write_bytes(content)
        self.look()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_changed_file_counts_when_two_looks_agree(watched: Watched) -> None:
    watched.look(3)
    watched.put(SECOND)
    assert watched.keys == []
    watched.look()
    assert watched.keys == [metallb_key(SECOND)]
    watched.look(3)
    assert len(watched.keys) == 1
    assert watched.lines == []


def test_a_swapped_folder_takes_one_look_more(tmp_path: Path) -> None:
    """As kubelet does it: `secretkey` leads through a link that is exchanged as a whole."""
    for name, content in (("one", FIRST), ("two", SECOND)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secretkey").write_bytes(content)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "secretkey").symlink_to("..data/secretkey")
    keys: list[bytes] = []
    current = read_secret(str(tmp_path), "")
    watch = SecretFile(str(tmp_path), current, keys.append, cast(Any, None))
    asyncio.run(watch.look())
    (tmp_path / "..data_tmp").symlink_to("two")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    asyncio.run(watch.look())
    assert keys == []
    asyncio.run(watch.look())
    assert keys == [metallb_key(SECOND)]


@pytest.mark.parametrize("length", range(1, len(SECOND)))
def test_a_half_written_file_is_no_key(watched: Watched, length: int) -> None:
    watched.put(SECOND[:length])
    watched.put(SECOND)
    watched.look()
    assert watched.keys == [metallb_key(SECOND)]
    assert watched.lines == []


def test_a_file_that_goes_on_changing_is_no_key(watched: Watched) -> None:
    for number in range(20):
        watched.put(SECOND[:20] + bytes((number % 2,)))
    assert watched.keys == []


def test_a_file_that_is_missing_between_two_looks_has_to_be_found_twice_again(
    watched: Watched,
) -> None:
    watched.put(SECOND)
    watched.file.unlink()
    watched.look(3)
    watched.put(SECOND)
    assert watched.keys == []
    watched.look()
    assert watched.keys == [metallb_key(SECOND)]
    assert [line["reason"] for line in watched.lines] == ["unreadable"]
    assert watched.watch.refused == {SecretRefusal.UNREADABLE: 1}


@pytest.mark.parametrize("length", [1, SHORT_SECRET - 1])
def test_a_short_secret_replaces_no_key_and_is_named_once(watched: Watched, length: int) -> None:
    short = b"hunter2 and more"[:length]
    watched.put(short)
    watched.look(5)
    assert watched.keys == []
    assert [line["reason"] for line in watched.lines] == ["short"]
    assert watched.watch.refused == {SecretRefusal.SHORT: 1}
    watched.put(FIRST)
    watched.look(2)
    assert watched.keys == []
    assert len(watched.lines) == 1, "the secret in use is back"


def test_sixteen_bytes_are_enough(watched: Watched) -> None:
    watched.put(SECOND[:SHORT_SECRET])
    watched.look()
    assert watched.keys == [metallb_key(SECOND[:SHORT_SECRET])]


def test_a_change_after_the_32nd_byte_is_said_to_change_nothing(watched: Watched) -> None:
    watched.put(FIRST + b"-v2")
    watched.look(5)
    assert watched.keys == []
    assert [line["reason"] for line in watched.lines] == ["same_key"]
    assert "32 bytes" in watched.lines[0]["error"]
    assert watched.watch.refused == {SecretRefusal.SAME_KEY: 1}
    watched.put(FIRST + b"-v3")
    watched.look(5)
    assert watched.watch.refused == {SecretRefusal.SAME_KEY: 2}
    watched.put(SECOND)
    watched.look()
    assert watched.keys == [metallb_key(SECOND)]


def test_a_secret_that_is_taken_back_is_a_change_too(watched: Watched) -> None:
    for content in (SECOND, FIRST, SECOND):
        watched.put(content)
        watched.look(2)
    assert watched.keys == [metallb_key(SECOND), metallb_key(FIRST), metallb_key(SECOND)]


def test_no_line_shows_a_secret(watched: Watched) -> None:
    for content in (b"hunter2", FIRST + b"hunter2", b"", SECOND):
        watched.put(content)
        watched.look(2)
    said = repr(watched.lines)
    assert len(watched.lines) == 3
    assert not [part for part in ("hunter2", "yesterday", "today") if part in said]
