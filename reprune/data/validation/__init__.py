"""Check data against expectations before anything is trained on it."""
