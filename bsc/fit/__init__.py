"""From measurements of cells to a device description."""
