"""The gate's own benchmark: planted generators, and how often each is let through."""
