"""Pages of reference, written from the tables and records that the code itself uses; tests keep them fresh."""
