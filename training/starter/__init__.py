"""Writes a first recipe for somebody's own data: looks at the data, chooses, measures the speed, and gives reasons."""
