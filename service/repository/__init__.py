"""Models on disk: reads, checks, loads and watches the models folder."""
