"""A notebook's parameters become better ones: trials of the same pipeline, each reusing what it does not change."""
