"""The exception of remote models folders."""


class HubUnavailable(ValueError):
    """A remote models folder, or a file of it, cannot be listed, read or written. The message is one sentence."""
