"""A camera's RTSP server: a process of its own on Debian's Python (PyGObject, gst-rtsp-server), without the virtual environment.

It serves prepared access units (clips.py) on each mount for ever, in real time and without encoding. Access unit *i* of a mount
leaves at ``epoch + i·40 ms`` of CLOCK_MONOTONIC whether anybody listens or not, so all streams and all cameras of one epoch are
in phase. A new client is given its first access unit at the next key frame. Digest authentication; RTP over TCP only.

Its first line on standard input is the configuration, as JSON, each further line a command; every line is answered on standard
output::

    {"host": "127.0.0.1", "port": 0, "user": "admin", "password": "…", "epoch_ns": 0, "log": "/path/units.jsonl" or "",
     "mounts": {"/main": {"codec": "h264", "fps": 25, "gop": 25, "variants": {"scene": "/path/index.json", …}}, …}}
    → {"ok": true, "port": 20554}
    {"frozen": true}        sends nothing and keeps the connections; false goes on at the next key frame
    {"variant": "black"}    another clip from the next key frame on
    {"jump_s": 7.5}         moves all further timestamps; {"drift_ppm": 200} lets them run fast or slow from now on
    {"drop": 5}             leaves the next 5 access units out
    {"password": "…"}       for connections from now on
    {"status": true}        → {"ok": true, "clients": {"/main": 1, "/sub": 0}}

A command may name one mount: ``{"mount": "/sub", "drop": 5}``. The log has one JSON line for each access unit as it leaves:
``mount``, ``index``, ``due_ns`` and ``sent_ns`` (CLOCK_MONOTONIC), ``pts_ns`` (without the client's own zero), ``bytes``,
``sha256`` (of the Annex B access unit), ``key``, ``clients``. The process ends with its standard input.
"""

import hashlib
import json
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


class Variant:
    """The access units of one clip, their digests, and which are key frames."""

    def __init__(self, index: str) -> None:
        with open(index, encoding="utf-8") as file:
            sizes = json.load(file)["sizes"]
        with open(index.removesuffix(".json") + ".bin", "rb") as data:
            self.units = [data.read(size) for size in sizes]
        self.sha256 = [hashlib.sha256(unit).hexdigest() for unit in self.units]


class Client:
    """One client's pipeline."""

    def __init__(self, media: Any) -> None:
        self.source = media.get_element().get_by_name("units")
        self.waiting = True  # for a key frame
        self.first_shift_ns: int | None = None  # what the mount's timestamps were moved by at the client's first access unit


class Mount:
    """One stream. Called by the clock's thread; commands and clients come from others, under the lock."""

    def __init__(self, path: str, config: dict[str, Any], log: Any) -> None:
        self.path = path
        self.period_ns = SECOND_NS // config["fps"]
        self.gop = config["gop"]
        self._codec = config["codec"]
        self._variants = {name: Variant(index) for name, index in config["variants"].items()}
        self._variant = self._next_variant = next(iter(self._variants))
        self._log = log
        self._lock = threading.Lock()
        self._clients: list[Client] = []
        self._frozen = False
        self._drop = 0
        self._shift_ns = 0.0
        self._drift_ppm = 0.0

    def factory(self) -> Any:
        """What the server makes a client's media with."""
        factory = GstRtspServer.RTSPMediaFactory()
        caps = f"{CAPS[self._codec]},stream-format=byte-stream,alignment=au"
        factory.set_launch(
            f"( appsrc name=units is-live=true format=time max-bytes=0 max-buffers=500 leaky-type=downstream caps={caps}"
            f" ! {self._codec}parse config-interval=-1 ! rtp{self._codec}pay name=pay0 pt=96 aggregate-mode=none )"
        )
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
            self._shift_ns += float(values.get("jump_s", 0)) * SECOND_NS
            self._drift_ppm = float(values.get("drift_ppm", self._drift_ppm))

    @property
    def clients(self) -> int:
        with self._lock:
            return len(self._clients)

    def send(self, index: int, epoch_ns: int) -> None:
        """Access unit index, now."""
        due_ns = epoch_ns + index * self.period_ns
        key = index % self.gop == 0
        with self._lock:
            self._shift_ns += self._drift_ppm * 1e-6 * self.period_ns
            if key:
                self._variant = self._next_variant
            variant = self._variants[self._variant]
            if self._frozen:
                return
            if self._drop:
                self._drop -= 1
                return
            at = index % len(variant.units)
            shift_ns = round(self._shift_ns)
            sent = sum(self._push(client, variant.units[at], due_ns, shift_ns, key) for client in self._clients)
        if self._log:
            line = {"mount": self.path, "index": index, "due_ns": due_ns, "sent_ns": time.monotonic_ns()}
            line |= {"pts_ns": index * self.period_ns + shift_ns, "bytes": len(variant.units[at])}
            line |= {"sha256": variant.sha256[at], "key": key, "clients": sent}
            self._log.write(json.dumps(line) + "\n")

    def _push(self, client: Client, unit: bytes, due_ns: int, shift_ns: int, key: bool) -> bool:
        base_ns = client.source.get_base_time()
        if client.waiting and not (key and 0 < base_ns <= due_ns):
            return False
        client.waiting = False
        if client.first_shift_ns is None:
            client.first_shift_ns = shift_ns
        buffer = Gst.Buffer.new_wrapped(unit)
        pts_ns = due_ns - base_ns + shift_ns - client.first_shift_ns
        buffer.pts = buffer.dts = pts_ns if pts_ns >= 0 else pts_ns + RTP_WRAP_NS * (1 - pts_ns // RTP_WRAP_NS)
        buffer.duration = self.period_ns
        client.source.emit("push-buffer", buffer)
        return True


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
        known = {"mount", "frozen", "variant", "jump_s", "drift_ppm", "drop", "password", "status"}
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
