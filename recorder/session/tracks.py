"""The room's tracks: their ids, which every file and message uses, and what a person calls them. No other module lists them."""

from typing import Literal, get_args

from wording.sentence import Sentence

CameraId = Literal["overview", "closeup"]
TrackId = Literal["overview", "closeup", "microphone"]

CAMERAS: tuple[CameraId, ...] = get_args(CameraId)
MICROPHONE: TrackId = "microphone"
TRACKS: tuple[TrackId, ...] = get_args(TrackId)
COMPOSITE = "composite"
MADE_LATER = "made-later"  # what was composed after the seal, as a track of the disc

# Codes of the names for people. NAMES: of what is recorded; DEVICES: of the device that it comes from.
NAMES = {
    "overview": "overview-track",
    "closeup": "closeup-track",
    MICROPHONE: "microphone-track",
    COMPOSITE: "composite-track",
    MADE_LATER: "composite-made-from-originals",
}
DEVICES = {"overview": "overview-camera", "closeup": "close-up-camera", MICROPHONE: "microphone"}
DELIVERS_NOTHING = {
    "overview": "overview-camera-delivers-nothing",
    "closeup": "close-up-camera-delivers-nothing",
    MICROPHONE: "microphone-delivers-nothing",
}


def track_name(track: str) -> Sentence:
    """The name of a track or of the composite for a person; an unknown id is shown as it is."""
    return Sentence(NAMES.get(track, track))
