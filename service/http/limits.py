"""Texts of limits that a request exceeds: for the caller what to send, for the operator the setting."""


def describe_items(limit: int) -> str:
    """Return that a request has too many items."""
    return f"a request may have at most {limit} items, by HOURGLASS_MAX_ITEMS of the service; send several requests"


def describe_bytes(limit: int, when: str = "") -> str:
    """Return that a body has too many bytes. `when` says at which stage it has them."""
    return (
        f"a body may have at most {limit} bytes{when}, by HOURGLASS_MAX_BODY_BYTES of the service; "
        "scale the image down, or send several requests"
    )
