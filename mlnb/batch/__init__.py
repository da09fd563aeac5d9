"""A table of any size becomes a table of a version's answers: read, checked, scored and written piece by piece."""
