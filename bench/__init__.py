"""Measures the service beside a typical peer and beside what the machine can do: `python -m bench --help`."""
