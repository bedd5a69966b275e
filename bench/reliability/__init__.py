"""What the service promises when things break, measured: `python -m bench.reliability` writes docs/reliability.md."""
