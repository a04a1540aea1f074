"""Runs models: admission, batching, tiling, deadlines, preprocessing and postprocessing. Independent of HTTP."""
