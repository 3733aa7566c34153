"""How good is the copy: distances between marginals, and error bounds that need no rows."""
