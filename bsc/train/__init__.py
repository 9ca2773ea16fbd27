"""Fine-tuning for sparse bit slices: the graph in PyTorch, objectives, projection, and the way back to ONNX."""
