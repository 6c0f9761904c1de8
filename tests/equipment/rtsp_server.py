"""A camera's RTSP server: a process of its own on Debian's Python (PyGObject, gst-rtsp-server), without the virtual environment.

It serves prepared access units (clips.py) on each mount for ever, in real time and without encoding. Access unit *i* of a mount
leaves at ``epoch + i·40 ms`` of CLOCK_MONOTONIC whether anybody listens or not, so all streams and all cameras of one epoch are
in phase. With B-frames it leaves in decoding order, later by as many periods as the encoder had to wait, so that no picture
leaves before its own time, ``epoch + pts``. A new client is given its first access unit at the next key frame. What is pushed is
what is sent: no parser stands in between; every NAL unit has a start code of four bytes, as depayloaders write it, so the digest
in the log is that of a client's packet. Digest authentication; RTP over TCP only.

Its first line on standard input is the configuration, as JSON, each further line a command; every line is answered on standard
output::

    {"host": "127.0.0.1", "port": 0, "user": "admin", "password": "…", "epoch_ns": 0, "log": "/path/units.jsonl" or "",
     "mounts": {"/main": {"codec": "h264", "fps": 25, "gop": 25, "variants": {"scene": "/path/index.json", …},
                          "audio": null or {"codec": "pcma" or "pcmu", "path": "/path/of/its/bytes"}}, …}}
    → {"ok": true, "port": 20554}
    {"frozen": true}        sends nothing and keeps the connections; false goes on at the next key frame
    {"variant": "black"}    another clip from the next key frame on
    {"jump_s": 7.5}         moves all further timestamps; {"drift_ppm": 200} lets them run fast or slow from now on
    {"drop": 5}             leaves the next 5 access units out
    {"equal_stamps": 1}     so many access units carry the timestamp of the one before them
    {"garbage": 1}          so many hold random bytes behind the first bytes of each slice; parameter sets and borders stay
    {"password": "…"}       for connections from now on
    {"status": true}        → {"ok": true, "clients": {"/main": 1, "/sub": 0}}

A command may name one mount: ``{"mount": "/sub", "drop": 5}``. The log has one JSON line for each access unit as it leaves:
``mount``, ``index``, ``due_ns`` and ``sent_ns`` (CLOCK_MONOTONIC), ``pts_ns`` (without the client's own zero), ``bytes``,
``sha256`` (of the access unit as sent, Annex B), ``key``, ``variant``, ``garbage``, ``clients``. Sound of G.711
goes with the video in pieces of 20 ms and is not logged. The process ends with its standard input.
"""

import hashlib
import json
import random
import re
import sys
import threading
import time
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402  # their versions must be named before

SECOND_NS = 1_000_000_000
RTP_WRAP_NS = (1 << 32) * SECOND_NS // 90_000  # an RTP timestamp has 32 bits at 90 kHz
CAPS = {"h264": "video/x-h264", "h265": "video/x-h265"}
SOUND = {"pcma": ("audio/x-alaw", 8), "pcmu": ("audio/x-mulaw", 0)}  # and the static payload type of RFC 3551
SOUND_HZ = 8000  # bytes a second
SOUND_PIECE = SOUND_HZ // 50
START_CODE = b"\0\0\0\1"
SLICE_HEAD = 12  # bytes of a slice that garbage leaves alone: with its header it is still known where an access unit begins


def nal_units(unit: bytes) -> list[bytes]:
    """The NAL units of an access unit in Annex B, without start codes."""
    return [nal for nal in (part.rstrip(b"\0") for part in re.split(rb"\x00\x00\x01", unit)) if nal]


def is_slice(codec: str, nal: bytes) -> bool:
    """Whether a NAL unit holds a picture (types 1 to 5 of ITU-T H.264, 0 to 31 of H.265)."""
    return 1 <= nal[0] & 31 <= 5 if codec == "h264" else nal[0] >> 1 & 63 < 32


class Variant:
    """The access units of one clip in decoding order, their digests, and how many periods each is shown after its number."""

    def __init__(self, index: str) -> None:
        with open(index, encoding="utf-8") as file:
            facts = json.load(file)
        with open(index.removesuffix(".json") + ".bin", "rb") as data:
            units = [data.read(size) for size in facts["sizes"]]
        self.units = [b"".join(START_CODE + nal for nal in nal_units(unit)) for unit in units]
        self.sha256 = [hashlib.sha256(unit).hexdigest() for unit in self.units]
        self.offsets: list[int] = facts.get("offsets") or [0] * len(units)


class Client:
    """One client's pipeline."""

    def __init__(self, media: Any) -> None:
        self.source = media.get_element().get_by_name("units")
        self.sound = media.get_element().get_by_name("sound")
        self.waiting = True  # for a key frame
        self.first_shift_ns: int | None = None  # what the mount's timestamps were moved by at the client's first access unit


def push(source: Any, data: bytes, pts_ns: int, duration_ns: int) -> None:
    """Sends bytes. RTP's timestamps count modulo 2³²: a time before the pipeline's zero is given as one that much later."""
    buffer = Gst.Buffer.new_wrapped(data)
    buffer.pts = buffer.dts = pts_ns if pts_ns >= 0 else pts_ns + RTP_WRAP_NS * -(pts_ns // RTP_WRAP_NS)
    buffer.duration = duration_ns
    source.emit("push-buffer", buffer)


class Mount:
    """One stream. Called by the clock's thread; commands and clients come from others, under the lock."""

    def __init__(self, path: str, config: dict[str, Any], log: Any) -> None:
        self.path = path
        self.period_ns = SECOND_NS // config["fps"]
        self.gop = config["gop"]
        self._codec = config["codec"]
        self._variants = {name: Variant(index) for name, index in config["variants"].items()}
        self._variant = self._next_variant = next(iter(self._variants))
        self._delay = max(offset for variant in self._variants.values() for offset in variant.offsets)
        self._audio = config.get("audio")
        if self._audio:
            with open(self._audio["path"], "rb") as file:
                self._sound = file.read()
        self._log = log
        self._lock = threading.Lock()
        self._clients: list[Client] = []
        self._frozen = False
        self._drop = self._equal_stamps = self._garbage = 0
        self._last_pts_ns = 0
        self._random = random.Random(path)
        self._shift_ns = 0.0
        self._drift_ppm = 0.0

    def factory(self) -> Any:
        """What the server makes a client's media with."""
        factory = GstRtspServer.RTSPMediaFactory()
        caps = f"{CAPS[self._codec]},stream-format=byte-stream,alignment=au"
        source = "is-live=true format=time max-bytes=0 max-buffers=500 leaky-type=downstream"
        launch = f"appsrc name=units {source} caps={caps} ! rtp{self._codec}pay name=pay0 pt=96 aggregate-mode=none"
        if self._audio:
            kind, number = SOUND[self._audio["codec"]]
            caps = f"{kind},rate={SOUND_HZ},channels=1"
            launch += f" appsrc name=sound {source} caps={caps} ! rtp{self._audio['codec']}pay name=pay1 pt={number}"
        factory.set_launch(f"( {launch} )")
        factory.set_shared(False)
        factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP)
        permissions = GstRtspServer.RTSPPermissions()
        for right in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role("viewer", right, True)
        factory.set_permissions(permissions)
        factory.connect("media-configure", self._configure)
        return factory

    def _configure(self, _factory: Any, media: Any) -> None:
        # The clock's thread paces and timestamps may jump: the sinks must not wait for them. PLAY sets them to waiting each time.
        media.connect("new-state", lambda media, _state: media.set_rate_control(False))
        client = Client(media)
        with self._lock:
            self._clients.append(client)
        media.connect("unprepared", lambda _media: self._leave(client))

    def _leave(self, client: Client) -> None:
        with self._lock:
            if client in self._clients:
                self._clients.remove(client)

    def command(self, values: dict[str, Any]) -> None:
        """Takes the faults of one command. Raises KeyError for a variant that is not there."""
        with self._lock:
            if "variant" in values:
                self._variants[values["variant"]]
                self._next_variant = values["variant"]
            if "frozen" in values:
                self._frozen = bool(values["frozen"])
                for client in self._clients:
                    client.waiting = True
            self._drop += int(values.get("drop", 0))
            self._equal_stamps = int(values.get("equal_stamps", self._equal_stamps))
            self._garbage = int(values.get("garbage", self._garbage))
            self._shift_ns += float(values.get("jump_s", 0)) * SECOND_NS
            self._drift_ppm = float(values.get("drift_ppm", self._drift_ppm))

    @property
    def clients(self) -> int:
        with self._lock:
            return len(self._clients)

    def send(self, turn: int, epoch_ns: int) -> None:
        """The access unit that leaves now, at epoch_ns + turn periods."""
        due_ns = epoch_ns + turn * self.period_ns
        index = turn - self._delay
        key = index % self.gop == 0
        with self._lock:
            self._shift_ns += self._drift_ppm * 1e-6 * self.period_ns
            if key:
                self._variant = self._next_variant
            variant = self._variants[self._variant]
            at = index % len(variant.units)
            shift_ns = round(self._shift_ns)
            if self._frozen:
                return
            if self._drop:
                self._drop -= 1
                return
            unit, sha256, garbage = variant.units[at], variant.sha256[at], self._garbage > 0
            if garbage:
                self._garbage -= 1
                unit = self._spoilt(unit)
                sha256 = hashlib.sha256(unit).hexdigest()
            pts_ns = (index + variant.offsets[at]) * self.period_ns + shift_ns
            if self._equal_stamps:
                self._equal_stamps -= 1
                pts_ns = self._last_pts_ns
            self._last_pts_ns = pts_ns
            sent = sum(self._push(client, unit, epoch_ns, due_ns, pts_ns, shift_ns, key) for client in self._clients)
            if self._audio:
                self._send_sound(turn, due_ns, shift_ns)
        if self._log:
            line = {"mount": self.path, "index": index, "due_ns": due_ns, "sent_ns": time.monotonic_ns(), "pts_ns": pts_ns}
            line |= {"bytes": len(unit), "sha256": sha256, "key": key}
            line |= {"variant": self._variant, "garbage": garbage, "clients": sent}
            self._log.write(json.dumps(line) + "\n")

    def _spoilt(self, unit: bytes) -> bytes:
        """The access unit with random bytes, none of them 0, in its slices."""
        nals = nal_units(unit)
        for n, nal in enumerate(nals):
            if is_slice(self._codec, nal):
                noise = self._random.randbytes(max(0, len(nal) - SLICE_HEAD))
                nals[n] = nal[:SLICE_HEAD] + noise.replace(b"\0", b"\xaa")
        return b"".join(START_CODE + nal for nal in nals)

    def _push(  # noqa: PLR0917  # one access unit
        self, client: Client, unit: bytes, epoch_ns: int, due_ns: int, pts_ns: int, shift_ns: int, key: bool
    ) -> bool:
        base_ns = client.source.get_base_time()
        if client.waiting and not (key and 0 < base_ns <= due_ns - self._delay * self.period_ns):
            return False
        client.waiting = False
        if client.first_shift_ns is None:
            client.first_shift_ns = shift_ns
        push(client.source, unit, epoch_ns + pts_ns - base_ns - client.first_shift_ns, self.period_ns)
        return True

    def _send_sound(self, turn: int, due_ns: int, shift_ns: int) -> None:
        """The sound of one period, as it leaves when the period begins."""
        count = round(self.period_ns * SOUND_HZ / SECOND_NS)
        for client in self._clients:
            if client.first_shift_ns is None:
                continue
            zero_ns = client.source.get_base_time() + client.first_shift_ns - shift_ns
            for skipped in range(0, count, SOUND_PIECE):
                at = (turn * count + skipped) % len(self._sound)
                pts_ns = due_ns - zero_ns + skipped * SECOND_NS // SOUND_HZ
                piece = self._sound[at : at + SOUND_PIECE]
                push(client.sound, piece, pts_ns, SOUND_PIECE * SECOND_NS // SOUND_HZ)


def run_clock(mounts: list[Mount], epoch_ns: int) -> None:
    """Sends every access unit at its time. One that is more than a second late (the process was stopped) is left out."""
    period_ns = mounts[0].period_ns
    index = max(0, (time.monotonic_ns() - epoch_ns) // period_ns + 1)
    while True:
        wait_ns = epoch_ns + index * period_ns - time.monotonic_ns()
        if wait_ns < -SECOND_NS:
            index -= wait_ns // period_ns
            continue
        if wait_ns > 0:
            time.sleep(wait_ns / SECOND_NS)
        for mount in mounts:
            mount.send(index, epoch_ns)
        index += 1


class Server:
    """The server with its mounts."""

    def __init__(self, config: dict[str, Any]) -> None:
        log = open(config["log"], "a", buffering=1, encoding="utf-8") if config.get("log") else None  # noqa: SIM115
        self._mounts = [Mount(path, mount, log) for path, mount in config["mounts"].items()]
        self._user = config["user"]
        self._server = GstRtspServer.RTSPServer()
        self._server.set_address(config["host"])
        self._server.set_service(str(config["port"]))
        self._server.get_thread_pool().set_max_threads(16)  # a DESCRIBE of a frozen camera waits and holds its thread
        self._set_password(config["password"])
        for mount in self._mounts:
            self._server.get_mount_points().add_factory(mount.path, mount.factory())
        if not self._server.attach(None):
            raise OSError(f"{config['host']}:{config['port']} cannot be bound")
        self.port = self._server.get_bound_port()
        threading.Thread(target=run_clock, args=(self._mounts, config["epoch_ns"]), daemon=True).start()
        GLib.timeout_add_seconds(2, self._clean)

    def _clean(self) -> bool:
        self._server.get_session_pool().cleanup()
        return True

    def _set_password(self, password: str) -> None:
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_digest(self._user, password, token)
        self._server.set_auth(auth)

    def command(self, values: dict[str, Any]) -> dict[str, Any]:
        """The answer to one command."""
        known = {"mount", "frozen", "variant", "jump_s", "drift_ppm", "drop", "equal_stamps", "garbage", "password", "status"}
        if unknown := set(values) - known:
            return {"ok": False, "error": f"unknown: {', '.join(sorted(unknown))}"}
        for mount in self._mounts:
            if values.get("mount", mount.path) == mount.path:
                mount.command(values)
        if "password" in values:
            self._set_password(values["password"])
        return {"ok": True, "clients": {mount.path: mount.clients for mount in self._mounts}}


def main() -> None:
    """Serves until standard input ends."""
    Gst.init(None)
    server = Server(json.loads(sys.stdin.readline()))
    loop = GLib.MainLoop()

    def listen() -> None:
        for line in sys.stdin:
            try:
                answer = server.command(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                answer = {"ok": False, "error": repr(error)}
            print(json.dumps(answer), flush=True)
        loop.quit()

    print(json.dumps({"ok": True, "port": server.port}), flush=True)
    threading.Thread(target=listen, daemon=True).start()
    loop.run()


if __name__ == "__main__":
    main()
