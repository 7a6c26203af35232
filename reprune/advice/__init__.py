"""Which method of compression is worth its trouble for one model on one target, from what was measured there."""
