"""Pure NumPy: number formats, slicing tables, column sums, tile geometry and im2col."""
