"""The pipeline's steps, one folder each: a thin Kubeflow shell around one call of the library."""
