"""Versions become answers: the Bento, the ASGI application inside it, the prediction log, the local target."""
