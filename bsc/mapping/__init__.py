"""A mapped model: which weight bit goes into which cell and what every ADC resolves, and nothing about who made it."""
