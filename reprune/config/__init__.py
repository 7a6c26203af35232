"""Read and check the YAML that a user may write: the workload and all its sections."""
