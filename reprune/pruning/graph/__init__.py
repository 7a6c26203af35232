"""Find the coupled channels of a model on its exported graph."""
