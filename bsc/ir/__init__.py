"""The graph, its records, passes and pipelines, and the order in which a mapped model runs."""
