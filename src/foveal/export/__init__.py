"""Models for other runtimes: ONNX graphs, checked against torch."""
