"""Reads, checks, loads and watches the models folder."""
