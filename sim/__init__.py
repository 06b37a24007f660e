"""Virtual time, a faulty network and its invariants, driving the same cores as the speaker."""
