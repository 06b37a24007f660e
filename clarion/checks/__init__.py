"""What is wrong with manifests, and what is most likely not as it was meant."""
