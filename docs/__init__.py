"""The documentation: pages, and the module that generates parts of them from the code."""
