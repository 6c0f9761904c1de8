"""One stand-in camera: its RTSP server (a process) and its ONVIF service (threads), with the faults of both."""

import signal
from pathlib import Path

from tests.equipment.clips import STREAMS, VARIANTS, Clip
from tests.equipment.onvif import OnvifFaults, OnvifService
from tests.equipment.onvif_messages import Profile
from tests.equipment.process import HOST, EquipmentError, Peer, free_port
from tests.equipment.scene import FPS, View

SYSTEM_PYTHON = "/usr/bin/python3"  # PyGObject comes from the system's packages
SERVER = Path(__file__).with_name("rtsp_server.py")


class StandInCamera:
    """A camera on loopback.

    epoch_ns: CLOCK_MONOTONIC of its first picture; its lamp flashes at epoch_ns and each 5 s from then on. units_log: a file for
    one JSON line for each access unit sent (rtsp_server.py), or None. Raises EquipmentError, OSError where it does not start.
    """

    FAULTS = (
        "back",
        "gone",
        "unplugged",
        "frozen",
        "still",
        "black",
        "drop",
        "jump",
        "drift",
        "wrong_password",
        "clock",
        "internal_address",
        "slow",
        "silent",
        "deaf_osd",
    )

    def __init__(
        self,
        name: View,
        clip: Clip,
        log: Path,
        epoch_ns: int,
        *,
        user: str = "admin",
        password: str,
        units_log: Path | None = None,
    ) -> None:
        self.name = name
        self.host = HOST
        self.user = user
        self.password = password
        self.units_log = units_log
        self.rtsp_port = free_port()
        self._clip, self._log, self._epoch_ns = clip, log, epoch_ns
        self._rtsp: Peer | None = None
        recipe = clip.recipe
        main = Profile("main", recipe.codec, recipe.width, recipe.height, FPS, recipe.gop, recipe.bits_per_s)
        sub = Profile("sub", recipe.codec, recipe.sub_width, recipe.sub_height, FPS, recipe.gop, recipe.sub_bits_per_s)
        self.onvif = OnvifService(name, (main, sub), self.rtsp_port, user, password, clip.jpeg(name), free_port())

    @property
    def onvif_port(self) -> int:
        return self.onvif.port

    @property
    def pids(self) -> list[int]:
        return [self._rtsp.pid] if self._rtsp else []

    def address(self, stream: str = "main", *, password: str | None = None) -> str:
        """RTSP address with user and password."""
        return f"rtsp://{self.user}:{self.password if password is None else password}@{HOST}:{self.rtsp_port}/{stream}"

    def start(self) -> None:
        """Serves RTSP and ONVIF."""
        if self._rtsp is None:
            self._rtsp = Peer(f"rtsp-{self.name}", [SYSTEM_PYTHON, SERVER], self._log)
            self._rtsp.ask(self._config(), 15)
            self.onvif.start()

    def _config(self) -> dict[str, object]:
        recipe = self._clip.recipe
        mounts = {
            f"/{stream}": {
                "codec": recipe.codec,
                "fps": FPS,
                "gop": recipe.gop,
                "variants": {variant: str(self._clip.index(self.name, stream, variant)) for variant in VARIANTS},
            }
            for stream in STREAMS
        }
        login = {"host": HOST, "port": self.rtsp_port, "user": self.user, "password": self.password}
        return login | {"epoch_ns": self._epoch_ns, "log": str(self.units_log or ""), "mounts": mounts}

    def stop(self) -> None:
        """Ends both."""
        rtsp, self._rtsp = self._rtsp, None
        if rtsp:
            rtsp.end()
        self.onvif.stop()

    def _ask(self, **values: object) -> dict[str, object]:
        if self._rtsp is None:
            raise EquipmentError(f"{self.name} is gone; bring it back first")
        return self._rtsp.ask(values)

    def clients(self) -> dict[str, int]:
        """Clients of each mount."""
        return dict(self._ask(status=True)["clients"])  # type: ignore[call-overload, no-any-return]

    # faults

    def back(self) -> None:
        """Everything as at the start; the lamp in the same phase."""
        self.onvif.stop()
        self.onvif.faults = OnvifFaults()
        self.onvif.password = self.password
        if self._rtsp is None:
            self.start()
        else:
            self._rtsp.signal(signal.SIGCONT)
            self._ask(frozen=False, variant="scene", drift_ppm=0, password=self.password)
            self.onvif.start()

    def gone(self) -> None:
        """Loses its power, with a network that tells: connections break, new ones are refused."""
        rtsp, self._rtsp = self._rtsp, None
        if rtsp:
            rtsp.kill()
        self.onvif.stop()

    def unplugged(self) -> None:
        """The cable is pulled: connections stay and carry nothing, new ones get no answer."""
        if self._rtsp:
            self._rtsp.signal(signal.SIGSTOP)
        self.onvif.set(silent=True)

    def frozen(self) -> None:
        """Answers everything and sends no more packets."""
        self._ask(frozen=True)

    def still(self) -> None:
        """Sends the same picture for ever."""
        self._ask(variant="still")

    def black(self) -> None:
        """A covered lens: dark noise."""
        self._ask(variant="black")

    def drop(self, access_units: float = 5) -> None:
        """Loses the next access units."""
        self._ask(drop=int(access_units))

    def jump(self, seconds: float = 7.5) -> None:
        """All timestamps from now on are moved."""
        self._ask(jump_s=seconds)

    def drift(self, ppm: float = 200) -> None:
        """Timestamps run fast (or slow, below zero) from now on."""
        self._ask(drift_ppm=ppm)

    def wrong_password(self) -> None:
        """Somebody changed the camera's password."""
        other = self.password + "-changed"
        self.onvif.password = other
        self._ask(password=other)

    def clock(self, offset_s: float = 3600) -> None:
        """The camera's clock is wrong by so much."""
        self.onvif.set(clock_offset_s=offset_s)

    def internal_address(self) -> None:
        """Gives out addresses of a network that nobody reaches."""
        self.onvif.set(address="10.0.0.5")

    def slow(self, seconds: float = 3) -> None:
        """ONVIF answers late."""
        self.onvif.set(delay_s=seconds)

    def silent(self) -> None:
        """ONVIF takes requests and never answers; RTSP goes on."""
        self.onvif.set(silent=True)

    def deaf_osd(self) -> None:
        """SetOSD succeeds and changes nothing."""
        self.onvif.set(deaf_osd=True)
