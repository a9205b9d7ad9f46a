"""Accesses and records as W3C PROV; packages and their versions."""
