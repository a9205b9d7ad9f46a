"""Notebooks, each with one change, that a memoizing kernel could get wrong; a module per kind of trouble."""

from . import again, definitions, frontend, hidden, inputs, libraries, processes, state
from .case import CASES, FAMILIES, Case

__all__ = [
    "CASES",
    "FAMILIES",
    "Case",
    "again",
    "definitions",
    "frontend",
    "hidden",
    "inputs",
    "libraries",
    "processes",
    "state",
]
