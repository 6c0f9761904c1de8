"""Which encoder the settings ask for."""

import av

from recorder.composite.encoder import EncoderSettings, VideoEncoder
from recorder.composite.software_encoder import SoftwareEncoder


def open_encoder(settings: EncoderSettings, container: av.container.OutputContainer) -> VideoEncoder:
    """The encoder that the settings name. Raises EncoderFault."""
    if settings.kind == "software":
        return SoftwareEncoder(settings, container)
    from recorder.composite.hardware_encoder import ChildEncoder

    return ChildEncoder(settings, container)
