"""The controller's Deployment, ours against the guide's, and what calls and guards its pods."""

from typing import Any

import pytest

HOOKS = {
    "bgppeers": ("v1beta2", "bgppeer", ["CREATE", "UPDATE"]),
    "bfdprofiles": ("v1beta1", "bfdprofile", ["CREATE", "DELETE"]),
    "bgpadvertisements": ("v1beta1", "bgpadvertisement", ["CREATE", "UPDATE"]),
    "communities": ("v1beta1", "community", ["CREATE", "UPDATE"]),
    "ipaddresspools": ("v1beta1", "ipaddresspool", ["CREATE", "UPDATE", "DELETE"]),
    "l2advertisements": ("v1beta1", "l2advertisement", ["CREATE", "UPDATE"]),
}
"""MetalLB's: the version that each webhook reads, the end of its path, and when it is called."""

Object = dict[str, Any]


def _pod(workload: Object) -> Object:
    return dict(workload["spec"]["template"]["spec"])


def _container(workload: Object) -> Object:
    (container,) = _pod(workload)["containers"]
    return dict(container)


def _find(entries: list[Object], kind: str, name: str) -> Object:
    (found,) = (
        entry for entry in entries if (entry["kind"], entry["metadata"]["name"]) == (kind, name)
    )
    return found


def test_it_is_the_guides_but_for_what_is_named_here(
    deployment: Object, guide_deployment: Object
) -> None:
    ours, theirs = deployment["spec"], guide_deployment["spec"]
    assert deployment["metadata"] == guide_deployment["metadata"]
    assert {key for key in ours | theirs if ours.get(key) != theirs.get(key)} == {"template"}
    assert ours["template"]["metadata"] == theirs["template"]["metadata"]
    mine, its = _pod(deployment), _pod(guide_deployment)
    assert {key for key in mine | its if mine.get(key) != its.get(key)} == {"containers"}


def test_its_container_is_the_guides_but_for_what_is_named_here(
    deployment: Object, guide_deployment: Object
) -> None:
    mine, its = _container(deployment), _container(guide_deployment)
    assert {key for key in mine | its if mine.get(key) != its.get(key)} == {
        "image", "command", "args", "env", "livenessProbe", "readinessProbe", "resources",
        "securityContext",
    }  # fmt: skip
    assert sorted(mine["args"]) == sorted(its["args"])
    assert mine["resources"]["limits"] == its["resources"]["limits"]
    assert mine["securityContext"] == {
        **its["securityContext"],
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_it_has_no_privilege_and_no_file_but_the_images(deployment: Object) -> None:
    pod, container = _pod(deployment), _container(deployment)
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (
        True,
        65534,
    )
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "volumes"} & pod.keys()
    assert "volumeMounts" not in container


def test_its_variables_name_what_the_manifests_have(base: list[Object], deployment: Object) -> None:
    given = {entry["name"]: entry for entry in _container(deployment)["env"]}
    assert given["METALLB_DEPLOYMENT"]["value"] == deployment["metadata"]["name"]
    (volume,) = (
        volume["secret"]["secretName"]
        for volume in _pod(_find(base, "DaemonSet", "speaker"))["volumes"]
        if "secret" in volume
    )
    assert given["METALLB_ML_SECRET_NAME"]["value"] == volume
    fields = {
        name: entry["valueFrom"]["fieldRef"]["fieldPath"]
        for name, entry in given.items()
        if "valueFrom" in entry
    }
    assert fields == {
        "METALLB_POD_NAME": "metadata.name",
        "METALLB_NAMESPACE": "metadata.namespace",
    }


def test_probes_ask_what_is_served(deployment: Object) -> None:
    container = _container(deployment)
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "monitoring"}


def test_the_bindings_bind_its_account(base: list[Object], deployment: Object) -> None:
    account = _pod(deployment)["serviceAccountName"]
    _find(base, "ServiceAccount", account)
    for kind in ("ClusterRole", "Role"):
        role = _find(base, kind, "clarion-controller")
        binding = _find(base, f"{kind}Binding", role["metadata"]["name"])
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (
            kind,
            role["metadata"]["name"],
        )
        (subject,) = binding["subjects"]
        assert (subject["name"], subject["namespace"]) == (account, "metallb-system")


def test_the_webhooks_are_metallbs_and_let_through_what_nobody_judges(base: list[Object]) -> None:
    configuration = _find(base, "ValidatingWebhookConfiguration", "metallb-webhook-configuration")
    assert len(configuration["webhooks"]) == len(HOOKS)
    for hook in configuration["webhooks"]:
        (rule,) = hook["rules"]
        (resource,), (version,) = rule["resources"], rule["apiVersions"]
        assert rule["apiGroups"] == ["metallb.io"]
        assert hook["clientConfig"] == {
            "service": {
                "name": "metallb-webhook-service",
                "namespace": "metallb-system",
                "path": f"/validate-metallb-io-{version}-{HOOKS[resource][1]}",
            }
        }
        assert (version, rule["operations"]) == (HOOKS[resource][0], HOOKS[resource][2])
        assert hook["name"].endswith("validationwebhook.metallb.io")
        assert (hook["failurePolicy"], hook["sideEffects"]) == ("Ignore", "None")
        assert hook["admissionReviewVersions"] == ["v1"]


def test_what_the_api_server_calls_is_the_service_before_the_pods(
    base: list[Object], crds: dict[str, Object], deployment: Object
) -> None:
    named = crds["BGPPeer"]["spec"]["conversion"]["webhook"]["clientConfig"]["service"]
    assert (named["namespace"], named["path"]) == ("metallb-system", "/convert")
    service = _find(base, "Service", named["name"])
    (port,) = service["spec"]["ports"]
    # 443 is what a webhook calls where it names no port.
    assert port["port"] == 443
    assert port["targetPort"] in {
        entry["containerPort"] for entry in _container(deployment)["ports"]
    }
    pods = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == pods


def test_the_guides_service_monitor_finds_every_replica(
    base: list[Object], guide: list[Object], deployment: Object
) -> None:
    (monitor,) = (entry["spec"] for entry in guide if entry["kind"] == "ServiceMonitor")
    service = _find(base, "Service", "controller")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    assert port["name"] == monitor["endpoints"][0]["port"]
    named = {entry["name"]: entry["containerPort"] for entry in _container(deployment)["ports"]}
    assert named[port["targetPort"]] == port["port"] == 7472
    assert service["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("name", ["controller-pdb", "speaker-pdb"])
def test_the_disruption_budgets_are_the_guides(
    base: list[Object], guide: list[Object], name: str
) -> None:
    ours, theirs = (_find(entries, "PodDisruptionBudget", name) for entries in (base, guide))
    assert ours["spec"] == theirs["spec"]
    assert ours["metadata"]["labels"] == ours["spec"]["selector"]["matchLabels"]
