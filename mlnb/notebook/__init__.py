"""An annotated notebook file becomes cells, marks and the names that each cell takes and gives."""
