"""What the overlays for BGP add, and that the speaker has no right more than before."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from bgp.door import shared_folder
from engine import folder
from engine.__main__ import main
from engine.rule import ENDS_WITHIN
from frr_container import GROUP, NOBODY, PROMPT_RIGHTS, REALTIME, RIGHTS

ROOT = Path(__file__).parents[2]
OVERLAYS = ("bgp", "bgp-without-bfd", "bgp-realtime")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
LINES = [
    shlex.split(line)
    for line in (ROOT / "Containerfile.frr").read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
Object = dict[str, Any]


def rendered(overlay: str) -> list[Object]:
    command = ["kubectl", "kustomize", str(ROOT / "manifests/overlays" / overlay)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return list(yaml.safe_load_all(run.stdout))


@pytest.fixture(scope="module", params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return rendered(request.param)


@pytest.fixture(scope="module")
def with_bfd() -> Object:
    return pod(rendered("bgp"))


@pytest.fixture(scope="module")
def without_bfd() -> Object:
    return pod(rendered("bgp-without-bfd"))


def pod(objects: list[Object]) -> Object:
    (daemonset,) = [entry for entry in objects if entry["kind"] == "DaemonSet"]
    return dict(daemonset["spec"]["template"]["spec"])


def container(pod: Object, name: str) -> Object:
    (found,) = [each for each in pod["containers"] if each["name"] == name]
    return dict(found)


def named(entries: list[Object], name: str) -> Object:
    return next(entry for entry in entries if entry["metadata"]["name"] == name)


def test_the_speaker_gets_a_folder_and_the_pod_a_group_and_nothing_else_changes(
    objects: list[Object], daemonset: Object
) -> None:
    before, after = daemonset["spec"]["template"]["spec"], pod(objects)
    speaker = container(after, "speaker")
    assert [each["name"] for each in speaker["volumeMounts"]].count("frr") == 1
    speaker["env"] = [each for each in speaker["env"] if each["name"] != "CLARION_BGP_ENGINE"]
    speaker["volumeMounts"] = [each for each in speaker["volumeMounts"] if each["name"] != "frr"]
    assert speaker == container(before, "speaker")
    assert speaker["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW"]}
    assert {each["name"] for each in after["containers"]} == {"speaker", "frr"}
    assert after["securityContext"] == {"supplementalGroups": [GROUP]}
    same = before.keys() - {"containers", "volumes"}
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    others = [each for each in after["volumes"] if each["name"] != "frr"]
    assert others == before["volumes"]


def test_they_share_one_folder_in_memory(objects: list[Object]) -> None:
    (volume,) = [each for each in pod(objects)["volumes"] if each["name"] == "frr"]
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Mi"}
    engine, speaker = (container(pod(objects), name) for name in ("frr", "speaker"))
    assert engine["volumeMounts"] == [{"name": "frr", "mountPath": str(folder.FOLDER)}]
    assert {"name": "frr", "mountPath": str(shared_folder.FOLDER)} in speaker["volumeMounts"]
    assert {"name": "CLARION_BGP_ENGINE", "value": str(shared_folder.FOLDER)} in speaker["env"]


def test_both_sides_call_the_files_the_same() -> None:
    """No image holds both modules."""
    names = ("FOLDER", "WANTED", "DRAINED", "DAEMONS")
    assert [getattr(folder, name) for name in names] == [
        getattr(shared_folder, name) for name in names
    ]


def test_the_engine_with_bfd_has_four_rights(with_bfd: Object) -> None:
    context = container(with_bfd, "frr")["securityContext"]
    assert context == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsUser": 0,
        "capabilities": {"drop": ["ALL"], "add": sorted(map(str.upper, RIGHTS))},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_real_time_priority_takes_one_right_and_one_switch_more(with_bfd: Object) -> None:
    engine, usual = container(pod(rendered("bgp-realtime")), "frr"), container(with_bfd, "frr")
    assert engine.pop("args") == [REALTIME]
    rights = engine["securityContext"]["capabilities"].pop("add")
    assert rights == sorted(map(str.upper, PROMPT_RIGHTS))
    usual["securityContext"]["capabilities"].pop("add")
    assert engine == usual


def test_the_engine_without_bfd_has_none_and_is_nobody(without_bfd: Object) -> None:
    engine = container(without_bfd, "frr")
    assert engine["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": NOBODY,
        "runAsGroup": GROUP,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert engine["args"] == ["--without-bfd"]


def test_the_engine_opens_no_port_and_no_limit_stops_its_bfd(objects: list[Object]) -> None:
    engine = container(pod(objects), "frr")
    assert "ports" not in engine
    assert engine["resources"]["limits"].keys() == {"memory"}
    assert engine["image"] == f"clarion/frr:{VERSION}"


def test_the_hook_is_ours_and_leaves_time_for_the_daemons(
    objects: list[Object], tmp_path: Path
) -> None:
    hook = container(pod(objects), "frr")["lifecycle"]["preStop"]["exec"]["command"]
    assert hook[:3] == ["python3", "-m", "engine"]
    # Nobody wants an engine in an empty folder, so it ends at once.
    assert main([*hook[3:], "--folder", str(tmp_path)]) == 0
    within = float(hook[-1].removeprefix("--within="))
    grace = pod(objects)["terminationGracePeriodSeconds"]
    assert within + 2 * ENDS_WITHIN < grace


def test_what_the_speaker_may_do_besides(objects: list[Object], base: list[Object]) -> None:
    added = [entry for entry in objects if entry["kind"] == "Role" and entry not in base]
    assert [entry["metadata"]["name"] for entry in added] == [
        "clarion-speaker-bgp", "clarion-speaker-passwords"
    ]  # fmt: skip
    rules = {rule["resources"][0]: rule["verbs"] for rule in added[0]["rules"]}
    read = ["list", "watch"]
    kinds = ("bgppeers", "bgpadvertisements", "bfdprofiles", "communities")
    assert rules == {
        **dict.fromkeys((*kinds, "configmaps"), read),
        "servicebgpstatuses": [*read, "create", "delete"],
        "servicebgpstatuses/status": ["patch"],
    }
    named_ones = {
        rule["resources"][0]: rule["resourceNames"]
        for rule in added[0]["rules"]
        if "resourceNames" in rule
    }
    assert named_ones == {"configmaps": ["bgpextras"]}
    # As with layer 2: what is reported there, is reported here by the same verbs.
    like = {rule["resources"][0]: rule["verbs"] for rule in named(_roles(base), "clarion-speaker")
            ["rules"]}  # fmt: skip
    assert like["servicel2statuses"] == rules["servicebgpstatuses"]
    assert like["servicel2statuses/status"] == rules["servicebgpstatuses/status"]
    # A Secret that it can name, in its own namespace, and no list of them.
    assert added[1]["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]}
    ]


def _roles(entries: list[Object]) -> list[Object]:
    return [entry for entry in entries if entry["kind"] == "Role"]


def test_each_role_is_bound_to_the_speaker_alone(objects: list[Object]) -> None:
    for name in ("clarion-speaker-bgp", "clarion-speaker-passwords"):
        (binding,) = [
            entry
            for entry in objects
            if entry["kind"] == "RoleBinding" and entry["roleRef"]["name"] == name
        ]
        assert binding["metadata"]["namespace"] == "metallb-system"
        assert binding["roleRef"]["kind"] == "Role"
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "speaker", "namespace": "metallb-system"}
        ]


# ---- the image


def test_the_image_has_frr_of_debian_and_the_supervisor_alone() -> None:
    copied = [line[1:-1] for line in LINES if line[0] == "COPY"]
    assert copied == [["LICENSE"], ["engine"]]
    (install,) = [line for line in LINES if "apt-get" in line]
    at = install.index("--no-install-recommends")
    assert install[at + 1 : at + 3] == ["frr", "&&"]
    assert "://" not in (ROOT / "Containerfile.frr").read_text()
    assert LINES[-1] == ["ENTRYPOINT", "[python3,", "-m,", "engine]"]


def test_the_images_have_one_base() -> None:
    (ours,) = [line[1] for line in LINES if line[0] == "ARG"]
    assert f"ARG {ours}\n" in (ROOT / "Containerfile").read_text()


def test_the_group_of_the_sockets_has_one_number_everywhere() -> None:
    text = (ROOT / "Containerfile.frr").read_text()
    assert re.findall(r"groupadd --system --gid (\d+) frrvty", text) == [str(GROUP)]
    assert "usermod --append --groups frrvty root" in text
    # Before FRR comes, which would take any.
    assert text.index("groupadd") < text.index("apt-get install")


def test_no_daemon_is_started_while_it_is_installed() -> None:
    (install,) = [" ".join(line) for line in LINES if "apt-get" in line]
    assert install.index("policy-rc.d") < install.index("apt-get")
    assert "rm -rf /usr/sbin/policy-rc.d" in install
