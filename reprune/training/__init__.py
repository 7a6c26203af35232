"""Training, recovery and evaluation."""
