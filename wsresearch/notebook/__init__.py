"""Seeing a capture: pictures and reports; what the numbers mean is in `study`, where they come from in `capture`."""
