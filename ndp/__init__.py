"""NDP (RFC 4861): answering and announcing IPv6 service IPs. Its place; the code comes later."""
