"""Runs models: admission, batching, tiling, deadlines, preprocessing and postprocessing. No front end is imported."""
