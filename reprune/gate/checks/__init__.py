"""The checks of the gate, one file a family: each takes the evidence and the policy and returns `Check` values."""
