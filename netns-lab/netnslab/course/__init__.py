"""What happens in a lab: the scenarios, how each fault is done, and its limits."""
