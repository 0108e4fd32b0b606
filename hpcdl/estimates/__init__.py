"""Numbers from samples, with what is known of their uncertainty. Arrays in, values out; nothing else of hpcdl."""
