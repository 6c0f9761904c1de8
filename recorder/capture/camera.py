"""A camera as a source: RTSP over TCP through PyAV, packets unchanged, stamped on arrival.

FFmpeg speaks to the camera through recorder.capture.rtsp_relay. Measured: demuxing and storing one 1080p25 track costs 0.4
CPU-seconds per 30 s, about what ``ffmpeg -c copy`` costs.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import av

from drivers.faults import DeviceAbsent, DeviceFault, DeviceSilent
from drivers.ports import CameraAddress, CameraDescription, Stream
from drivers.stream_address import filled, hidden, over_tls
from recorder.capture.camera_identity import CameraSettings, KnownCamera
from recorder.capture.camera_timeline import CameraTimeline
from recorder.capture.rtsp_relay import PICTURE_BYTES, RtspRelay
from recorder.capture.source import Source
from recorder.capture.stream_fault import equal_lengths, stream_fault
from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.media.cadence import Cadence, Stamp
from recorder.media.packets import FOREIGN_TEXT, Changed, Connected, Format, Jumped, Packet
from recorder.media.parameter_sets import format_at

OPEN_S = 4.0  # a camera that is slower with its answers gets so much more each time…
SLOWEST_OPEN_S = 12.0  # …up to this
READ_S = 1.5  # a stream silent for so long is told: it must be within 3 s…
GIVE_UP_S = 4.5  # …and given up after this: a camera may send one picture in two seconds, from one moment to the next
UNKNOWN_S = 3.0  # …but later while its rate is not known yet
REORDERED = 4  # packets among which the earliest picture of a stream with B-frames is
KEY_S = 10  # without a key frame for so long the connection is made anew, upon which cameras send one
# Only the video: with a second stream the demuxer would re-base timestamps at the first RTCP report. No probing for the rate: it
# took a second. Not "nobuffer": that throws away what was read while probing, the first key frame with it.
OPTIONS = {
    "rtsp_transport": "tcp",
    "allowed_media_types": "video",
    "fpsprobesize": "0",
    "max_delay": "0",
    "max_streams": "16",
    "protocol_whitelist": "tcp",
    "codec_whitelist": "h264,hevc",
}


class _Came:
    """A packet as the demuxer gave it. stamp: in the stream's time base, None where it has none."""

    __slots__ = ("arrival_ns", "data", "key", "stamp")

    def __init__(self, packet: "av.Packet[av.VideoStream]", arrival_ns: int) -> None:
        self.stamp: int | None = packet.pts if packet.pts is not None else packet.dts
        self.key, self.data, self.arrival_ns = bool(packet.is_keyframe), bytes(packet), arrival_ns


class StreamReader:
    """One RTSP connection. ``packets`` yields until it fails.

    uri: of the stream, as it may be shown. peer: host and port that deliver.
    """

    def __init__(self, stream: Stream, address: CameraAddress, open_s: float = OPEN_S) -> None:
        """Opens and logs in. open_s: for all answers together. Raises DeviceAbsent, DeviceRefused, DeviceSilent, DeviceFault."""
        uri = over_tls(stream.uri) if address.tls_fingerprint else stream.uri
        self._name, self.uri = address.name, hidden(uri)
        began_ns = boottime_ns()
        relay: RtspRelay | None = None
        try:
            relay = RtspRelay(filled(uri, address.user, address.password), self.uri, address, open_s)
            self.container = av.open(relay.url, options=OPTIONS, timeout=(open_s, GIVE_UP_S), metadata_errors=FOREIGN_TEXT)
        except (av.error.FFmpegError, OSError) as error:
            late_s = open_s if boottime_ns() - began_ns >= open_s * SECOND_NS else 0.0
            fault = stream_fault(error, self._name, self.uri, late_s=late_s, status=relay.status if relay is not None else 0)
            # The original may name an address with a password in it.
            raise (relay.fault if relay is not None and relay.fault is not None else fault) from None
        self._relay, self.peer = relay, relay.peer
        if not self.container.streams.video:
            self.close()
            raise DeviceFault(
                "camera-sends-no-video",
                "check-camera-stream-settings",
                name=self._name,
                uri=self.uri,
            )
        self.stream = self.container.streams.video[0]
        context = self.stream.codec_context
        self.format = Format(
            media="video",
            codec=context.name,
            time_base=self.stream.time_base or Fraction(1, 90000),
            extradata=bytes(context.extradata or b""),
            width=context.width,
            height=context.height,
            fps=float(self.stream.average_rate or 0),
        )
        # A description may tell any rate: one below 25 would put a picture without a time of its own too far from the next one.
        self._interval = round(1 / (self.format.time_base * Fraction(max(self.format.fps, 25))))
        self._timeline = CameraTimeline(float(self.format.time_base * SECOND_NS))
        self._cadence = Cadence()
        self._opened_ns = self._handed_ns = boottime_ns()
        self._stamped = 0  # the last timestamp, as the camera gave it

    def close(self) -> None:
        """Ends the connection, upon which the relay ends its own. Not while another thread waits for packets."""
        self.container.close()

    def packets(self) -> Iterator[Packet | Jumped]:
        """Every packet from the first key frame on, as it comes; a Jumped before the first one behind a jump of the timestamps.

        The demuxer hands a packet over when the next one's first bytes come, so that is the arrival of the next (measured: 40 ms
        at 25 pictures a second). A read that times out is hidden once, behind the packet that was held back.

        Raises DeviceFault and its kinds when the connection ends.
        """
        interval_ns = round(self._interval * self.format.time_base * SECOND_NS)
        came_ns: int | None = None
        opening: list[_Came] | None = []
        asked_ns = boottime_ns()
        try:
            for packet in self.container.demux(self.stream):
                self._relay.handed()
                handed_ns = self._handed_ns = boottime_ns()
                silent = handed_ns - asked_ns >= GIVE_UP_S * SECOND_NS
                came = _Came(packet, came_ns if came_ns is not None else handed_ns - interval_ns)
                came_ns = handed_ns
                if packet.size == 0:
                    break
                if packet.size > PICTURE_BYTES:
                    raise self._relay.too_large()
                if opening is not None:
                    opening.append(came)
                    if sum(each.stamp is not None for each in opening) >= self._opening_packets:
                        self._stamp(opening)
                        for each in opening:
                            yield from self._placed(each)
                        opening = None
                else:
                    yield from self._placed(came)
                if silent:
                    raise TimeoutError
                asked_ns = boottime_ns()
                self._relay.wait()
        except (av.error.FFmpegError, OSError) as error:
            late_s = round((boottime_ns() - asked_ns) / SECOND_NS, 1)
            fault = stream_fault(error, self._name, self.uri, late_s=late_s if late_s >= GIVE_UP_S else 0.0)
            raise self._relay.fault or fault from None
        if self._relay.fault is not None:
            raise self._relay.fault
        raise DeviceAbsent("camera-ended-connection", "check-power-and-network-cable", name=self._name)

    @property
    def quiet(self) -> DeviceFault | None:
        """Nothing has come for so long that it is a silence, though the connection stands. For another thread."""
        quiet_s = (boottime_ns() - self._handed_ns) / SECOND_NS
        if quiet_s < (max(READ_S, self._cadence.limit_ns / SECOND_NS) if self._cadence.known else UNKNOWN_S):
            return None
        return stream_fault(TimeoutError(), self._name, self.uri, late_s=round(quiet_s, 1))

    @property
    def _opening_packets(self) -> int:
        """After so many packets with a timestamp that of the connection's first picture is known."""
        return REORDERED if self.stream.codec_context.has_b_frames else 1

    def _stamp(self, opening: "list[_Came]") -> None:
        """The demuxer gives the first packets no timestamp: they are an interval each before the earliest that has one."""
        first = next(n for n, came in enumerate(opening) if came.stamp is not None)
        earliest = min(came.stamp for came in opening if came.stamp is not None)
        for n in range(first):
            opening[n].stamp = earliest - (first - n) * self._interval

    def _placed(self, came: "_Came") -> Iterator[Packet | Jumped]:
        """The packet on the connection's time line, with its format. What comes before a key frame nobody can decode."""
        if came.key:
            self.format = format_at(came.data, self.format)
        if self.format.template is None:
            if came.arrival_ns - self._opened_ns > KEY_S * SECOND_NS:
                raise self._keyless()
            return
        if came.stamp is None:
            came.stamp = self._stamped + self._interval
        self._stamped = came.stamp
        pts = self._timeline.place(came.stamp, came.arrival_ns)
        self._cadence.add(Stamp(self.format.ns(pts), 0))
        if self._timeline.jumped_ns:
            yield Jumped(self._timeline.jumped_ns)
        yield Packet(pts, came.key, came.data, came.arrival_ns, self.format)

    def _keyless(self) -> DeviceFault:
        return DeviceFault(
            "camera-sends-no-key-frame",
            "set-short-key-frame-interval",
            name=self._name,
            seconds=KEY_S,
        )


def _device(description: CameraDescription, reader: StreamReader) -> dict[str, Any]:
    """What a track's journal says of its camera."""
    told = {k: v for k, v in description.as_dict().items() if k not in ("main", "sub")}
    return told | {"stream": reader.uri, "delivered_by": reader.peer}


class CameraSource(Source):
    """Describes the camera, connects to its main stream, delivers packets; again after every failure."""

    def __init__(self, settings: CameraSettings) -> None:
        super().__init__(settings.address.name)
        self._settings = settings
        self._camera = KnownCamera(settings)
        self._reader: StreamReader | None = None  # that delivers
        self._open_s = OPEN_S
        self._lasted_s: deque[float] = deque(maxlen=3)  # the last connections
        self._began_ns = boottime_ns()  # the present one

    @property
    def description_fault(self) -> dict[str, object] | None:
        """What a person should know although the camera may be recorded, Fault.as_dict()."""
        return self._camera.fault or self._ends_regularly()

    @property
    def quiet_fault(self) -> dict[str, object] | None:
        """The connection stands and nothing comes, Fault.as_dict()."""
        reader = self._reader
        fault = reader.quiet if reader is not None else None
        return None if fault is None else fault.as_dict()

    def _ends_regularly(self) -> dict[str, object] | None:
        every_s = equal_lengths(list(self._lasted_s))
        if every_s is None or boottime_ns() - self._began_ns > 2 * every_s * SECOND_NS:
            return None
        return DeviceFault(
            "camera-ends-connection-regularly",
            "lengthen-camera-rtsp-timeout",
            name=self._settings.address.name,
            seconds=round(every_s, 1),
        ).as_dict()

    def attempt(self) -> None:
        """Raises DeviceFault and its kinds."""
        description = self._camera.describe()
        self.beat()
        try:
            reader = self._opened(description)
            self.beat()
            self._camera.connected()
            self._deliver_from(reader, description)
        except DeviceFault:
            self._camera.failing()
            raise

    def _opened(self, description: CameraDescription) -> StreamReader:
        """A camera that did not answer in time gets longer the next time, up to SLOWEST_OPEN_S."""
        try:
            return StreamReader(description.main, self._settings.address, self._open_s)
        except DeviceSilent:
            self._open_s = min(SLOWEST_OPEN_S, self._open_s + OPEN_S)
            raise

    def stop(self) -> None:
        """Asks the thread to end, and stops a question that is on its way to the camera."""
        super().stop()
        self._camera.stop()

    def _deliver_from(self, reader: StreamReader, description: CameraDescription) -> None:
        try:
            for item in reader.packets():
                if self.stopping:
                    return
                self._camera.stay(description)
                if self._reader is None:
                    self.connected(Connected(reader.format, _device(description, reader)))
                    self._reader, self._began_ns = reader, boottime_ns()
                self.deliver(item)
                if (news := self._camera.news()) is not None:
                    device = _device(news[0], reader)
                    self.deliver(Changed(device, tuple(asdict(change) for change in news[1])))
        except DeviceAbsent:  # it ended the connection itself, or that broke
            if self._reader is not None:
                self._lasted_s.append((boottime_ns() - self._began_ns) / SECOND_NS)
            raise
        finally:
            self._reader = None
            reader.close()
