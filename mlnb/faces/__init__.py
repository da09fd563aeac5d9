"""Where a person stands: the command line, the magics, the widgets, the server."""
