"""Runs models: admission, batching, tiling, deadlines, pre- and postprocessing. Knows no HTTP."""
