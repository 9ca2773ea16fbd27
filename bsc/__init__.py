"""bsc, the bit-slice compiler: a trained ONNX model in, a ReRAM crossbar deployment plan out."""

__version__ = "0.1.0"
