"""What an IP address is in all of Clarion; kube has its own, as it imports nothing of ours."""

from ipaddress import IPv4Address, IPv6Address

IPAddress = IPv4Address | IPv6Address
