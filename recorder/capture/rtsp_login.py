"""What a camera's RTSP service demands for a login, asked where FFmpeg was refused: it knows Basic, and Digest with MD5."""

import re
import socket
import time
from urllib.parse import urlsplit

RTSP_PORT, RTSPS_PORT = 554, 322  # as FFmpeg's client takes them
REACH_S = 0.8
ANSWER_S = 1.5
ANSWER_BYTES = 16384
DIGEST = re.compile(r"^WWW-Authenticate:\s*Digest\s(.*)$", re.IGNORECASE | re.MULTILINE)
ALGORITHM = re.compile(r"\balgorithm\s*=\s*\"?([\w-]{1,20})", re.IGNORECASE)


def place(uri: str) -> tuple[str, int]:
    """Host and port of an RTSP address."""
    parts = urlsplit(uri)
    return parts.hostname or "", parts.port or (RTSPS_PORT if parts.scheme.lower() == "rtsps" else RTSP_PORT)


def reach(uri: str) -> None:
    """A connection that is not taken within a second will not be; a new one finds a camera that comes back. Raises OSError."""
    socket.create_connection(place(uri), REACH_S).close()


def unknown_digest(uri: str) -> str:
    """The digest's algorithm that the camera demands and FFmpeg does not know; "" where it demands none, or cannot be asked.

    Nothing of a login is sent. Of several digests FFmpeg takes the last one that is offered.
    """
    if urlsplit(uri).scheme.lower() != "rtsp":
        return ""
    try:
        offered = DIGEST.findall(_challenge(uri))
    except OSError:
        return ""
    named = ALGORITHM.search(offered[-1]) if offered else None
    return "" if named is None or named[1].upper() in ("MD5", "MD5-SESS") else named[1]


def _challenge(uri: str) -> str:
    """The head of the answer to a DESCRIBE without a login. Raises OSError."""
    answer, deadline = b"", time.monotonic() + ANSWER_S
    with socket.create_connection(place(uri), REACH_S) as line:
        line.sendall(f"DESCRIBE {uri} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n".encode())
        while b"\r\n\r\n" not in answer and len(answer) < ANSWER_BYTES and time.monotonic() < deadline:
            piece = line.recv(4096)
            if not piece:
                break
            answer += piece
    return answer.partition(b"\r\n\r\n")[0].decode(errors="replace").replace("\r\n", "\n")
