"""Running what is digital: onnxruntime sessions, and schedules of digital segments and crossbar layers."""
