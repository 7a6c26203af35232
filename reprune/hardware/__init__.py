"""The machine that serves: targets, sessions, latency tables and honest benchmarks."""
