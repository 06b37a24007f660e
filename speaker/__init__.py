"""The speaker: from desired state over the election to announcements on the wire."""
