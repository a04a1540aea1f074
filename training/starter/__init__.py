"""Writes the first recipe for a data set: surveys the data, chooses values with reasons, and measures the speed."""
