"""Compiling, stage by stage: `driver.py` is the list, the other files are what its stages do."""
