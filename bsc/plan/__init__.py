"""The plan artefact: records, folders, summaries."""
