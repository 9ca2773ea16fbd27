"""Data sets, calibration, replay of plans and what it finds out."""
