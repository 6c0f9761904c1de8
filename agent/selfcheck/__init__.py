"""The self-check before each session, under the four headings of W-8.1.3.

``run`` needs the libraries that decode and look; the rest of this package's face is light, because the agent's process only asks
whether the newest result lets a session start.
"""

from datetime import datetime

from agent.config.model import Config
from agent.selfcheck.result import Finding, Report, ReportSummary, load_latest, store

__all__ = ["Finding", "Report", "ReportSummary", "load_latest", "run", "store"]


def run(config: Config, *, at: datetime | None = None) -> Report:
    """Does every check, in 12 s at most. at: the instant that the report bears, now where None. Changes nothing."""
    from agent.selfcheck import runner

    return runner.run(config, at=at)
