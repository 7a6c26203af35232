"""Read datasets as tensors, and say what a task learns from them and how it is scored."""
