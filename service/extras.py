"""How errors say that a package of an extra is missing.

The name `hourglass` belongs to another project on the public package index, so that no message may install by it.
"""


def install_extra(name: str) -> str:
    """Return what to do if an extra is missing, to complete a sentence, such as `"OTLP: " + install_extra("otel")`."""
    return f"install the extra {name}: pip install '.[{name}]' in the checkout of Hourglass"
