"""Marks of tests that state what the project accepts and refuses; docs/compatibility.md lists them.

A mark names the kind of input or environment, what is accepted or refused, and the oracle or the reason. `cases` is a
format string over the parameters of the test; the page lists each case.
"""

import pytest

KINDS = {
    1: "Data around the image",
    2: "Broken, large and unknown metadata",
    3: "Colours and profiles",
    4: "Metadata kept or stripped",
    5: "Limits of output formats",
    6: "Quality of JPEG and WebP",
    7: "Bit depth and grey",
    8: "Alpha",
    9: "Truncated files",
    10: "Formats of phones and browsers",
    11: "HTTP clients and upgrades",
    12: "Base64",
    13: "Forms",
    14: "Spelling of values",
    15: "Proxies and prefixes",
    16: "CORS",
    17: "Errors: when to retry and which parameter",
    18: "Addresses",
    19: "Environment variables",
    20: "Health check of the image",
    21: "Volumes and links",
    22: "Limits of the host",
    23: "Folders as people have them",
    24: "Names of outputs",
    25: "Uses of the command line",
    26: "Scans, pages and frames",
    27: "Text files of other systems",
    28: "Error messages",
    29: "Layouts of data sets",
}
"""Headings of docs/compatibility.md by the number of the kind."""


def accepts(kind: int, what: str, *, oracle: str, cases: str = "") -> pytest.MarkDecorator:
    """Mark a test that proves that `what` is accepted; `oracle` is what the result is compared with."""
    return pytest.mark.compatibility(kind=kind, verdict="accepted", what=what, why=oracle, cases=cases)


def refuses(kind: int, what: str, *, because: str, cases: str = "") -> pytest.MarkDecorator:
    """Mark a test that proves that `what` is refused with an error that states the reason."""
    return pytest.mark.compatibility(kind=kind, verdict="refused", what=what, why=because, cases=cases)
