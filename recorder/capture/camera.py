"""A camera as a source: RTSP over TCP through PyAV, packets unchanged, stamped on arrival.

Measured: demuxing and storing one 1080p25 track costs 0.4 CPU-seconds per 30 s, about what ``ffmpeg -c copy`` costs.
"""

from collections.abc import Iterator
from fractions import Fraction

import av

from drivers.camera import credentialed
from drivers.faults import DeviceAbsent, DeviceFault, DeviceRefused, DeviceSilent
from drivers.ports import CameraAddress, CameraDescription, Stream
from recorder.capture.camera_identity import CameraSettings, KnownCamera
from recorder.capture.camera_timeline import CameraTimeline
from recorder.capture.rtsp_login import reach, unknown_digest
from recorder.capture.source import Source
from recorder.clock.instants import SECOND_NS, boottime_ns
from recorder.media.packets import Connected, Format, Jumped, Packet
from recorder.media.parameter_sets import format_at

OPEN_S = 4.0
READ_S = 1.5  # a stream silent for so long is given up: the gap must be noticed within 3 s
REORDERED = 4  # packets among which the earliest picture of a stream with B-frames is
KEY_S = 10  # without a key frame for so long the connection is made anew, upon which cameras send one
# Only the video: with a second stream the demuxer would re-base timestamps at the first RTCP report. No probing for the rate: it
# took a second. Not "nobuffer": that throws away what was read while probing, the first key frame with it.
OPTIONS = {"rtsp_transport": "tcp", "allowed_media_types": "video", "fpsprobesize": "0", "max_delay": "0"}


class _Came:
    """A packet as the demuxer gave it. stamp: in the stream's time base, None where it has none."""

    __slots__ = ("arrival_ns", "data", "key", "stamp")

    def __init__(self, packet: "av.Packet[av.VideoStream]", arrival_ns: int) -> None:
        self.stamp: int | None = packet.pts if packet.pts is not None else packet.dts
        self.key, self.data, self.arrival_ns = bool(packet.is_keyframe), bytes(packet), arrival_ns


class StreamReader:
    """One RTSP connection. ``demux`` yields packets until it fails."""

    def __init__(self, stream: Stream, address: CameraAddress) -> None:
        """Opens and logs in. Raises DeviceAbsent, DeviceRefused, DeviceSilent, DeviceFault."""
        self._name, self._uri = address.name, stream.uri
        url = credentialed(stream.uri, address.user, address.password)
        try:
            reach(stream.uri)
            self.container = av.open(url, options=OPTIONS, timeout=(OPEN_S, READ_S))
        except (av.error.FFmpegError, OSError) as error:
            raise self._fault(error) from None  # the original names the address with its password
        if not self.container.streams.video:
            self.container.close()
            raise DeviceFault(
                "camera-sends-no-video",
                "check-camera-stream-settings",
                name=self._name,
                uri=self._uri,
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
        self._interval = round(1 / (self.format.time_base * Fraction(self.format.fps or 25)))
        self._timeline = CameraTimeline(float(self.format.time_base * SECOND_NS))
        self._opened_ns = boottime_ns()
        self._stamped = 0  # the last timestamp, as the camera gave it

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
                handed_ns = boottime_ns()
                silent = handed_ns - asked_ns >= READ_S * SECOND_NS
                came = _Came(packet, came_ns if came_ns is not None else handed_ns - interval_ns)
                came_ns = handed_ns
                if packet.size == 0:
                    break
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
        except (av.error.FFmpegError, OSError) as error:
            raise self._fault(error) from None
        raise DeviceAbsent("camera-ended-connection", "check-power-and-network-cable", name=self._name)

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

    def _fault(self, error: Exception) -> DeviceFault:
        # Time-outs come as ExitError (the interrupt callback) or TimeoutError; the message may hold the address: never quote it.
        if isinstance(error, av.error.HTTPUnauthorizedError) and (algorithm := unknown_digest(self._uri)):
            return DeviceRefused(
                "camera-login-algorithm-unknown",
                "set-rtsp-login-to-md5",
                name=self._name,
                algorithm=algorithm,
                uri=self._uri,
            )
        if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
            return DeviceRefused(
                "camera-refuses-stream-login",
                "compare-camera-user-and-password",
                name=self._name,
            )
        if isinstance(error, (av.error.ExitError, TimeoutError)):
            return DeviceSilent(
                "camera-frozen",
                "check-cable-switch-restart-camera",
                name=self._name,
                seconds=READ_S,
            )
        if isinstance(error, OSError) and error.errno in (111, 113, 101, 104, 32, 5):
            return DeviceAbsent(
                "camera-does-not-answer",
                "check-power-cable-and-address",
                name=self._name,
                uri=self._uri,
                why=error.strerror,
            )
        return DeviceFault(
            "camera-stream-unusable",
            "check-stream-codec-and-rtsp",
            name=self._name,
            uri=self._uri,
            why=type(error).__name__,
        )


class CameraSource(Source):
    """Describes the camera, connects to its main stream, delivers packets; again after every failure."""

    def __init__(self, settings: CameraSettings) -> None:
        super().__init__(settings.address.name)
        self._settings = settings
        self._camera = KnownCamera(settings)

    @property
    def description_fault(self) -> dict[str, object] | None:
        """What a person should know although the camera may be recorded, Fault.as_dict()."""
        return self._camera.fault

    def attempt(self) -> None:
        """Raises DeviceFault and its kinds."""
        description = self._camera.describe()
        self.beat()
        try:
            reader = StreamReader(description.main, self._settings.address)
            self.beat()
            self._camera.connected()
            self._deliver_from(reader, description)
        except DeviceFault:
            self._camera.failing()
            raise

    def stop(self) -> None:
        """Asks the thread to end, and stops a question that is on its way to the camera."""
        super().stop()
        self._camera.stop()

    def _deliver_from(self, reader: StreamReader, description: CameraDescription) -> None:
        device = {k: v for k, v in description.as_dict().items() if k not in ("main", "sub")}
        announced = False
        try:
            for item in reader.packets():
                if self.stopping:
                    return
                self._camera.stay(description)
                if not announced:
                    self.connected(Connected(reader.format, device))
                    announced = True
                self.deliver(item)
        finally:
            reader.container.close()
