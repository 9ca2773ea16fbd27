"""Counts of hardware actions, and counts times prices."""
