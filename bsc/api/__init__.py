"""What `import bsc` offers; the commands are thin shells around the same functions."""
