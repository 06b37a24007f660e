"""What kube-proxy is told by its ConfigMap, and what that means for service IPs. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from clarion.doctor.finding import DoctorCheck, DoctorFinding, Gravity
from kube.document import ManifestError
from kube.files.manifest import read

CONFIG_KEY = "config.conf"
"""Of the ConfigMap kube-system/kube-proxy, as kubeadm writes it."""
_IPVS = "ipvs"
_MEND = (
    "kubectl -n kube-system get configmap kube-proxy -o yaml"
    " | sed -e 's/strictARP: false/strictARP: true/' | kubectl apply -f -"
    " && kubectl -n kube-system rollout restart daemonset kube-proxy"
)


@dataclass(frozen=True, slots=True)
class ProxyFacts:
    """What matters of a KubeProxyConfiguration."""

    mode: str
    """Empty: the platform's default, which is never IPVS."""
    strict_arp: bool


def read_proxy(text: str) -> ProxyFacts | None:
    """Read the configuration; None where it is none."""
    try:
        documents = read(text.encode("utf-8", "replace"), CONFIG_KEY)
    except ManifestError:
        return None
    for found in documents:
        if found.kind == "KubeProxyConfiguration":
            ipvs = found.data.get("ipvs")
            strict = isinstance(ipvs, dict) and ipvs.get("strictARP") is True
            return ProxyFacts(str(found.data.get("mode", "")), strict)
    return None


def judge_proxy(proxy: ProxyFacts) -> Iterator[DoctorFinding]:
    """Return what is wrong with it."""
    if proxy.mode == _IPVS and not proxy.strict_arp:
        yield DoctorFinding(
            DoctorCheck.KUBE_PROXY,
            Gravity.ERROR,
            "ConfigMap kube-system/kube-proxy",
            "mode is ipvs, and strictARP is not true",
            "IPVS binds each service IP to kube-ipvs0 on every node, and without strictARP every"
            " kernel answers for all of them.",
            _MEND,
        )
