"""Who may say that an image was made of a session: whoever was given the ticket for it, once.

``disc author`` works in the command's own process. The agent gives it a ticket before it begins, and takes no word of an image
without one. Tickets are kept in memory: an agent that was started anew knows none, and the command then says that the session's
journal does not tell of the image.
"""

import hmac
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from agent.authority.person import Person
from recorder.faults import BadInput
from wording.border import Given
from wording.refusals import refusal

TICKETS = 64  # at once; the oldest makes room
PATH_BYTES = 4096  # PATH_MAX
LARGEST_BYTES = 1 << 42  # of an image; the largest medium is a BD-R XL of 128 GB
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Image:
    """An image file as its maker describes it."""

    path: str
    sha256: str
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """The fields of the journal's line ``authored``."""
        return {"image": self.path, "sha256": self.sha256, "bytes": self.bytes}


def described(path: Given, sha256: Given, size: int) -> Image:
    """The image by the arguments of a command. Raises BadInput where one of them can be of no image."""
    wrong = [
        name
        for name, fits in (
            ("image", 0 < len(path.encode()) <= PATH_BYTES),
            ("sha256", SHA256.fullmatch(sha256) is not None),
            ("bytes", 0 <= size <= LARGEST_BYTES),
        )
        if not fits
    ]
    if wrong:
        raise BadInput("image-description-unusable", "use-matching-agent-version", names=", ".join(wrong))
    return Image(str(path), str(sha256), size)


class AuthorTickets:
    """Used by the agent's thread alone."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str, Person]] = OrderedDict()

    def give(self, session: str, person: Person) -> str:
        """A ticket for one image of a session, for this person alone."""
        ticket = secrets.token_hex(32)
        self._known[ticket] = (session, person)
        if len(self._known) > TICKETS:
            self._known.popitem(last=False)
        return ticket

    def check(self, ticket: str, session: str, person: Person) -> None:
        """Raises Fault where this is no ticket for this session and person."""
        fits = [known for known in self._known if hmac.compare_digest(known.encode(), ticket.encode())]
        if not fits or self._known[fits[0]] != (session, person):
            raise refusal("image-not-asked-for", "author-image-with-command", session=session)

    def take(self, ticket: str) -> None:
        """It is used, and good for no other image."""
        self._known.pop(ticket, None)
