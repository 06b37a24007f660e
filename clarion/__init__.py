"""The operator's command: who owns what and why, what a change would do, what is wrong."""
