"""The commands of `bsc`, one file each; heavy imports are inside the commands, so that `bsc --help` answers at once."""
