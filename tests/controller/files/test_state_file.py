"""The state file on a real disk: one controller, whole or not at all, nothing broken is lost."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.files import state_file
from controller.files.entries import text_of
from controller.files.state_file import StateError, StateFile
from kube.objects.core import ALLOCATED_FROM, Service

WEB = Service("default", "web", ingress=("192.0.2.1",), annotations={ALLOCATED_FROM: "lab"})
DB = Service("default", "db", ingress=("192.0.2.2", "2001:db8::2"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@pytest.fixture
def file(path: Path) -> Iterator[StateFile]:
    made = StateFile(path)
    yield made
    made.close()


def _ingress(file: StateFile) -> dict[str, tuple[str, ...]]:
    return {key: kept.ingress for key, kept in file.open().entries.items()}


def test_what_is_saved_is_there_after_a_restart(path: Path, file: StateFile) -> None:
    assert file.open().entries == {}
    file.save({WEB.key: WEB, DB.key: DB})
    file.close()
    kept = StateFile(path).open()
    assert kept.problems == ()
    assert {key: found.ingress for key, found in kept.entries.items()} == {
        "default/db": ("192.0.2.2", "2001:db8::2"),
        "default/web": ("192.0.2.1",),
    }
    assert kept.entries["default/web"].annotations == {ALLOCATED_FROM: "lab"}


def test_it_is_replaced_in_one_step_and_anybody_may_read_it(path: Path, file: StateFile) -> None:
    file.open()
    file.save({WEB.key: WEB})
    with path.open("rb") as reader:
        before = os.umask(0o077)
        try:
            file.save({DB.key: DB})
        finally:
            os.umask(before)
        assert reader.read() == text_of({WEB.key: WEB}), "who reads it reads the old one to its end"
    assert path.read_bytes() == text_of({DB.key: DB})
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert sorted(entry.name for entry in path.parent.iterdir()) == [
        "state.json",
        "state.json.lock",
    ]


def test_only_one_controller_has_it(path: Path, file: StateFile) -> None:
    file.open()
    with pytest.raises(StateError, match=r"state\.json: another controller keeps it$"):
        StateFile(path).open()
    file.close()
    other = StateFile(path)
    other.open()
    other.close()


def test_a_controller_that_is_killed_leaves_no_lock(path: Path, file: StateFile) -> None:
    code = (
        "import sys, time; from pathlib import Path; from controller.files.state_file import *\n"
        "StateFile(Path(sys.argv[1])).open(); print('locked', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(StateError, match="another controller"):
            file.open()
        other.kill()
    file.open()


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b'{"apiVersion":"v1","kind":"List","items":[\n{"kind":]}', "state.json:2: error"),
        (b"\xff\xfe", "state.json:1: error: is not UTF-8 text"),
        (b"", ""),
        (b"- a\n- b\n", "state.json:1: error: is not an object"),
        (text_of({"default/web": WEB})[:-20], "state.json:3: error"),
    ],
    ids=["malformed", "binary", "empty", "list", "cut"],
)
def test_a_broken_file_is_kept_aside_until_it_is_replaced(
    path: Path, file: StateFile, content: bytes, place: str
) -> None:
    path.write_bytes(content)
    kept = file.open()
    aside = path.with_name("state.json.broken")
    if not place:
        assert (kept.problems, aside.exists()) == ((), False), "an empty file keeps nothing"
        return
    assert kept.entries == {}
    assert place in str(kept.problems[0])
    assert aside.read_bytes() == content
    assert path.read_bytes() == content, "no speaker sees it gone"
    file.save({WEB.key: WEB})
    assert aside.read_bytes() == content
    assert path.read_bytes() == text_of({WEB.key: WEB})


def test_one_broken_entry_costs_only_itself(path: Path, file: StateFile) -> None:
    wrong = Service("default", "bad", ingress=("192.0.2.300",))
    path.write_bytes(text_of({WEB.key: WEB, wrong.key: wrong}))
    kept = file.open()
    assert list(kept.entries) == ["default/web"]
    (problem,) = kept.problems
    assert "state.json:2: error: Service default/bad: status.loadBalancer.ingress" in str(problem)
    assert path.with_name("state.json.broken").exists()


def test_other_objects_are_named(path: Path, file: StateFile) -> None:
    path.write_text("apiVersion: v1\nkind: Node\nmetadata: {name: n}\n")
    assert "holds more than Services" in str(file.open().problems[0])


def test_the_last_broken_file_takes_the_place_of_the_one_before(path: Path) -> None:
    for content in (b"{", b"["):
        path.write_bytes(content)
        file = StateFile(path)
        file.open()
        file.close()
    assert path.with_name("state.json.broken").read_bytes() == b"["


def test_a_file_system_without_links_loses_nothing(
    path: Path, file: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path.write_bytes(b"{")
    file.open()
    assert path.with_name("state.json.broken").read_bytes() == b"{"


def test_it_is_bounded(path: Path, file: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.open()
    file.save({WEB.key: WEB})
    with monkeypatch.context() as patched:
        patched.setattr(state_file, "MAX_BYTES", 300)
        with pytest.raises(StateError, match=r"2 services need more than 300 bytes$"):
            file.save({WEB.key: WEB, DB.key: DB})
    assert path.read_bytes() == text_of({WEB.key: WEB})
    file.close()
    path.write_bytes(b"# " + b"x" * (5 << 20))
    assert "longer than" in str(StateFile(path).open().problems[0])


def test_what_cannot_be_used_at_all_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="No such file or directory"):
        StateFile(tmp_path / "nowhere" / "state.json").open()
    (tmp_path / "folder").mkdir()
    with pytest.raises(StateError, match="Is a directory"):
        StateFile(tmp_path / "folder").open()


def test_a_write_that_fails_leaves_the_file_as_it_was(
    path: Path, file: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.open()
    file.save({WEB.key: WEB})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StateError, match=r"state\.json: No space left on device$"):
            file.save({DB.key: DB})
    assert path.read_bytes() == text_of({WEB.key: WEB})
    assert not path.with_name(".state.json.partial").exists()
    file.save({DB.key: DB})
    assert path.read_bytes() == text_of({DB.key: DB})


def test_another_hand_is_noticed(path: Path, file: StateFile) -> None:
    file.open()
    assert file.is_ours()
    file.save({WEB.key: WEB})
    assert file.is_ours()
    path.unlink()
    assert not file.is_ours()
    file.save({WEB.key: WEB})
    replaced = path.with_name("other")
    replaced.write_bytes(path.read_bytes())
    replaced.replace(path)
    assert not file.is_ours()
