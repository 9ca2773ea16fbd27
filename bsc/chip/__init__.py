"""The chip that holds a mapped model: how many copies of each layer, where they lie, and what they do over time."""
