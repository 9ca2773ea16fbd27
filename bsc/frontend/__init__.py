"""ONNX file to graph."""
