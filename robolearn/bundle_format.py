"""What writer and reader of a bundle must agree on."""

FORMAT = 1  # of the manifest; raised when an older reader could not read it


def input_name(channel: str) -> str:
    """Name of a channel's graph input."""
    return channel.replace(".", "_")
