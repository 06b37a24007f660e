"""The speaker's side of BGP: what is planned is typed into the engine, and what it says is told."""
