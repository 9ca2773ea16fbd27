"""A plan for others to use: as an ONNX model that computes what the crossbars compute, and as cell levels."""
