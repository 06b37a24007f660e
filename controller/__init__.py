"""Gives services of type LoadBalancer their addresses."""
