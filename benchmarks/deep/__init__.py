"""The generators that train beside those that count, and beside a public rival: `python -m benchmarks.deep`."""
