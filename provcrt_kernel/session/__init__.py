"""Slots of a Python session: names read, co-variables, snapshots, ambient slots."""
