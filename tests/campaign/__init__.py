"""What needs counting: drills that are repeated, and how often each held. `make campaign`."""
