"""What is provable of the values of a graph before any data is seen."""
