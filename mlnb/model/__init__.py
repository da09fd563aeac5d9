"""A fitted estimator becomes a portable package that proves what it answers, and is scored without scikit-learn."""
