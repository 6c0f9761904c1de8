"""What the composer has to know of the configuration."""

import logging
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from recorder.composite.encoder import EncoderSettings
from recorder.composite.inputs import VideoInputSettings
from recorder.composite.picture import (
    Corner,
)
from wording import Language

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ComposerSettings:
    """The composite: which camera stands where, how it is encoded, what the overlay calls the room."""

    root: Path
    run: Path
    main: VideoInputSettings
    inset: VideoInputSettings
    inset_width: int
    inset_height: int
    inset_corner: Corner
    encoder: EncoderSettings
    delay_ns: int
    room: str
    zone: tzinfo
    language: Language
    version: str
