"""Sensors of power and energy; the only place that imports pynvml."""
