"""What the speaker's /metrics shows."""
