"""What nothing can beat: echoes of the web stack without our work, and onnxruntime without a web stack."""
