"""Jobs that follow from records: it looks at what an acceptance has seen, and makes the next job, or ends it."""
