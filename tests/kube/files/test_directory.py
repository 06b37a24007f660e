"""The source directory: what it tells, what it keeps when a file goes bad, and its limits."""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from kube.files import directory
from kube.files.directory import DirectorySource, SourceError, _Directory
from kube.problem import Problem
from kube.snapshot import Snapshot
from machine import cost

POOL = """apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: %s}
spec: {addresses: [%s]}
"""
State = tuple[Snapshot, tuple[Problem, ...]]


def _service(name: str, ip: str = "10.0.0.1") -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
        f"spec: {{type: LoadBalancer}}\nstatus: {{loadBalancer: {{ingress: [{{ip: {ip}}}]}}}}\n"
    )


@pytest.fixture
def source(tmp_path: Path) -> _Directory:
    (tmp_path / "pool.yaml").write_text(POOL % ("pool", "10.0.0.0/24"))
    (tmp_path / "web.yaml").write_text(_service("web"))
    (tmp_path / "db.json").write_text(
        '{"apiVersion":"v1","kind":"Service","metadata":{"name":"db"}}'
    )
    return _Directory(tmp_path, "metallb-system")


def _look_twice(source: _Directory) -> State | None:
    """Take two looks; a change is believed at the second."""
    assert source.poll() is None
    return source.poll()


def _told(state: State | None) -> State:
    assert state is not None
    return state


def test_reads_all_manifests_but_hidden_and_foreign_names(
    source: _Directory, tmp_path: Path
) -> None:
    (tmp_path / ".hidden.yaml").write_text(_service("hidden"))
    (tmp_path / "notes.txt").write_text("no manifest")
    (tmp_path / "more.yml").write_text(_service("more") + "---\n" + _service("most"))
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    snapshot, problems = _told(source.load())
    assert set(snapshot.services) == {
        "default/db", "default/more", "default/most", "default/web",
    }  # fmt: skip
    assert snapshot.config is not None
    assert problems == ()


def test_a_change_is_believed_when_two_looks_agree(source: _Directory, tmp_path: Path) -> None:
    assert source.load() is not None
    assert source.poll() is None
    assert source.settled
    (tmp_path / "web.yaml").write_text("")
    assert source.poll() is None
    assert not source.settled
    (tmp_path / "web.yaml").write_text(_service("web", "10.0.0.2"))
    assert source.poll() is None
    snapshot, _ = _told(source.poll())
    assert source.settled
    assert snapshot.services["default/web"].ingress == ("10.0.0.2",)
    assert source.poll() is None


def test_new_and_vanished_files(source: _Directory, tmp_path: Path) -> None:
    source.load()
    (tmp_path / "new.yaml").write_text(_service("new"))
    (tmp_path / "web.yaml").unlink()
    snapshot, _ = _told(_look_twice(source))
    assert set(snapshot.services) == {"default/db", "default/new"}


def test_a_touched_file_with_the_same_content_tells_nothing(
    source: _Directory, tmp_path: Path
) -> None:
    source.load()
    os.utime(tmp_path / "web.yaml", ns=(1, 1))
    assert _look_twice(source) is None
    assert source.poll(forced=True) is None


def test_a_symlink_swap_as_kubelet_makes_it(tmp_path: Path) -> None:
    for version, ip in (("..1", "10.0.0.1"), ("..2", "10.0.0.2")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "web.yaml").write_text(_service("web", ip))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "web.yaml").symlink_to("..data/web.yaml")
    source = _Directory(tmp_path, "metallb-system")
    assert _told(source.load())[0].services["default/web"].ingress == ("10.0.0.1",)
    (tmp_path / "..tmp").symlink_to("..2")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    assert _told(_look_twice(source))[0].services["default/web"].ingress == ("10.0.0.2",)


def _link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


BROKEN: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_text("a: [1"), "web.yaml:2: error: did not find expected"),
    (lambda path: path.write_bytes(b"\xff\xfe"), "web.yaml:1: error: is not UTF-8 text"),
    (lambda path: path.write_text("#" * (4 * 1024 * 1024 + 1)), "web.yaml: error: longer than"),
    (lambda path: _link(path, "nowhere"), "web.yaml: error: No such file"),
    (lambda path: _link(path, path.name), "web.yaml: error: Too many levels of symbolic links"),
    (
        lambda path: path.write_text(_service("web").replace("LoadBalancer}", "[1]}")),
        "web.yaml:4: error: Service web: spec.type: Expected `str`, got `array`",
    ),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN)
def test_a_broken_file_keeps_its_last_good_state(
    source: _Directory, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    before, _ = _told(source.load())
    damage(tmp_path / "web.yaml")
    (tmp_path / "db.json").unlink()
    after, problems = _told(_look_twice(source))
    assert after.services["default/web"] == before.services["default/web"]
    assert "default/db" not in after.services
    (problem,) = problems
    assert message in str(problem)
    (tmp_path / "web.yaml").unlink()
    (tmp_path / "web.yaml").write_text(_service("web", "10.0.0.9"))
    mended, problems = _told(_look_twice(source))
    assert mended.services["default/web"].ingress == ("10.0.0.9",)
    assert problems == ()


@pytest.mark.parametrize(("damage", "message"), BROKEN)
def test_a_file_broken_from_the_start_leaves_the_others(
    source: _Directory, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(tmp_path / "web.yaml")
    snapshot, (problem,) = _told(source.load())
    assert set(snapshot.services) == {"default/db"}
    assert message in str(problem)


def test_a_broken_object_keeps_its_last_state_and_the_rest_of_the_file_goes_on(
    source: _Directory, tmp_path: Path
) -> None:
    both = _service("web") + "---\n" + _service("other", "10.0.0.3")
    (tmp_path / "web.yaml").write_text(both)
    source.load()
    damaged = both.replace("LoadBalancer}", "5}", 1).replace("10.0.0.3", "10.0.0.4")
    (tmp_path / "web.yaml").write_text(damaged)
    snapshot, problems = _told(_look_twice(source))
    assert snapshot.services["default/web"].ingress == ("10.0.0.1",)
    assert snapshot.services["default/other"].ingress == ("10.0.0.4",)
    assert [problem.object for problem in problems] == ["Service web"]


def test_an_invalid_configuration_keeps_the_last_good_one(
    source: _Directory, tmp_path: Path
) -> None:
    before, _ = _told(source.load())
    (tmp_path / "second.yaml").write_text(POOL % ("second", "10.0.0.7/32, 10.1.0.0/24"))
    after, problems = _told(_look_twice(source))
    assert after.config is before.config
    (problem,) = problems
    assert str(problem) == (
        "second.yaml:4: error: IPAddressPool second: spec.addresses[0]: "
        "'10.0.0.7/32' overlaps '10.0.0.0/24' of pool pool"
    )
    (tmp_path / "second.yaml").write_text(POOL % ("second", "10.1.0.0/24"))
    mended, problems = _told(_look_twice(source))
    assert mended.config is not None
    assert set(mended.config.advertisements) == {"pool", "second"}
    assert problems == ()


def test_the_same_pool_in_two_files_is_an_error(source: _Directory, tmp_path: Path) -> None:
    (tmp_path / "also.yaml").write_text(POOL % ("pool", "10.1.0.0/24"))
    snapshot, (problem,) = _told(source.load())
    assert snapshot.config is None
    assert str(problem) == (
        "pool.yaml:3: error: IPAddressPool pool: metadata.name: "
        "'pool' is also defined in also.yaml:1"
    )


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MAX_FILES", 3)
    for index in range(5):
        (tmp_path / f"{index}.yaml").write_text(_service(f"s{index}"))
    snapshot, (problem,) = _told(_Directory(tmp_path, "metallb-system").load())
    assert len(snapshot.services) == 3
    assert problem.message == "more than 3 manifests; 3.yaml and later ones are not read"


def test_too_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MAX_TOTAL_BYTES", 2 * len(_service("s0")))
    for index in range(3):
        (tmp_path / f"{index}.yaml").write_text(_service(f"s{index}"))
    snapshot, (problem,) = _told(_Directory(tmp_path, "metallb-system").load())
    assert len(snapshot.services) == 2
    assert "2.yaml and later ones" in problem.message


def test_a_directory_that_goes_away_keeps_the_state(source: _Directory, tmp_path: Path) -> None:
    before, _ = _told(source.load())
    aside = tmp_path.with_name(tmp_path.name + "-aside")
    tmp_path.rename(aside)
    after, (problem,) = _told(source.poll())
    assert after == before
    assert "cannot be read: No such file or directory; the last state is kept" in str(problem)
    assert source.poll() is None
    aside.rename(tmp_path)
    again, problems = _told(source.poll())
    assert (again, problems) == (before, ())


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda path: None, "No such file"), (lambda path: path.write_text(""), "Not a directory")],
)
def test_no_directory_at_the_start(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "source"
    make(path)
    with pytest.raises(SourceError, match=f"source directory {path}: {message}"):
        asyncio.run(DirectorySource(path, "metallb-system", lambda *_: None).run())


def test_tells_in_the_loop_what_changes(tmp_path: Path) -> None:
    states: asyncio.Queue[tuple[int, Snapshot]] = asyncio.Queue()

    async def scenario() -> None:
        source = DirectorySource(
            tmp_path,
            "metallb-system",
            lambda snapshot, _: states.put_nowait((threading.get_ident(), snapshot)),
        )
        running = asyncio.create_task(source.run())
        first = await asyncio.wait_for(states.get(), 5)
        assert first == (threading.get_ident(), Snapshot(config=first[1].config))
        (tmp_path / "web.yaml").write_text(_service("web"))
        _, seen = await asyncio.wait_for(states.get(), 5)
        assert set(seen.services) == {"default/web"}
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_reload_does_not_wait_for_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "POLL", 3_600.0)
    states: asyncio.Queue[Snapshot] = asyncio.Queue()

    async def scenario() -> None:
        source = DirectorySource(
            tmp_path, "metallb-system", lambda found, _: states.put_nowait(found)
        )
        running = asyncio.create_task(source.run())
        await asyncio.wait_for(states.get(), 5)
        (tmp_path / "web.yaml").write_text(_service("web"))
        source.reload()
        reloaded = await asyncio.wait_for(states.get(), 5)
        assert set(reloaded.services) == {"default/web"}
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_parsing_thousands_of_services_leaves_the_loop_its_turns(tmp_path: Path) -> None:
    """Between two turns of the loop lies a small part of the parse, on a machine of any speed: of
    its processor time, of which other processes take nothing."""
    items = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"s{index}", "labels": {"app": "web"}},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        }
        for index in range(4_000)
    ]
    whole = {"apiVersion": "v1", "kind": "List", "items": items}
    (tmp_path / "list.json").write_text(json.dumps(whole))
    whole_parse = cost(_Directory(tmp_path, "metallb-system").load)

    async def scenario() -> list[float]:
        done, turns = asyncio.Event(), [time.process_time()]
        source = DirectorySource(tmp_path, "metallb-system", lambda *_: done.set())
        running = asyncio.create_task(source.run())
        while not done.is_set():
            await asyncio.sleep(0)
            turns.append(time.process_time())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return [after - before for before, after in pairwise(turns)]

    # As a part of the parse, which is shorter than Python's own interval on a fast machine.
    before = sys.getswitchinterval()
    sys.setswitchinterval(whole_parse / 100)
    try:
        # A machine busy with other things takes turns away too, but not in each of five tries; a
        # parse in one block is a single long gap in every one of them.
        longest = min(max(asyncio.run(scenario())) for _ in range(5))
    finally:
        sys.setswitchinterval(before)
    assert longest < whole_parse / 4, f"{longest / whole_parse:.0%} of the parse in one go"


# ---- the state file of a controller


def _status(name: str, *ips: str) -> str:
    ingress = ",".join(f'{{"ip":"{ip}"}}' for ip in ips)
    return (
        f'{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{name}"}},'
        f'"status":{{"loadBalancer":{{"ingress":[{ingress}]}}}}}}'
    )


def _state(*items: str) -> str:
    return '{"apiVersion":"v1","kind":"List","items":[\n' + ",\n".join(items) + "\n]}\n"


def _ingress(state: State | None) -> dict[str, tuple[str, ...]]:
    return {key: service.ingress for key, service in _told(state)[0].services.items()}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = tmp_path / "beside"
    folder.mkdir()
    return folder / "state.json"


@pytest.fixture
def stateful(source: _Directory, tmp_path: Path, kept: Path) -> _Directory:
    return _Directory(tmp_path, "metallb-system", state=kept)


def test_a_state_file_goes_before_the_statuses_of_manifests(
    stateful: _Directory, kept: Path
) -> None:
    assert _ingress(stateful.load()) == {"default/web": ("10.0.0.1",), "default/db": ()}
    kept.write_text(_state(_status("db", "10.0.0.7"), _status("gone", "10.0.0.8")))
    assert _ingress(_look_twice(stateful)) == {
        "default/web": ("10.0.0.1",),
        "default/db": ("10.0.0.7",),
    }
    kept.write_text(_state(_status("web"), _status("db", "10.0.0.7")))
    assert _ingress(_look_twice(stateful)) == {"default/web": (), "default/db": ("10.0.0.7",)}
    kept.unlink()
    assert _ingress(_look_twice(stateful)) == {"default/web": ("10.0.0.1",), "default/db": ()}


def test_a_state_file_changes_addresses_and_nothing_else(stateful: _Directory, kept: Path) -> None:
    kept.write_text(_state(_status("web", "10.0.0.9")))
    web = _told(stateful.load())[0].services["default/web"]
    assert (web.type, web.ingress) == ("LoadBalancer", ("10.0.0.9",))


def test_a_broken_state_file_keeps_the_last_good_state(stateful: _Directory, kept: Path) -> None:
    kept.write_text(_state(_status("web", "10.0.0.9")))
    stateful.load()
    kept.write_text("[")
    snapshot, problems = _told(_look_twice(stateful))
    assert snapshot.services["default/web"].ingress == ("10.0.0.9",)
    assert f"{kept}:2: error" in str(problems[0])


def test_a_state_file_may_be_named_by_a_relative_path(
    source: _Directory, tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.write_text(_state(_status("web", "10.0.0.9")))
    monkeypatch.chdir(kept.parent)
    made = _Directory(tmp_path, "metallb-system", state=Path(kept.name))
    assert _ingress(made.load())["default/web"] == ("10.0.0.9",)


def test_a_state_file_is_none_of_the_manifests(source: _Directory, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"state\.json: lies among the manifests of"):
        _Directory(tmp_path, "metallb-system", state=tmp_path / "state.json").load()
    hidden = tmp_path / ".state.json"
    hidden.write_text(_state(_status("web", "10.0.0.9")))
    made = _Directory(tmp_path, "metallb-system", state=hidden)
    assert _ingress(made.load())["default/web"] == ("10.0.0.9",)


def test_the_pools_are_those_of_now(source: _Directory, tmp_path: Path) -> None:
    first = _told(source.load())[0]
    assert [pool.name for pool in first.pools] == ["pool"]
    (tmp_path / "pool.yaml").write_text(
        (POOL % ("pool", "10.0.0.0/24")).replace("]}", "], autoAssign: false}")
    )
    changed = _told(_look_twice(source))[0]
    assert changed.config == first.config
    assert [pool.auto_assign for pool in changed.pools] == [False]
