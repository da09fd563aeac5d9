"""The cells of an annotated notebook become a `Pipeline` of stages, tests and deploys."""
