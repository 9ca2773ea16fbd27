"""Sweeps over many ways to map a model: what to try, where it runs, what came out, and which of it nothing beats."""
