"""What has happened to a model becomes a trigger, a trigger one retraining, and that a challenger with its verdict."""
