"""PROV-CRT for notebooks: cells are processes with inputs and outputs, recorded once and replayed."""

__version__ = "0.1.0"
