"""Logging in at a camera's HTTP or RTSP service: reading its challenges and answering the one that gives the password away least.

The password itself is never sent (Basic) unless the camera's configuration allows it. Sources: RFC 7235, 4.1 (challenges),
RFC 7616 (Digest; 3.4.1 and 3.4.2 for the formulas), RFC 2069 (Digest without qop), RFC 7617 (Basic). RTSP takes them over as they
are (RFC 2326, 14). Pure, but for the client's nonce.
"""

import hashlib
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

HEADER_CHARACTERS = 4096  # of one WWW-Authenticate header; what is longer is cut
CHALLENGES = 16  # that are looked at
DEMANDED_CHARACTERS = 20
HASHES: Mapping[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}
ALGORITHMS = frozenset({"MD5", "MD5-SESS", "SHA-256", "SHA-256-SESS"})
PIECE = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]*)))?")


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a service demands for a login. scheme and the names of values are in small letters, values as they were sent."""

    scheme: str
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def algorithm(self) -> str:
        """Of a digest; MD5 where none is named."""
        return self.values.get("algorithm", "").upper() or "MD5"

    @property
    def answerable(self) -> bool:
        """Whether a digest can be computed: its qop, where it names one, has "auth"."""
        offered = [each.strip() for each in self.values.get("qop", "auth").lower().split(",")]
        return self.scheme == "digest" and "nonce" in self.values and "auth" in offered


class NoLogin(Exception):
    """No challenge may be answered. demanded: the digest's algorithm, or the scheme, that is not known; "": the password."""

    def __init__(self, demanded: str) -> None:
        super().__init__(demanded)
        self.demanded = demanded[:DEMANDED_CHARACTERS]


def challenges(headers: Iterable[str]) -> list[Challenge]:
    """The challenges in the values of WWW-Authenticate headers, in their order; one header may hold several."""
    found: list[Challenge] = []
    for header in headers:
        values: dict[str, str] = {}
        for name, quoted, plain in (match.groups() for match in PIECE.finditer(header[:HEADER_CHARACTERS])):
            if quoted is None and plain is None:
                if len(found) == CHALLENGES:
                    return found
                values = {}
                found.append(Challenge(name.lower(), values))
            else:
                values.setdefault(name.lower(), plain if quoted is None else quoted)
    return found


class Login:
    """The login at one service: what it challenged last, and what is to be sent with each request.

    algorithms: of digests that may be answered. Of several the first one is taken.
    """

    def __init__(self, user: str, password: str, *, allow_basic: bool = False, algorithms: Collection[str] = ALGORITHMS) -> None:
        self._user, self._password = user, password
        self._allow_basic, self._algorithms = allow_basic, algorithms
        self._chosen: Challenge | None = None
        self._count = 0
        self._proven = False

    def challenged(self, headers: Iterable[str], *, answered: bool) -> bool:
        """Takes the challenges of a refused request. answered: it carried a login already.

        True: it may be sent again, with ``header``. False: the login itself was refused, or there is none. Raises NoLogin where
        no challenge may be answered.
        """
        offered = challenges(headers)
        if not offered or not self._user:
            return False
        digests = [each for each in offered if each.scheme == "digest"]
        basic = next((each for each in offered if each.scheme == "basic"), None)
        known = next((each for each in digests if each.answerable and each.algorithm in self._algorithms), None)
        if known is None and self._allow_basic:
            known = basic
        if known is None:
            raise NoLogin(self._unknown(digests[-1]) if digests else "" if basic else offered[-1].scheme)
        nonce, before = known.values.get("nonce"), self._chosen.values.get("nonce") if self._chosen else None
        self._chosen = known
        if nonce != before:
            self._count = 0
        expired = nonce != before and (self._proven or known.values.get("stale", "").lower() == "true")
        return not answered or expired

    def _unknown(self, offered: Challenge) -> str:
        known = offered.algorithm in self._algorithms
        return f"qop={offered.values.get('qop', '')}" if known else offered.algorithm

    def succeeded(self) -> None:
        """A request with ``header`` was taken: a later refusal means that the nonce has expired."""
        self._proven = self._chosen is not None

    def header(self, method: str, uri: str) -> str:
        """The value of the Authorization header for a request; "" where no login was demanded yet."""
        if self._chosen is None:
            return ""
        if self._chosen.scheme == "basic":
            return "Basic " + b64encode(f"{self._user}:{self._password}".encode()).decode()
        self._count += 1
        return digest(self._chosen, self._user, self._password, method, uri, self._count, secrets.token_hex(8))


def digest(challenge: Challenge, user: str, password: str, method: str, uri: str, count: int, cnonce: str) -> str:  # noqa: PLR0917  # of RFC 7616
    """The value of the Authorization header that answers a digest's challenge. count: of requests with this nonce, from 1."""
    values, algorithm = challenge.values, challenge.algorithm
    hashed = HASHES[algorithm.removesuffix("-SESS")]
    realm, nonce = values.get("realm", ""), values["nonce"]
    secret = hashed(f"{user}:{realm}:{password}".encode())
    if algorithm.endswith("-SESS"):
        secret = hashed(f"{secret}:{nonce}:{cnonce}".encode())
    action = hashed(f"{method}:{uri}".encode())
    told = {"username": _quoted(user), "realm": realm, "nonce": nonce, "uri": uri}
    plain = {}
    if "qop" in values:
        plain = {"qop": "auth", "nc": f"{count:08x}"}
        told["cnonce"] = cnonce
        told["response"] = hashed(f"{secret}:{nonce}:{plain['nc']}:{cnonce}:auth:{action}".encode())
    else:
        told["response"] = hashed(f"{secret}:{nonce}:{action}".encode())
        told |= {"cnonce": cnonce} if algorithm.endswith("-SESS") else {}
    told |= {"opaque": values["opaque"]} if "opaque" in values else {}
    plain |= {"algorithm": values["algorithm"]} if "algorithm" in values else {}
    return "Digest " + ", ".join([*(f'{k}="{v}"' for k, v in told.items()), *(f"{k}={v}" for k, v in plain.items())])


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
