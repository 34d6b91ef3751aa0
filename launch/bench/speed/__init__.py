"""Benchmarks of time: frames a second, latency, CPU, starts, long runs."""
