"""Exit statuses, hostile texts, and what a shell and a pipe see."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clarion.cli import COMMANDS
from clarion.commands import owners
from clarion_command import run, written
from clarion_world import DUMP

ROOT = Path(__file__).parents[2]
FROM = ("--from", str(DUMP))
HOSTILE = """\
apiVersion: v1
kind: Node
metadata:
  name: n1
  labels: {"rack": "a\\e[2Jb", "\\e]0;x\\a": "\\u202e[red]x[/red]"}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: p, namespace: metallb-system}
spec: {addresses: [10.0.0.0/24, "\\e[31m"]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: a, namespace: metallb-system}
spec:
  nodeSelectors:
    - matchLabels: {rack: "\\e[2J[bold]"}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: d, annotations: {metallb.io/address-pool: "\\e[2J"}}
spec: {type: LoadBalancer, clusterIP: 10.96.0.1}
status: {loadBalancer: {ingress: [{ip: "\\e[2J10.0.0.1"}]}}
---
apiVersion: v1
kind: Service
metadata: {name: wait, namespace: d, annotations: {metallb.io/loadBalancerIPs: "\\e[2J"}}
spec: {type: LoadBalancer, clusterIP: 10.96.0.1}
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "No such command 'nothing'."),
        (("owners", "--from", "/nowhere"), "/nowhere: No such file or directory"),
        (("owners", "-o", "xml"), "Invalid value for '-o' / '--output'"),
        (("explain", *FROM), "Missing argument 'IP|SERVICE'."),
        (("owners", "--kubeconfig", "/nowhere"), "/nowhere: "),
    ],
)
def test_what_cannot_be_looked_at_is_status_2(arguments: tuple[str, ...], message: str) -> None:
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"clarion: {message}")
    assert ran.err.count("\n") == 1


def test_a_fault_of_this_program_blames_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("line one\nline two \x1b[2J")

    monkeypatch.setattr(owners, "answer", fail)
    ran = run("owners", *FROM)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == ("clarion: a fault of this program: RuntimeError: line one line two ?[2J\n")


def test_nowhere_to_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    ran = run("owners")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("clarion: nothing to look at: no --from, no --kubeconfig, and no ")


def test_a_context_that_is_not_there(tmp_path: Path) -> None:
    config = "apiVersion: v1\nkind: Config\nclusters: []\nusers: []\ncontexts: []\n"
    path = written(tmp_path, config, "config")
    ran = run("owners", "--kubeconfig", path, "--context", "other")
    assert (ran.status, ran.out) == (2, "")
    assert "other" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("owners",),
        ("explain", "web"),
        ("explain", "wait"),
        ("simulate", "--add", "n2"),
        ("simulate", "--label", "n1", "rack=c"),
    ],
)
@pytest.mark.parametrize("output", ["table", "json"])
def test_no_text_of_a_user_reaches_the_terminal_as_a_command(
    arguments: tuple[str, ...], output: str, tmp_path: Path
) -> None:
    ran = run(*arguments, "--from", written(tmp_path, HOSTILE), "-o", output)
    _is_harmless(ran.out + ran.err)


@pytest.mark.parametrize("output", ["table", "json"])
def test_nor_does_any_that_is_judged(output: str, tmp_path: Path) -> None:
    path = written(tmp_path, HOSTILE, "a\x1b[2J.yaml")
    ran = run("check", str(tmp_path), "-o", output)
    assert ran.status == 1
    _is_harmless(ran.out + ran.err)
    _is_harmless(run("check", path + "x").err)


def _is_harmless(text: str) -> None:
    assert [letter for letter in text if not letter.isprintable() and letter != "\n"] == []


def test_texts_are_not_read_as_markup(tmp_path: Path) -> None:
    ran = run("explain", "[bold]x[/bold]", "--from", written(tmp_path, HOSTILE))
    assert "no service is named [bold]x[/bold] or has this IP" in ran.out


def test_help_names_all_commands_and_each_has_its_own() -> None:
    text = run("--help").out
    for name, said in COMMANDS.items():
        assert name in text
        assert " ".join(said.split()[:3]) in text
        own = run(name, "--help")
        assert own.status == 0
        # Of one mind with the list, which imports no command.
        assert said.split(".")[0] in " ".join(own.out.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    ran = run("completion", shell)
    assert ran.status == 0
    assert "_CLARION_COMPLETE" in ran.out


def test_a_shell_completes_commands_and_flags() -> None:
    """As the script has bash ask."""
    shown = _program(
        "explain", "--kub", _CLARION_COMPLETE="bash_complete",
        COMP_WORDS="clarion explain --kub", COMP_CWORD="2",
    )  # fmt: skip
    assert shown.stdout.decode().split() == ["plain,--kubeconfig"]


def test_who_reads_may_stop() -> None:
    """As `clarion owners | head -1` does: no trace, and the status is that of the answer."""
    for asked, status in ((("owners",), 1), (("explain", "web"), 0)):
        for output in ("json", "table"):
            read, write = os.pipe()
            os.close(read)
            ran = _program(*asked, *FROM, "-o", output, stdout=write)
            os.close(write)
            assert (ran.returncode, ran.stderr) == (status, b"")


def test_dumps_need_neither_kubernetes_nor_aiohttp() -> None:
    code = (
        "import sys\nfrom clarion_command import run\n"
        f"assert run('owners', '--from', {str(DUMP)!r}).status == 1\n"
        "assert not {'kubernetes', 'aiohttp', 'scapy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=_environment(), timeout=60)


def _environment() -> dict[str, str]:
    folders = (ROOT, ROOT / "tests" / "support")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}


def _program(
    *arguments: str, stdout: int = subprocess.PIPE, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "clarion", *arguments]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, env={**_environment(), **variables},
        timeout=60,
    )  # fmt: skip
