"""From the configuration to the frozen settings of the lower packages; nothing below the agent knows the configuration.

Each function imports what it fills in: the agent's own process never loads the libraries of the data plane.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from agent.config.model import CameraSection, Config
from agent.version import product_version
from drivers.discovery import Target
from drivers.ports import CameraAddress
from recorder.clock.instants import MS_NS
from recorder.session.tracks import MICROPHONE

if TYPE_CHECKING:
    from burner.work.process import BurnerSettings
    from recorder.composite.encoder import EncoderSettings
    from recorder.composite.inputs import VideoInputSettings
    from recorder.composite.settings import ComposerSettings
    from recorder.sensors.climate import ClimateSettings
    from recorder.track.process import TrackSettings


def camera(config: Config, name: str) -> CameraSection:
    """A camera's section by its track's name."""
    return config.camera.overview if name == "overview" else config.camera.closeup


def camera_address(config: Config, name: str) -> CameraAddress:
    """One camera's address with its password. Raises ConfigFault where the password cannot be read."""
    section = camera(config, name)
    return CameraAddress(
        name,
        section.host,
        section.port,
        section.user,
        section.password(name),
        section.rtsp,
        section.rtsp_sub,
        section.allow_basic,
        section.tls_fingerprint,
    )


def camera_address_now(config: Config, name: str) -> CameraAddress:
    """The same where the camera's track found it last. Raises ConfigFault."""
    from recorder.capture.camera_identity import remembered, where

    address = camera_address(config, name)
    host, port = where(address, remembered(config.storage.places.cameras / f"{name}.json"))
    return replace(address, host=host, port=port)


def discovery_target(config: Config) -> Target | None:
    """Where cameras are searched, None: nowhere."""
    host, _, port = config.onvif.discovery.rpartition(":")
    return Target(host, int(port), config.onvif.interface) if host else None


def track_settings(config: Config, name: str) -> "TrackSettings":
    """The settings for the process of one track. Raises ConfigFault where the camera's password cannot be read."""
    from recorder.capture.camera_identity import CameraSettings
    from recorder.capture.microphone import MicrophoneSettings
    from recorder.track.process import TrackSettings

    places, recording = config.storage.places, config.recording
    source: CameraSettings | MicrophoneSettings
    if name == MICROPHONE:
        source = MicrophoneSettings(config.microphone.device, config.microphone.rate_hz, config.microphone.channels)
        latency_ms: float | None = config.microphone.latency_ms
    else:
        size = (config.composite.inset_width, config.composite.inset_height)
        memory = places.cameras / f"{name}.json"
        source = CameraSettings(camera_address(config, name), size, memory, discovery_target(config), places.accepted_cameras)
        latency_ms = camera(config, name).latency_ms
    return TrackSettings(
        name=name,
        root=places.root,
        run=places.run,
        source=source,
        segment_ns=round(recording.segment_s * 1000) * MS_NS,
        preroll_ns=round(recording.preroll_s * 1000) * MS_NS,
        latency_ns=round((latency_ms or 0) * MS_NS),
        version=product_version(),
        calibration=places.calibration if latency_ms is None else None,
    )


def composer_settings(config: Config) -> "ComposerSettings":
    """The settings of the composer. Raises ConfigFault where the inset camera's password cannot be read."""
    from recorder.composite.settings import ComposerSettings

    composite = config.composite
    return ComposerSettings(
        root=config.storage.root,
        run=config.storage.run,
        main=_video_input(config, composite.main, sub=False),
        inset=_video_input(config, composite.inset, sub=True),
        inset_width=composite.inset_width,
        inset_height=composite.inset_height,
        inset_corner=composite.inset_corner,
        encoder=encoder_settings(config),
        delay_ns=composite.delay_ms * MS_NS,
        room=config.room.name,
        zone=config.room.zone,
        language=config.ui.language,
        version=product_version(),
    )


def encoder_settings(config: Config) -> "EncoderSettings":
    """The settings of the composite's encoder."""
    from recorder.composite.encoder import EncoderSettings

    section = config.composite
    return EncoderSettings(
        section.crf,
        section.preset,
        section.audio_kbps,
        section.encoder,
        section.encoder_device,
        threads=section.encoder_threads,
    )


def _video_input(config: Config, name: str, *, sub: bool) -> "VideoInputSettings":
    from recorder.composite.inputs import VideoInputSettings

    places, section = config.storage.places, camera(config, name)
    return VideoInputSettings(
        name=name,
        latency_ns=round((section.latency_ms or 0) * MS_NS),
        calibration=places.calibration if section.latency_ms is None else None,
        sub=camera_address(config, name) if sub else None,
        memory=places.cameras / f"{name}.json" if sub else None,
    )


def climate_settings(config: Config) -> "ClimateSettings":
    """The settings of the climate process."""
    from recorder.sensors.climate import ClimateSettings

    section = config.climate
    return ClimateSettings(
        run=config.storage.run,
        port=section.port,
        model=section.model,
        address=section.address,
        baudrate=section.baudrate,
        temperature_c=config.selfcheck.temperature_c,
        humidity_pct=config.selfcheck.humidity_pct,
        version=product_version(),
    )


def burner_settings(config: Config) -> "BurnerSettings":
    """The settings of the burner worker."""
    from burner.work.process import BurnerSettings

    return BurnerSettings(
        root=config.storage.root,
        run=config.storage.run,
        drives=config.burner.drives,
        language=config.ui.language,
        version=product_version(),
        media_bytes=config.burner.media_mib << 20,
        reserve_bytes=round(config.storage.reserve_gib * (1 << 30)),
    )
