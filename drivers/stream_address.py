"""Addresses of cameras' services and streams: with whom they name, and what of them may be stored and shown. Pure."""

import re
from urllib.parse import quote, unquote, urlsplit, urlunsplit

SECRETS = re.compile(r"(?i)((?:pass(?:word|wd|phrase)?|pwd|psw|pw|secret|token|auth(?:key)?|key|credentials?)=)([^&;/?#\s]+)")
PLACEHOLDERS = ("{user}", "{password}")
TAKEN_OUT = "***"  # in place of what is like a password
RTSP_PORT, RTSPS_PORT = 554, 322
TARGET_CHARACTERS = 200


def hidden(uri: str) -> str:
    """The address as it may be stored and shown: without user and password before the host, ``***`` for what is like a password.

    The placeholders ``{user}`` and ``{password}`` stay.
    """
    shown = SECRETS.sub(lambda found: found[0] if found[2] in PLACEHOLDERS else f"{found[1]}{TAKEN_OUT}", uri)
    return re.sub(r"^([a-z]+://)[^/?#]*@", r"\1", shown, flags=re.IGNORECASE)


def rtsp_place(uri: str) -> tuple[str, int]:
    """Host and port of an RTSP address."""
    parts = urlsplit(uri)
    return parts.hostname or "", parts.port or (RTSPS_PORT if parts.scheme.lower() == "rtsps" else RTSP_PORT)


def literal_secret(uri: str) -> bool:
    """Whether an address holds a password in the clear, not as a placeholder."""
    return any(found[2] not in PLACEHOLDERS for found in SECRETS.finditer(uri))


def filled(uri: str, user: str, password: str) -> str:
    """The address with the login in place of the placeholders, percent-encoded. Never to be stored, shown or logged."""
    for placeholder, value in zip(PLACEHOLDERS, (user, password), strict=True):
        uri = uri.replace(placeholder, quote(value, safe=""))
    return uri


def over_tls(uri: str) -> str:
    """The stream's address by RTSP over TLS: at the port it names, unless that is the one of plain RTSP."""
    parts = urlsplit(uri)
    if parts.scheme.lower() == "rtsps":
        return uri
    host, port = parts.hostname or "", parts.port
    name = f"[{host}]" if ":" in host else host
    return urlunsplit(parts._replace(scheme="rtsps", netloc=f"{name}:{RTSPS_PORT if port in (None, RTSP_PORT) else port}"))


def with_placeholders(uri: str, user: str, password: str) -> str:
    """The address of a camera that puts the login into it, with placeholders for what we know.

    Placeholders that the camera itself tells would have us send it the password: they become plain text.
    """
    uri = uri.replace("{", "%7B").replace("}", "%7D")

    def placeholder(found: re.Match[str]) -> str:
        return f"{found[1]}{{password}}" if password and unquote(found[2]) == password else found[0]

    uri = SECRETS.sub(placeholder, uri)
    return re.sub(rf"(?i)(user(?:name)?=){re.escape(quote(user, safe=''))}(?=[&;/?#]|$)", r"\1{user}", uri) if user else uri


def host_of(location: str) -> str:
    """Scheme, host and port that an address names, without user, password and path; "-" where it names none."""
    try:
        parts = urlsplit(location.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "-"
    place = f"{host}:{port}" if port else host
    return (f"{parts.scheme}://{place}" if parts.scheme else place or "-")[:TARGET_CHARACTERS]


def at_host(uri: str, host: str, port: int | None = None) -> str:
    """The address with its host replaced and its user and password taken out; port None keeps the port it names."""
    parts = urlsplit(uri)
    port = parts.port if port is None else port
    name = f"[{host}]" if ":" in host else host
    return urlunsplit(parts._replace(netloc=name if port is None else f"{name}:{port}"))
