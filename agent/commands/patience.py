"""A session's status, asked for again and again by a command that waits: an agent that is restarted meanwhile is waited for."""

import time
from typing import Any

from agent.commands.context import Context
from wording import Exit, Fault

AGENT_AWAY_S = 15.0


class PatientStatus:
    """``session.status`` of one session."""

    def __init__(self, context: Context, session: str, *, away_s: float = AGENT_AWAY_S) -> None:
        """away_s: how long an agent that does not answer is waited for."""
        self._context, self._session, self._away_s = context, session, away_s
        self._away_since: float | None = None

    def ask(self, *, deadline: float = float("inf")) -> dict[str, Any] | None:
        """The agent's answer, None while it is away. deadline: time.monotonic() from which an absent agent is not waited for.

        Raises Fault where it is away for too long, or refuses.
        """
        try:
            status = self._context.ask("session.status", session=self._session)
        except Fault as fault:
            now = time.monotonic()
            self._away_since = self._away_since or now
            if fault.exit_code != Exit.NO_AGENT or now - self._away_since > self._away_s or now > deadline:
                raise
            return None
        self._away_since = None
        return status
