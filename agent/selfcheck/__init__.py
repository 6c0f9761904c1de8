"""The self-check before each session, under the four headings of W-8.1.3.

``checks`` has the checks, ``runner`` does them all at once, ``judge`` measures pictures and sound, ``report`` shows the
result, and ``clap_measurement`` measures how late a camera's picture comes. ``run`` needs the libraries that decode and look.
All else here is light: the agent only stores a report and asks whether the newest one lets a session start.
"""

from datetime import datetime

from agent.config.model import Config
from agent.selfcheck.result import SelfcheckReport


def run(config: Config, *, at: datetime | None = None) -> SelfcheckReport:
    """Does every check, in 12 s at most. at: the instant that the report bears, now where None. Changes nothing."""
    from agent.selfcheck import runner

    return runner.run(config, at=at)
