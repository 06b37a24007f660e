"""The DaemonSet, ours and the guide's: what our program accepts, and what it may do."""

from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from speaker.cli import speaker
from speaker.settings import exclude_pattern

GUIDE = Path(__file__).parents[1] / "golden" / "guide"
FIELDS = {
    "spec.nodeName": "node-1",
    "metadata.name": "speaker-x7k2p",
    "metadata.namespace": "metallb-system",
    "status.hostIP": "192.0.2.11",
    "status.podIP": "192.0.2.11",
}
"""What the kubelet would fill in."""
GENERATION = "deprecated.daemonset.template.generation"


def _pod(daemonset: dict[str, Any]) -> dict[str, Any]:
    return dict(daemonset["spec"]["template"]["spec"])


def _container(daemonset: dict[str, Any]) -> dict[str, Any]:
    (container,) = _pod(daemonset)["containers"]
    return dict(container)


def _environment(container: dict[str, Any]) -> dict[str, str]:
    return {
        entry["name"]: entry["value"]
        if "value" in entry
        else FIELDS[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        for entry in container["env"]
    }


def _variables() -> set[str]:
    found: set[str] = set()
    for parameter in speaker.params:
        names = parameter.envvar or ()
        found.update([names] if isinstance(names, str) else names)
    return found


def _parse(container: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for name, value in _environment(container).items():
        assert name in _variables()
        monkeypatch.setenv(name, value)
    return speaker.make_context("speaker", list(container.get("args", ()))).params


@pytest.mark.parametrize("whose", ["daemonset", "guide_daemonset"])
def test_our_command_line_takes_it(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    container = _container(request.getfixturevalue(whose))
    params = _parse(container, monkeypatch)
    assert "command" not in container
    assert (params["log_level"], params["port"]) == ("info", 7472)
    assert (params["node_name"], params["host"]) == ("node-1", "192.0.2.11")
    assert params["ml_bindaddr"] == "192.0.2.11"
    assert params["ml_labels"] == "app=metallb,component=speaker"
    assert params["ml_secret_key_path"] == "/etc/ml_secret_key"


def test_our_command_line_takes_the_guides_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    patch = yaml.safe_load((GUIDE / "08-daemonset.yaml").read_text())
    monkeypatch.setenv("METALLB_NODE_NAME", "node-1")
    params = _parse(_container(patch), monkeypatch)
    assert params["ml_bindport"] == 7946
    assert (params["ml_tcp_timeout"], params["ml_push_pull_interval"]) == (10.0, 30.0)
    assert (params["ml_gossip_interval"], params["ml_suspicion_mult"]) == (0.2, 4)


def test_a_wrong_flag_would_be_noticed(
    daemonset: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    container = _container(daemonset)
    with pytest.raises(click.NoSuchOption):
        _parse({**container, "args": ["--no-such-flag"]}, monkeypatch)


def test_it_is_the_guides_but_for_what_is_named_here(
    daemonset: dict[str, Any], guide_daemonset: dict[str, Any]
) -> None:
    ours, theirs = _pod(daemonset), _pod(guide_daemonset)
    mine, its = _container(daemonset), _container(guide_daemonset)
    for name in ("selector", "updateStrategy"):
        assert _without(daemonset["spec"][name], "maxSurge") == guide_daemonset["spec"][name]
    for part in ("labels", "annotations"):
        template = daemonset["spec"]["template"]["metadata"]
        assert template[part] == guide_daemonset["spec"]["template"]["metadata"][part]
    assert _without(daemonset["metadata"], "annotations") == guide_daemonset["metadata"]
    # So that pods of a DaemonSet before it are replaced: tests/manifests/test_server.py.
    assert daemonset["metadata"]["annotations"].keys() == {GENERATION}
    assert {key for key in theirs if ours.get(key) != theirs[key]} == {"containers", "volumes"}
    assert {key for key in its if mine.get(key) != its[key]} == {
        "image", "env", "livenessProbe", "readinessProbe", "resources", "securityContext",
        "volumeMounts",
    }  # fmt: skip
    assert mine["resources"]["limits"] == its["resources"]["limits"]
    assert its["securityContext"].items() <= mine["securityContext"].items()
    assert set(mine["securityContext"]) - set(its["securityContext"]) == {
        "runAsUser", "seccompProfile"
    }  # fmt: skip
    assert all(entry in mine["env"] for entry in its["env"])
    assert all(entry in mine["volumeMounts"] for entry in its["volumeMounts"])
    assert all(entry in ours["volumes"] for entry in theirs["volumes"])


def _without(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without(item, name) for key, item in value.items() if key != name}


def test_probes_ask_what_we_serve(daemonset: dict[str, Any]) -> None:
    container = _container(daemonset)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"monitoring": 7472, "memberlist-tcp": 7946, "memberlist-udp": 7946}
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "monitoring"}


def test_the_mounted_files_are_where_we_read_them(daemonset: dict[str, Any]) -> None:
    settings = _pod(daemonset)["volumes"][1]["projected"]["sources"]
    assert all(source["configMap"]["optional"] is True for source in settings)
    paths = {entry["mountPath"] for entry in _container(daemonset)["volumeMounts"]}
    (files,) = (entry for entry in speaker.params if entry.name == "metallb_files")
    assert str(files.default) in paths
    assert settings[1]["configMap"]["items"] == [
        {"key": "config.json", "path": "memberlist/config.json"}
    ]


def test_the_excluded_interfaces_are_metallbs(base: list[dict[str, Any]], tmp_path: Path) -> None:
    (content,) = (entry["data"] for entry in base if entry["kind"] == "ConfigMap")
    (name,) = content
    (tmp_path / name).write_text(content[name])
    pattern = exclude_pattern(tmp_path / "excludel2.yaml")
    assert pattern is not None
    skipped = ["lo", "docker0", "cbr0", "dummy0", "virbr0", "lxcbr0", "veth12ab", "cali12ab",
               "tunl0", "flannel.1", "kube-ipvs0", "cni0", "nodelocaldns", "lxc12ab"]  # fmt: skip
    used = ["eth0", "ens192", "bond0", "bond0.100", "br0", "vlan7", "wlo1", "lo1"]
    assert [name for name in skipped + used if pattern.search(name)] == skipped


ROLES = [
    ("ClusterRole", [
        ("", "services", ["list", "watch"]),
        ("discovery.k8s.io", "endpointslices", ["list", "watch"]),
        ("", "nodes", ["list", "watch"]),
        ("", "events", ["create", "patch"]),
    ]),
    ("Role", [
        ("", "pods", ["list", "watch"]),
        ("metallb.io", "ipaddresspools", ["list", "watch"]),
        ("metallb.io", "l2advertisements", ["list", "watch"]),
        ("metallb.io", "servicel2statuses", ["list", "watch", "create", "delete"]),
        ("metallb.io", "servicel2statuses/status", ["patch"]),
        ("metallb.io", "configurationstates", ["list", "watch", "create"]),
        ("metallb.io", "configurationstates/status", ["patch"]),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "expected"), ROLES, ids=["cluster", "namespace"])
def test_the_speaker_may_do_this_and_no_more(
    base: list[dict[str, Any]], kind: str, expected: list[tuple[str, str, list[str]]]
) -> None:
    role = _only(base, kind)
    found = []
    for rule in role["rules"]:
        assert rule.keys() == {"apiGroups", "resources", "verbs"}
        (group,), (resource,) = rule["apiGroups"], rule["resources"]
        found.append((group, resource, rule["verbs"]))
    assert found == expected


def _only(base: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The speaker's object of a kind that the controller has one of as well."""
    (found,) = (
        entry
        for entry in base
        if entry["kind"] == kind and entry["metadata"]["labels"].get("component") == "speaker"
    )
    return found


def test_the_bindings_bind_the_daemonsets_account(
    base: list[dict[str, Any]], daemonset: dict[str, Any]
) -> None:
    account = _pod(daemonset)["serviceAccountName"]
    subject = {"kind": "ServiceAccount", "name": account, "namespace": "metallb-system"}
    assert _only(base, "ServiceAccount")["metadata"]["name"] == account
    for kind in ("ClusterRole", "Role"):
        role, binding = _only(base, kind), _only(base, f"{kind}Binding")
        assert binding["subjects"] == [subject]
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (
            kind,
            role["metadata"]["name"],
        )


def test_the_guides_service_monitor_finds_every_speaker(
    base: list[dict[str, Any]], guide: list[dict[str, Any]], daemonset: dict[str, Any]
) -> None:
    (monitor,) = (entry["spec"] for entry in guide if entry["kind"] == "ServiceMonitor")
    service = _only(base, "Service")
    assert service["metadata"]["namespace"] in monitor["namespaceSelector"]["matchNames"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    # Alerts name the job by this label.
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "metallb"
    (endpoint,) = monitor["endpoints"]
    (port,) = service["spec"]["ports"]
    assert (port["name"], endpoint["path"]) == (endpoint["port"], "/metrics")
    pods = daemonset["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= pods.items()
    named = {entry["name"]: entry["containerPort"] for entry in _container(daemonset)["ports"]}
    assert named[port["targetPort"]] == port["port"] == 7472
    assert service["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("whose", ["guide_daemonset", "guide_deployment"])
def test_no_pod_of_the_guide_tolerates_the_taint_of_its_own_nodes(
    request: pytest.FixtureRequest, whose: str
) -> None:
    """So docs/guide.md says; the day that this fails it is to say something else."""
    (taint,) = yaml.safe_load((GUIDE / "11-node.yaml").read_text())["spec"]["taints"]
    tolerated = {each["key"] for each in _pod(request.getfixturevalue(whose))["tolerations"]}
    assert taint["effect"] == "NoSchedule"
    assert taint["key"] not in tolerated
