"""The product's name and version, as manifests, statuses and the feed give it."""

from importlib.metadata import PackageNotFoundError, version

NAME = "interview-room-agent"


def product_version() -> str:
    """The installed distribution's version; "unversioned" where the packages run without being installed."""
    try:
        return version(NAME)
    except PackageNotFoundError:
        return "unversioned"
