"""Read and check the workload file, the user's contract."""
