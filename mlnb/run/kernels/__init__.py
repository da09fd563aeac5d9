"""A notebook to execute becomes an executed one, in a Python of its own: forked, from a pool, or spawned."""
