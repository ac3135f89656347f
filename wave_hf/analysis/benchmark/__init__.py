"""The measurements and the report of `examples/benchmark.py`."""
