"""The room's configuration: one TOML file, unknown keys are errors, all problems at once, each with its line and a hint.

``config.example.toml`` is rendered from these models' defaults and descriptions (a test compares them).
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from agent.config.places import DEFAULT_CONFIG, DEFAULT_ROOT, DEFAULT_RUN, Places
from agent.config.problems import ConfigFault, Problem, key_lines, problem_of, syntax_problem
from agent.config.sample import render
from drivers.optical import lies_in
from drivers.stream_address import hidden, literal_secret
from recorder.session.tracks import CAMERAS, CameraId
from wording import Fault, Language, Shown, say

DEFAULT_PATH = DEFAULT_CONFIG


class Section(BaseModel):
    """Every section: frozen, unknown keys forbidden."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


def entry(default: Any, description: str, **limits: Any) -> Any:
    """A key with its default and the comment that stands above it in the sample."""
    return Field(default=default, description=description, **limits)


Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class RoomSection(Section):
    """The room and its place."""

    id: Name = entry("room-01", "Identity of the room in file names and MQTT topics: a-z, 0-9 and -, at most 32.")
    name: str = entry("调查询问室一", "The room's name as the overlay and the reports show it.", min_length=1, max_length=40)
    centre: Name = entry("centre-01", "Identity of the case-handling centre in MQTT topics.")
    agency: str = entry("", "The handling agency (承办机构), as the disc and the manifest name it.", max_length=100)
    class_: Literal[1, 2] = Field(default=1, alias="class", description="Class of the centre (W-6.1.4): 1 requires a burner.")
    timezone: str = entry("Asia/Shanghai", "Time zone of official times and the overlay.")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("time-zone-unknown") from None
        return value

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which the room shows and writes its times."""
        return ZoneInfo(self.timezone)


class UiSection(Section):
    """What a person in the room reads."""

    language: Language = entry("zh", "Language of overlay, command line, reports and disc: zh or en.")


def _secret(file: str, variable: str, where: str) -> str:
    """A secret from the environment variable if one is named, else from the first line of the file.

    Raises ConfigFault naming the key where neither gives one.
    """
    if variable:
        if variable in os.environ:
            return os.environ[variable]
        what = "environment-variable-not-set"
        raise ConfigFault([Problem(where + "_env", what, "set-variable-or-use-file", values={"variable": variable})])
    if not file:
        return ""
    try:
        return Path(file).read_text(encoding="utf-8-sig").split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(
            where + "_file",
            "file-unreadable",
            "write-password-into-file",
            values={"file": file, "why": getattr(error, "strerror", None) or "not UTF-8"},
        )
        raise ConfigFault([problem]) from error


class CameraSection(Section):
    """One camera: by ONVIF, or by plain RTSP addresses where rtsp is given."""

    host: str = entry("192.168.1.64", "ONVIF host name or address.")
    port: int = entry(80, "ONVIF port.", ge=1, le=65535)
    user: str = entry("admin", "User of the camera.")
    password_file: str = entry("", "File whose first line is the password.")
    password_env: str = entry("", "Or: environment variable that holds the password.")
    rtsp: str = entry(
        "",
        "Plain RTSP address of the main stream, for a camera without ONVIF; host and port are then unused. "
        "Where the camera wants the login in it: {user} and {password}.",
    )
    rtsp_sub: str = entry("", "Plain RTSP address of the sub-stream, with rtsp only.")
    tls_fingerprint: str = entry(
        "",
        "sha256: and the SHA-256 of the camera's certificate: it is reached by https (its port, 443 mostly) and rtsps alone, "
        "with exactly that certificate. `room-agent devices` and the self-check show it.",
    )
    allow_basic: bool = entry(
        False, "true: the password may be sent in the clear (HTTP and RTSP Basic). Whoever can listen in the network then has it."
    )
    width: int = entry(1920, "Promised picture width of the main stream, pixels.", ge=160, le=7680)
    height: int = entry(1080, "Promised picture height of the main stream, pixels.", ge=120, le=4320)
    fps: float = entry(25.0, "Promised picture rate, 1/s.", gt=0, le=120)
    latency_ms: float | None = entry(
        None,
        "Constant delay from light to arrival, taken off every picture's time, ms; left out: what `room-agent calibrate` found.",
        ge=0,
        le=5000,
        examples=[150.0],
    )

    @field_validator("rtsp", "rtsp_sub")
    @classmethod
    def _rtsp_address(cls, value: str) -> str:
        if value and not value.startswith(("rtsp://", "rtsps://")):
            raise ValueError("must-begin-with-rtsp")
        if "@" in value.split("://", 1)[-1].split("/", 1)[0] or literal_secret(value):
            raise ValueError("must-not-hold-credentials")
        return value

    @field_validator("tls_fingerprint")
    @classmethod
    def _fingerprint(cls, value: str) -> str:
        plain = value.strip().lower().removeprefix("sha256:").replace(":", "")
        if value and not re.fullmatch(r"[0-9a-f]{64}", plain):
            raise ValueError("must-be-sha256-fingerprint")
        return f"sha256:{plain}" if value else ""

    @model_validator(mode="after")
    def _addressed(self) -> Self:
        if not self.rtsp and not self.host:
            raise ValueError("give-host-or-rtsp")
        if self.rtsp_sub and not self.rtsp:
            raise ValueError("rtsp-sub-needs-rtsp")
        return self

    @property
    def place(self) -> str:
        """Where the camera is, for people."""
        return hidden(self.rtsp) or f"{self.host}:{self.port}"

    def password(self, name: str) -> str:
        """The password, "" where none is configured. Raises ConfigFault."""
        return _secret(self.password_file, self.password_env, f"camera.{name}.password")


class CloseupCameraSection(CameraSection):
    """One camera: by ONVIF, or by plain RTSP addresses where rtsp is given."""

    host: str = entry("192.168.1.65", "ONVIF host name or address.")


class CamerasSection(Section):
    """W-6.2.2.4.5: one camera on the whole room, one on the interviewee."""

    overview: CameraSection = Field(default=CameraSection(), description="Camera on the whole room (全域).")
    closeup: CloseupCameraSection = Field(default=CloseupCameraSection(), description="Camera on the interviewee (特写).")

    @model_validator(mode="after")
    def _two_places(self) -> Self:
        if self.overview.place == self.closeup.place:
            raise ValueError("overview-and-closeup-same-camera")
        return self


class OnvifSection(Section):
    """Finding cameras in the room's network by ONVIF (WS-Discovery)."""

    discovery: str = entry(
        "239.255.255.250:3702",
        "Where a camera is searched that is not at its address, host:port; empty: nowhere.",
    )
    interface: str = entry(
        "", "This PC's IPv4 address in the cameras' network; empty: the one from which the camera's host is reached."
    )

    @field_validator("discovery")
    @classmethod
    def _place(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if value and not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError("must-be-host-and-port")
        return value

    @field_validator("interface")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            return str(IPv4Address(value)) if value else ""
        except ValueError:
            raise ValueError("must-be-local-ipv4-address") from None


class MicrophoneSection(Section):
    """The pickup between officer and interviewee (W-6.2.2.4.5)."""

    device: str = entry("default", "PortAudio device name, or the beginning of one; `room-agent devices` lists them.")
    rate_hz: int = entry(48000, "Native sample rate of the device, 1/s.", ge=8000, le=192000)
    channels: int = entry(1, "Channels to record.", ge=1, le=2)
    latency_ms: float = entry(0.0, "Constant delay of the pickup, taken off every sample's time, ms.", ge=0, le=5000)


class ClimateSection(Section):
    """The temperature and humidity sensor of the overlay (W-6.2.2.4.6)."""

    enabled: bool = entry(True, "false where the room has no sensor: the overlay then shows --.-.")
    port: str = entry("/dev/ttyUSB0", "Serial port; better its name below /dev/serial/by-id/.")
    model: Literal["xy-md02", "sht20"] = entry("xy-md02", "Register map of the sensor.")
    address: int = entry(1, "Modbus address.", ge=1, le=247)
    baudrate: int = entry(9600, "Baud rate, 8N1.", ge=1200, le=115200)


class RecordingSection(Section):
    """How the tracks are stored, and what a session needs to start."""

    segment_s: float = entry(10.0, "Length of a segment, cut at the next key frame, s.", ge=2, le=60)
    preroll_s: float = entry(10.0, "Kept in memory before a session, s.", ge=4, le=30)
    planned_minutes: int = entry(120, "Planned length when the start command names none, minutes.", ge=1, le=1440)
    selfcheck_valid_minutes: int = entry(30, "How long a passed self-check lets a session start, minutes.", ge=1, le=1440)


class CompositeSection(Section):
    """How the composer puts the two cameras together and encodes the result."""

    main: CameraId = entry("overview", "Camera of the main picture.")
    inset: CameraId = entry("closeup", "Camera of the inset.")
    inset_width: int = entry(640, "Width of the inset, pixels, even.", ge=160, le=960, multiple_of=2)
    inset_height: int = entry(360, "Height of the inset, pixels, even.", ge=90, le=540, multiple_of=2)
    inset_corner: Corner = entry("bottom-right", "Where the inset stands.")
    encoder: Literal["software", "vaapi", "qsv"] = entry(
        "software", "What encodes: software (x264), or a graphics processor by vaapi or qsv; software again where that fails."
    )
    encoder_device: str = entry("/dev/dri/renderD128", "Render node of the graphics processor.")
    encoder_threads: int = entry(1, "Processors that x264 uses; 2 where the self-check finds the encoder slow.", ge=1, le=4)
    crf: int = entry(27, "Quality, 10 (best) to 40: x264's constant rate factor, a hardware encoder's quantiser.", ge=10, le=40)
    preset: Literal["ultrafast", "superfast", "veryfast", "faster"] = entry("superfast", "x264 preset.")
    delay_ms: int = entry(300, "How long a picture waits for late packets, ms.", ge=100, le=1500)
    audio_kbps: int = entry(96, "AAC bit rate, kbit/s.", ge=32, le=320)

    @field_validator("encoder_device")
    @classmethod
    def _device_path(cls, value: str) -> str:
        if not value.startswith("/"):
            raise ValueError("must-be-absolute-path")
        return value

    @model_validator(mode="after")
    def _two_cameras(self) -> Self:
        if self.main == self.inset:
            raise ValueError("main-and-inset-must-differ")
        return self


class StorageSection(Section):
    """The folders for durable data and for what a reboot may lose."""

    root: Path = entry(DEFAULT_ROOT, "Sessions, keys and everything durable.")
    run: Path = entry(DEFAULT_RUN, "Status files, sockets and locks; a tmpfs.")
    reserve_gib: float = entry(5.0, "Free space that a session's planned length must leave, GiB.", ge=0)

    @field_validator("root", "run")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("must-be-absolute-path")
        return value

    @model_validator(mode="after")
    def _two_folders(self) -> Self:
        if self.root == self.run:
            raise ValueError("root-and-run-must-differ")
        return self

    @property
    def places(self) -> Places:
        """Every path below the two folders."""
        return Places(self.root, self.run)


class TranscriptSection(Section):
    """W-7.3.5: the transcript's times and the recording's must agree."""

    tolerance_s: int = entry(60, "Largest difference that still matches, on top of the transcript's precision, s.", ge=0, le=3600)


class PeopleSection(Section):
    """Who counts as another person (W-7.3.5 c)."""

    second_person: Literal["name", "login"] = entry(
        "name",
        "Who accepts a transcript that does not agree has another name, or another login as well, than those who took part.",
    )


class BurnerSection(Section):
    """Evidence discs (W-7.3.5, W-8.1.4)."""

    drives: tuple[str, ...] = entry(("/dev/sr0", "/dev/sr1"), "Drives, in the order they are used; stdio:/path for a file.")
    copies: int = entry(2, "Discs of each session.", ge=1, le=4)
    media_mib: int = entry(0, "Capacity to plan with where a drive cannot tell it, MiB; 0 asks the drive.", ge=0)

    @field_validator("drives")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("drive-named-twice")
        if not all(drive.startswith("/") or drive.startswith("stdio:/") for drive in value):
            raise ValueError("must-be-drive-path")
        return value


class MqttSection(Section):
    """The broker of the centre, to which the room reports its state."""

    enabled: bool = entry(True, "false: no feed.")
    host: str = entry("localhost", "Broker of the centre.", min_length=1)
    port: int = entry(8883, "Port of the broker.", ge=1, le=65535)
    user: str = entry("", "User of this room at the broker.")
    password_file: str = entry("", "File whose first line is the password.")
    password_env: str = entry("", "Or: environment variable that holds the password.")
    tls: bool = entry(True, "Encrypt (W-6.1.2); false only on a line of its own.")
    ca_file: str = entry("", "The centre's certificate authority, PEM; empty: the system's.")
    keepalive_s: int = entry(5, "Keep-alive, s: how soon the broker notices a dead PC (about twice this).", ge=2, le=60)

    @property
    def in_clear(self) -> bool:
        """Whether a password travels unencrypted."""
        return self.enabled and not self.tls and bool(self.password_file or self.password_env)

    def password(self) -> str:
        """The password, "" where none is configured. Raises ConfigFault."""
        return _secret(self.password_file, self.password_env, "mqtt.password")


class ClockSection(Section):
    """The wall clock behind the official times."""

    ntp_server: str = entry("", "NTP server of the centre, host or host:port; empty: only the kernel is asked.")
    max_offset_s: float = entry(1.0, "Largest offset from that server that self-check, status and feed take as right, s.", gt=0)
    max_camera_offset_s: float = entry(5.0, "Largest camera clock offset that passes the self-check, s.", gt=0)


class SelfcheckSection(Section):
    """Thresholds of the self-check (W-8.1.3, W-6.1.3)."""

    fps_tolerance_pct: float = entry(10.0, "Allowed shortfall of the picture rate, %.", ge=0, le=50)
    keyframe_max_s: float = entry(2.0, "Largest key frame distance, s: 'smart' codecs stretch it to minutes.", gt=0)
    luma_dark: float = entry(30.0, "A picture whose 90th luma percentile (0-255) is below this is dark.", ge=0, le=255)
    luma_bright: float = entry(235.0, "A picture whose 10th luma percentile (0-255) is above this is overexposed.", ge=0, le=255)
    silence_dbfs: float = entry(-65.0, "A microphone whose level stays below this is silent, dBFS.", le=0)
    clipped_pct: float = entry(0.1, "Largest share of samples at full scale, %.", ge=0, le=100)
    temperature_c: tuple[float, float] = entry((-10.0, 50.0), "Plausible temperatures of a room, °C.")
    humidity_pct: tuple[float, float] = entry((5.0, 95.0), "Plausible relative humidities of a room, %.")

    @field_validator("temperature_c", "humidity_pct")
    @classmethod
    def _rising(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError("first-number-must-be-smaller")
        return value


class Config(Section):
    """A configuration file, checked, with the defaults filled in."""

    room: RoomSection = RoomSection()
    ui: UiSection = UiSection()
    camera: CamerasSection = CamerasSection()
    onvif: OnvifSection = OnvifSection()
    microphone: MicrophoneSection = MicrophoneSection()
    climate: ClimateSection = ClimateSection()
    recording: RecordingSection = RecordingSection()
    composite: CompositeSection = CompositeSection()
    storage: StorageSection = StorageSection()
    transcript: TranscriptSection = TranscriptSection()
    people: PeopleSection = PeopleSection()
    burner: BurnerSection = BurnerSection()
    mqtt: MqttSection = MqttSection()
    clock: ClockSection = ClockSection()
    selfcheck: SelfcheckSection = SelfcheckSection()

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """What a room may be set to, and a person should know of."""
        mqtt = self.mqtt
        told = Fault("mqtt-password-in-clear", "switch-mqtt-tls-on", user=mqtt.user or "-", host=mqtt.host, port=mqtt.port)
        return (told,) if mqtt.in_clear else ()


def load(path: Path) -> Config:
    """Reads and checks the file. Raises ConfigFault with every problem."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        problem = Problem(
            "--config",
            "file-unreadable",
            "copy-example-configuration",
            values={"file": path, "why": error.strerror or error},
        )
        raise ConfigFault([problem], path) from error
    except UnicodeDecodeError as error:
        problem = Problem("--config", "file-not-utf8", "save-as-utf8", values={"file": path})
        raise ConfigFault([problem], path) from error
    try:
        return parse(text)
    except ConfigFault as fault:
        raise ConfigFault(fault.problems, path) from fault


def parse(text: str) -> Config:
    """Checks the text of a configuration file. Raises ConfigFault with every problem."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, a list inside 1,000 others
        raise ConfigFault([syntax_problem(error)]) from error
    lines = key_lines(text)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise ConfigFault([problem_of(e, lines, known_keys) for e in error.errors()]) from error
    if problems := [problem for drive in config.burner.drives for problem in _misplaced(drive, config, lines)]:
        raise ConfigFault(problems)
    return config


def _misplaced(drive: str, config: Config, lines: Mapping[str, int]) -> Iterator[Problem]:
    """That a drive's file would lie among the product's own files, where a burn could be taken for evidence."""
    if (folder := lies_in(drive, (config.storage.root, config.storage.run))) is not None:
        values = {"drive": drive, "folder": folder}
        yield Problem("burner.drives", "drive-lies-in-storage", "name-drive-elsewhere", lines.get("burner.drives"), values)


def check_secrets(config: Config, path: Path | None = None) -> None:
    """Reads every configured password once. path: of the file, for the message. Raises ConfigFault with every problem."""
    problems: list[Problem] = []
    cameras = config.camera
    readers: list[Callable[[], str]] = [
        *(partial(getattr(cameras, name).password, name) for name in CAMERAS),
        config.mqtt.password,
    ]
    for read in readers:
        try:
            read()
        except ConfigFault as fault:
            problems += fault.problems
    if problems:
        raise ConfigFault(problems, path)


def known_keys(location: list[str]) -> list[str]:
    """The keys allowed at a dotted location."""
    model: type[BaseModel] = Config
    for part in location:
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return [f.alias or name for name, f in model.model_fields.items()]


def render_sample() -> str:
    """The text of config.example.toml: every key with its default, its meaning above it."""
    return render(Config())


def describe(config: Config, language: Language) -> Shown:
    """What check-config says of a good configuration."""
    return say(
        "configuration-good",
        language,
        room=config.room.id,
        name=config.room.name,
        overview=config.camera.overview.place,
        closeup=config.camera.closeup.place,
        root=config.storage.root,
    )
