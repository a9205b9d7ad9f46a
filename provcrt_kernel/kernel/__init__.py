"""Jupyter's side: the app, do_execute, capturing and re-sending messages."""
