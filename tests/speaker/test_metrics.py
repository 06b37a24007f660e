"""What /metrics says of announcements is what is answered for."""

from ipaddress import IPv4Address

from speaker.layer2 import Layer2Stats
from speaker.metrics import Figures, make_registry
from speaker.reconcile import Announce

IP, SECOND = IPv4Address("198.51.100.1"), IPv4Address("198.51.100.2")


def test_an_ip_whose_takeover_waits_is_not_announced_yet() -> None:
    """It is still the old owner that answers for it, so it is: elected, but not announced."""
    served = {IP}
    announced = {"shop/web": Announce("shop/web", (IP, SECOND), None, "member_dead")}
    figures = Figures(
        node="a",
        layer2=Layer2Stats(),
        announced=announced,
        serves=lambda ip, service: ip in served,
        owners=lambda: {"shop/web": "a"},
    )
    registry, _ = make_registry(figures)

    def series(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    def announces(ip: IPv4Address) -> float | None:
        labels = {"service": "shop/web", "protocol": "layer2", "node": "a", "ip": str(ip)}
        return series("metallb_speaker_announced", **labels)

    assert announces(IP) == 1
    assert announces(SECOND) is None
    assert series("clarion_leader", ip=str(SECOND)) == 1
    served.add(SECOND)
    assert announces(SECOND) == 1
