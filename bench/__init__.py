"""Measures layer 2 side by side: the kernel answering, our speaker, and a naive scapy responder."""
