"""Records -> numbers. Pure over what the store reads; nothing here starts, writes or waits."""
