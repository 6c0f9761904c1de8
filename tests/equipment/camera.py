"""One stand-in camera: its RTSP server (a process), its ONVIF service (threads), where asked for its cable; the faults of all."""

import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from tests.equipment.clips import STREAMS, Clip
from tests.equipment.onvif import GROUP, Discovery, OnvifFaults, OnvifService
from tests.equipment.onvif_messages import Profile
from tests.equipment.process import HOST, EquipmentError, Peer, free_port
from tests.equipment.scene import FPS, View

SYSTEM_PYTHON = "/usr/bin/python3"  # PyGObject comes from the system's packages
SERVER = Path(__file__).with_name("rtsp_server.py")
RELAY = Path(__file__).with_name("relay.py")
BEHIND = "127.0.0.2"  # where a camera behind a relay listens, on the ports that the relay has on HOST
OTHER_CLOCK_S = 4020.0  # what a rebooted camera's clock is off by


def next_address(host: str) -> str:
    """127.0.0.3 to 127.0.0.9, one after the other."""
    last = int(host.rsplit(".", 1)[1])
    return f"127.0.0.{last + 1 if 3 <= last < 9 else 3}"


class StandInCamera:
    """A camera on loopback.

    epoch_ns: CLOCK_MONOTONIC of its first picture; its lamp flashes at epoch_ns and each 5 s from then on. units_log: a file for
    one JSON line for each access unit sent (rtsp_server.py), or None. relay: a process between the camera and its clients, its
    cable (relay.py), which the faults cut, jitter and junk need. returned_ns: CLOCK_BOOTTIME at which a rebooted camera served
    again, None while it is away. discovery_port: where it hears WS-Discovery probes to the multicast group on loopback; None: a
    port of its own. Raises EquipmentError, OSError where it does not start.
    """

    FAULTS = (
        "back",
        "gone",
        "moved",
        "unplugged",
        "cut",
        "rebooted",
        "jitter",
        "junk",
        "frozen",
        "still",
        "black",
        "clap",
        "drop",
        "jump",
        "drift",
        "equal_stamps",
        "garbage",
        "size",
        "parameters",
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
        relay: bool = False,
        discovery_port: int | None = None,
    ) -> None:
        self.name = name
        self.host = HOST
        self.discovery_port = discovery_port or free_port(socket.SOCK_DGRAM)
        self.user = user
        self.password = password
        self.units_log = units_log
        self.rtsp_port = free_port()
        self._clip, self._log, self._epoch_ns = clip, log, epoch_ns
        self._rtsp: Peer | None = None
        self._with_relay = relay
        self._relay: Peer | None = None
        self._discovery: Discovery | None = None
        self._reboot: threading.Timer | None = None
        self._power = threading.RLock()
        self.returned_ns: int | None = None
        recipe = clip.recipe
        main = Profile("main", recipe.codec, recipe.width, recipe.height, FPS, recipe.gop, recipe.bits_per_s)
        sub = Profile("sub", recipe.codec, recipe.sub_width, recipe.sub_height, FPS, recipe.gop, recipe.sub_bits_per_s)
        self.onvif = OnvifService(name, (main, sub), self.rtsp_port, user, password, clip.jpeg(name), free_port())
        self.onvif.host = self._inner_host

    @property
    def _inner_host(self) -> str:
        return BEHIND if self._with_relay else self.host

    @property
    def discovery(self) -> str:
        """Where the product's probes must go to reach this camera: its ``onvif.discovery``."""
        return f"{GROUP}:{self.discovery_port}"

    @property
    def onvif_port(self) -> int:
        return self.onvif.port

    @property
    def pids(self) -> list[int]:
        return [peer.pid for peer in (self._rtsp, self._relay) if peer]

    def address(self, stream: str = "main", *, password: str | None = None) -> str:
        """RTSP address with user and password."""
        return f"rtsp://{self.user}:{self.password if password is None else password}@{self.host}:{self.rtsp_port}/{stream}"

    def start(self) -> None:
        """Serves RTSP and ONVIF."""
        with self._power:
            if self._discovery is None:
                self._discovery = Discovery(self.onvif, group_port=self.discovery_port)
            if self._with_relay and self._relay is None:
                self._relay = Peer(f"relay-{self.name}", [sys.executable, RELAY], self._log)
                routes = [{"listen": [self.host, port], "to": [BEHIND, port]} for port in (self.rtsp_port, self.onvif_port)]
                self._relay.ask({"seed": self.name, "routes": routes}, 15)
            if self._rtsp is None:
                self._rtsp = Peer(f"rtsp-{self.name}", [SYSTEM_PYTHON, SERVER], self._log)
                self._rtsp.ask(self._config(), 15)
                self.onvif.start()
                if self._relay:
                    self._relay.ask({"listen": True})

    def _config(self) -> dict[str, object]:
        recipe = self._clip.recipe
        mounts = {
            f"/{stream}": {
                "codec": recipe.codec,
                "fps": FPS,
                "gop": recipe.gop,
                "variants": {variant: str(self._clip.index(self.name, stream, variant)) for variant in recipe.variants},
                "audio": {"codec": recipe.audio, "path": str(self._clip.sound)} if recipe.audio and stream == "main" else None,
            }
            for stream in STREAMS
        }
        login = {"host": self._inner_host, "port": self.rtsp_port, "user": self.user, "password": self.password}
        return login | {"epoch_ns": self._epoch_ns, "log": str(self.units_log or ""), "mounts": mounts}

    def stop(self) -> None:
        """Ends all."""
        self._stay_away()
        with self._power:
            relay, self._relay = self._relay, None
            rtsp, self._rtsp = self._rtsp, None
            for peer in (rtsp, relay):
                if peer:
                    peer.end()
            self.onvif.stop()
            discovery, self._discovery = self._discovery, None
            if discovery:
                discovery.stop()

    def _stay_away(self) -> None:
        """Calls a reboot off that is under way."""
        reboot, self._reboot = self._reboot, None
        if reboot:
            reboot.cancel()
            reboot.join()

    def _ask(self, **values: object) -> dict[str, object]:
        if self._rtsp is None:
            raise EquipmentError(f"{self.name} is gone; bring it back first")
        return self._rtsp.ask(values)

    def _cable(self, **values: object) -> dict[str, object]:
        if self._relay is None:
            raise EquipmentError(f"{self.name} has no relay: start the room with one (relay=True, --relay)")
        return self._relay.ask(values)

    def clients(self) -> dict[str, int]:
        """Clients of each mount."""
        return dict(self._ask(status=True)["clients"])  # type: ignore[call-overload, no-any-return]

    # faults

    def back(self) -> None:
        """Everything as at the start; the lamp in the same phase."""
        self._stay_away()
        with self._power:
            if self.host != HOST:
                self._leave_for(HOST)
            self.onvif.stop()
            self.onvif.faults = OnvifFaults()
            self.onvif.password = self.password
            if self._rtsp is None:
                self.start()
            else:
                self._rtsp.signal(signal.SIGCONT)
                self._ask(frozen=False, variant="scene", drift_ppm=0, equal_stamps=0, garbage=0, password=self.password)
                self.onvif.start()
            if self._relay:
                self._cable(cut=False, jitter_ms=0)

    def gone(self) -> None:
        """Loses its power, with a network that tells: connections break, new ones are refused."""
        self._stay_away()
        with self._power:
            if self._relay:
                self._cable(listen=False)
            rtsp, self._rtsp = self._rtsp, None
            if rtsp:
                rtsp.kill()
            self.onvif.stop()

    def moved(self, last: float | None = None) -> None:
        """Gets a new address, as from DHCP: breaks off and comes back at 127.0.0.<last>, 3 to 9, as the same device on the same
        ports. None: the next of them."""
        self._leave_for(f"127.0.0.{int(last)}" if last else next_address(self.host))
        self.start()

    def _leave_for(self, host: str) -> None:
        self.gone()
        with self._power:
            relay, self._relay = self._relay, None
            if relay:
                relay.kill()
            self.host = self.onvif.reached = host
            self.onvif.host = self._inner_host

    def rebooted(self, seconds: float = 3) -> None:
        """Restarts: away for so long, then back with its ONVIF clock off by 1 h 7 min and timestamps from elsewhere.

        Returns when it is gone; ``returned_ns`` tells when it served again.
        """
        self.gone()
        self.returned_ns = None
        self._reboot = threading.Timer(seconds, self._boot)
        self._reboot.daemon = True
        self._reboot.start()

    def _boot(self) -> None:
        self.onvif.faults = replace(self.onvif.faults, clock_offset_s=OTHER_CLOCK_S)
        self.start()
        self._ask(jump_s=OTHER_CLOCK_S)
        self.returned_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def cut(self) -> None:
        """The cable is pulled: connections stand and carry nothing, new ones get no answer (relay.py)."""
        self._cable(cut=True)
        self.onvif.set(silent=True)  # in discovery, which takes no relay

    def jitter(self, milliseconds: float = 80) -> None:
        """The network holds each piece for a random time up to this; the order is kept."""
        self._cable(jitter_ms=milliseconds)

    def junk(self, count: float = 200) -> None:
        """So many random bytes in the RTSP connections, between two frames; nothing else is lost."""
        self._cable(junk=int(count))

    def unplugged(self) -> None:
        """Hangs: connections stay and carry nothing, new ones are taken and get no answer."""
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

    def clap(self) -> None:
        """Somebody claps at each beep: hands in place of the lamp, from the next key frame on."""
        self._ask(variant="clap")

    def drop(self, access_units: float = 5) -> None:
        """Loses the next access units."""
        self._ask(drop=int(access_units))

    def jump(self, seconds: float = 7.5) -> None:
        """All timestamps from now on are moved. FFmpeg takes one long before the connection's first for 2³² ticks later."""
        self._ask(jump_s=seconds)

    def drift(self, ppm: float = 200) -> None:
        """Timestamps run fast (or slow, below zero) from now on."""
        self._ask(drift_ppm=ppm)

    def equal_stamps(self, access_units: float = 1) -> None:
        """The next access units carry the timestamp of the one before them."""
        self._ask(equal_stamps=int(access_units))

    def garbage(self, access_units: float = 1) -> None:
        """The next access units hold random bytes behind their slice headers."""
        self._ask(garbage=int(access_units))

    def size(self) -> None:
        """Pictures of another size from the next key frame on, main stream and sub-stream."""
        self._ask(variant="size")

    def parameters(self) -> None:
        """Other parameter sets from the next key frame on; the size stays."""
        self._ask(variant="parameters")

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
