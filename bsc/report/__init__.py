"""Finished figures as text and JSON."""
