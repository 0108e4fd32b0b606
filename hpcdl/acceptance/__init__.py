"""Records x criteria -> pass | fail | insufficient evidence, and who is to blame."""
