"""From an announcement to the bytes of its frame. Pure."""

from ipaddress import IPv4Address, IPv6Address

from arp import gratuitous
from ndp import unsolicited
from ownership.io import Announcement, Form

_ARP_FORMS = {
    Form.REQUEST: gratuitous.request,
    Form.REPLY: gratuitous.reply,
    Form.REPLY_TO_ALL: gratuitous.reply_to_all,
}


def build(announcement: Announcement) -> bytes:
    """Return the frame; raise ValueError for a form that the family of the IP does not know."""
    ip, interface, client = announcement.ip, announcement.interface, announcement.client
    if isinstance(ip, IPv4Address):
        if client is None:
            return _ARP_FORMS[announcement.form](interface.mac, ip)
        if isinstance(client.ip, IPv4Address):
            return gratuitous.request_to_client(interface.mac, ip, client.ip, client.mac)
    elif client is None:
        if interface.link_local is not None:
            return unsolicited.advertisement(interface.mac, interface.link_local, ip)
    elif isinstance(client.ip, IPv6Address):
        return unsolicited.solicitation(interface.mac, ip, client.ip, client.mac)
    raise ValueError(f"no such frame: {announcement.form} for {ip}")
