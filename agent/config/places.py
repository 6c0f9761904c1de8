"""Where everything lies below the two configured folders (docs/formats.md). Light: the command line reads it first."""

from dataclasses import dataclass
from pathlib import Path

from recorder.process.local_socket import live_socket

DEFAULT_CONFIG = Path("/etc/room-agent/config.toml")
DEFAULT_ROOT = Path("/var/lib/room-agent")
DEFAULT_RUN = Path("/run/room-agent")


@dataclass(frozen=True, slots=True)
class Places:
    """root: storage.root, on the data disk. run: storage.run, gone at a reboot."""

    root: Path
    run: Path

    @property
    def agent_lock(self) -> Path:
        return self.root / "agent.lock"

    @property
    def wanted(self) -> Path:
        return self.root / "wanted.json"

    @property
    def sessions(self) -> Path:
        return self.root / "sessions"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def cameras(self) -> Path:
        return self.root / "cameras"

    @property
    def calibration(self) -> Path:
        return self.root / "calibration.json"

    @property
    def accepted_cameras(self) -> Path:
        return self.root / "accepted-cameras.json"

    @property
    def selfcheck(self) -> Path:
        return self.root / "selfcheck"

    @property
    def burn(self) -> Path:
        return self.root / "burn"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox.sqlite"

    @property
    def acts(self) -> Path:
        return self.root / "acts.jsonl"

    @property
    def status(self) -> Path:
        return self.run / "status"

    @property
    def locks(self) -> Path:
        return self.run / "lock"

    @property
    def logs(self) -> Path:
        return self.run / "log"

    @property
    def socket(self) -> Path:
        return self.run / "agent.sock"

    def session(self, session_id: str) -> Path:
        """The folder of a session."""
        return self.sessions / session_id

    @property
    def live(self) -> Path:
        """The composer's socket: see recorder.media.live."""
        return live_socket(self.run)

    def lock(self, process: str) -> Path:
        """The lock that one process of this name holds."""
        return self.locks / f"{process}.lock"

    def log(self, process: str) -> Path:
        """What a child of the supervisor writes."""
        return self.logs / f"{process}.log"
