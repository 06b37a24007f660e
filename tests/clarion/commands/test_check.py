"""Manifests are judged by file, line and field; what is valid passes, and the guide's do."""

from pathlib import Path

import pytest

from clarion_command import Ran, run, written

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "tests" / "golden" / "guide"


def custom(kind: str, name: str, spec: str, version: str = "v1beta1") -> str:
    return (
        f"---\napiVersion: metallb.io/{version}\nkind: {kind}\n"
        f"metadata: {{name: {name}, namespace: metallb-system}}\nspec:\n{spec}\n"
    )


def node(name: str, labels: str) -> str:
    return f"---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"


def service(name: str, spec: str = "", metadata: str = "") -> str:
    return (
        "---\napiVersion: v1\nkind: Service\n"
        f"metadata: {{name: {name}, namespace: shop{metadata}}}\n"
        f"spec:\n  type: LoadBalancer\n  ports: [{{port: 80}}]\n{spec}\n"
    )


POOL = custom("IPAddressPool", "p", "  addresses:\n    - 10.0.0.0/24")
L2 = custom("L2Advertisement", "a", "  ipAddressPools: [p]")
PEER = custom(
    "BGPPeer", "r", "  myASN: 64512\n  peerASN: 64501\n  peerAddress: 10.9.0.1", "v1beta2"
)
AD = custom("BGPAdvertisement", "b", "  ipAddressPools: [p]")


def checked(folder: Path, text: str, *flags: str) -> list[str]:
    """Return the findings, without the line that counts."""
    return _findings(run("check", written(folder, text), *flags))


def _findings(ran: Ran) -> list[str]:
    return ran.out.splitlines()[1:]


# ---- what is well


@pytest.mark.parametrize("text", [POOL + L2, POOL + L2 + PEER + AD, POOL + L2 + service("web")])
def test_what_is_valid_passes(text: str, tmp_path: Path) -> None:
    ran = run("check", written(tmp_path, text), "--strict")
    assert (ran.status, _findings(ran)) == (0, [])


def test_the_guide_s_manifests_pass_and_what_is_said_of_them_is_true() -> None:
    """Its one Node has no label but its own; and two of its selectors stand in one list."""
    ran = run("check", str(GUIDE))
    assert ran.status == 0
    found = _findings(ran)
    assert [line for line in found if ": error: " in line] == []
    true = (
        "metallb.universe.tf/speaker=true selects none of the 1 nodes",
        "one selector of a list is enough, so all nodes with "
        "!node.kubernetes.io/exclude-from-metallb are selected, whatever the others say: what must "
        "hold together goes into one selector",
        "no Kubernetes object: apiVersion or kind is missing",
    )
    assert {each for each in true if any(line.endswith(f": {each}") for line in found)} == set(true)
    assert [line for line in found if not line.endswith(true)] == []


def test_the_shipped_manifests_pass() -> None:
    ran = run("check", str(ROOT / "manifests"), "-o", "json")
    assert (ran.status, ran.data["errors"]) == (0, 0)


# ---- what is refused, with line and field


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            custom("IPAddressPool", "p", "  addresses:\n    - 10.0.0.0/24\n    - 10.0.0.9/99"),
            "all.yaml:8: error: IPAddressPool metallb-system/p: spec.addresses[1]: "
            "'10.0.0.9/99' has a bad prefix length",
        ),
        (
            POOL + custom("IPAddressPool", "q", "  addresses:\n    - 10.0.0.7/32"),
            "all.yaml:14: error: IPAddressPool metallb-system/q: spec.addresses[0]: "
            "'10.0.0.7/32' overlaps '10.0.0.0/24' of pool p",
        ),
        (
            POOL + custom("L2Advertisement", "a", "  nodeSelectors:\n    - matchLabels: {a b: c}"),
            "all.yaml:14: error: L2Advertisement metallb-system/a: "
            "spec.nodeSelectors[0].matchLabels.a b: 'a b' is not a label key",
        ),
        (
            POOL + AD + custom("BGPPeer", "r", "  myASN: 64512\n  peerASN: 64501", "v1beta2"),
            "all.yaml:18: error: BGPPeer metallb-system/r: spec.peerAddress: "
            "peer has no Address or Interface specified",
        ),
        (
            # No node has these labels, and still it is judged.
            POOL + PEER + node("n1", "rack: a") + custom(
                "BGPAdvertisement", "b",
                "  aggregationLength: 33\n  nodeSelectors: [{matchLabels: {rack: b}}]",
            ),
            'all.yaml:25: error: BGPAdvertisement metallb-system/b: spec.aggregationLength: '
            "invalid aggregation length",
        ),
        (
            POOL + AD + custom(
                "BGPPeer", "r", "  myASN: 64512\n  peerASN: 64501\n  peerAddress: 10.9.0.1\n"
                "  bfdProfile: none", "v1beta2",
            ),
            "all.yaml:22: error: BGPPeer metallb-system/r: spec.bfdProfile: "
            "peer r referencing non existing bfd profile none",
        ),
        (
            POOL + L2 + "---\napiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {type: 7}",
            "all.yaml:18: error: Service x: spec.type: Expected `str`, got `int`",
        ),
        ("a: [", "all.yaml:2: error: "),
        ("a: &x [1]\nb: *y\n", "all.yaml:2: error: alias of an unknown anchor 'y'"),
    ],
)  # fmt: skip
def test_an_error_names_its_place(text: str, line: str, tmp_path: Path) -> None:
    ran = run("check", written(tmp_path, text))
    assert ran.status == 1
    errors = [found for found in _findings(ran) if ": error: " in found]
    assert errors
    assert errors[0].startswith(line), errors


def test_a_pool_that_two_files_define_is_an_error(tmp_path: Path) -> None:
    written(tmp_path, POOL, "a.yaml")
    (tmp_path / "deeper").mkdir()
    written(tmp_path / "deeper", POOL, "b.yaml")
    ran = run("check", str(tmp_path))
    assert ran.status == 1
    assert "'p' is also defined in a.yaml:2" in ran.out


def test_what_only_a_webhook_refuses_is_an_error(tmp_path: Path) -> None:
    """MetalLB's own words, where no judge of the whole has any."""
    from clarion.checks import admitting
    from clarion.looking import NOBODY
    from clarion.sources.dumps import readings
    from clarion.sources.picture import Picture
    from plan.release import Options

    bad = custom("IPAddressPool", "p", "  addresses:\n    - 10.0.0.0/99")
    source = readings(written(tmp_path, bad), lines=True)
    picture = Picture.made("x", "metallb-system", Options(NOBODY), source)
    (found,) = admitting.refusals(picture, [])
    assert (found.line, found.object) == (2, "IPAddressPool metallb-system/p")
    assert found.message.startswith('parsing address pool p: invalid CIDR "10.0.0.0/99"')
    assert list(admitting.refusals(picture, picture.problems)) == []


# ---- what is valid, and most likely not as meant

SILENT = "  bfdProfile: fast"
BFD = custom("BFDProfile", "fast", "  receiveInterval: 300")


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (POOL, "no L2Advertisement and no BGPAdvertisement is for this pool: nobody announces it"),
        (POOL + L2 + AD, "there is no BGPPeer: no router hears of it"),
        (POOL + L2 + PEER, "there is no BGPAdvertisement: it hears of no address"),
        (
            POOL + custom("L2Advertisement", "a", "  ipAddressPools: [p, x]"),
            "no IPAddressPool is named 'x'",
        ),
        (
            POOL + L2
            + custom("L2Advertisement", "x", "  ipAddressPoolSelectors: [{matchLabels: {a: b}}]"),
            "a=b selects none of the 1 pools",
        ),
        (
            POOL + node("n1", "rack: a")
            + custom("L2Advertisement", "a", "  nodeSelectors: [{matchLabels: {rack: b}}]"),
            "rack=b selects none of the 1 nodes",
        ),
        (
            POOL + service("web")
            + custom("L2Advertisement", "a", "  serviceSelectors: [{matchLabels: {app: x}}]"),
            "app=x selects none of the 1 services",
        ),
        (
            POOL + custom(
                "L2Advertisement", "a",
                "  nodeSelectors:\n    - matchLabels: {a: b}\n"
                "    - matchExpressions: [{key: c, operator: DoesNotExist}]",
            ),
            "one selector of a list is enough, so all nodes with !c are selected, whatever the "
            "others say: what must hold together goes into one selector",
        ),
        (
            POOL + AD + PEER.rstrip() + "\n  enableGracefulRestart: true\n",
            "without a bfdProfile the router keeps the routes of a dead node for the hold time and "
            "the restart time after it, 120 s by default",
        ),
        (
            POOL + PEER.replace("64501", "64512")
            + custom("BGPAdvertisement", "b", "  localPref: 100"),
            "no bfdProfile, and a localPref counts before the MED: the router keeps the routes of "
            "a dead node for the hold time, 90 s by default",
        ),
        (
            POOL + PEER + custom("BGPAdvertisement", "b", "  aggregationLength: 24")
            + service("web", "  externalTrafficPolicy: Local"),
            "Local, and BGPAdvertisement b aggregates pool p: routers send traffic to nodes that "
            "have no endpoint of it",
        ),
        (
            POOL + L2 + service("web", "", ", annotations: {metallb.io/address-pool: x}"),
            "no IPAddressPool is named 'x'",
        ),
        (
            custom("IPAddressPool", "p", "  addresses: [10.0.0.1/32]") + L2
            + service("one") + service("two"),
            'Failed to allocate IP for "shop/two": no available IPs; '
            "p: none of its IPv4 addresses is free",
        ),
        (
            POOL + AD + PEER.rstrip() + "\n  passwordSecret: {name: key}\n",
            "the Secret is not among the manifests: without it no BGP at all is configured",
        ),
    ],
)  # fmt: skip
def test_a_warning_says(text: str, finding: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    ran = run("check", path)
    assert ran.status == 0
    assert [line for line in _findings(ran) if line.endswith(f": {finding}")] == _findings(ran)
    assert len(_findings(ran)) == 1
    assert run("check", path, "--strict").status == 1


def test_without_the_med_step_a_peer_without_bfd_is_slow(tmp_path: Path) -> None:
    text = POOL + AD + PEER
    assert checked(tmp_path, text) == []
    (found,) = checked(tmp_path, text, "--bgp-fast-failover", "off")
    assert "no bfdProfile, and the MED step is off" in found
    with_bfd = POOL + AD + BFD + PEER.rstrip() + f"\n{SILENT}\n"
    assert checked(tmp_path, with_bfd, "--bgp-fast-failover", "off") == []


def test_what_is_elsewhere_is_not_missed(tmp_path: Path) -> None:
    """A folder of pools alone need not have the nodes and services that selectors are for."""
    selectors = (
        "  nodeSelectors: [{matchLabels: {a: b}}]\n  serviceSelectors: [{matchLabels: {c: d}}]"
    )
    assert checked(tmp_path, POOL + custom("L2Advertisement", "a", selectors)) == []


def test_no_password_is_shown(tmp_path: Path) -> None:
    peer = PEER.rstrip() + "\n  password: geheim geheim\n"
    for output in ("table", "json"):
        ran = run("check", written(tmp_path, POOL + AD + peer), "-o", output)
        assert ran.status == 1
        assert "geheim" not in ran.out + ran.err


# ---- from where, and how much


def test_from_the_standard_input() -> None:
    ran = run("check", "-", stdin=(POOL + L2).encode())
    assert (ran.status, ran.out) == (
        0,
        "stdin: 1 files, 2 objects that count, 0 errors, 0 warnings\n",
    )


def test_a_folder_that_is_not_there() -> None:
    ran = run("check", "/nowhere")
    assert (ran.status, ran.out, ran.err) == (
        2,
        "",
        "clarion: /nowhere: No such file or directory\n",
    )


def test_findings_are_bounded(tmp_path: Path) -> None:
    text = POOL + L2 + "".join(
        service(f"s{index}", "", ", annotations: {metallb.io/address-pool: x}")
        for index in range(1_200)
    )  # fmt: skip
    data = run("check", written(tmp_path, text), "-o", "json").data
    assert (data["warnings"], len(data["remarks"])) == (1_200, 1_000)
