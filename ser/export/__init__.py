"""A trained model for other programs: ONNX, TorchScript, packages with a model card."""
