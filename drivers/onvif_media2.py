"""ONVIF Media2, by which cameras describe H.265: the profiles, and where their streams are.

The SOAP library's package has no description of this service, so the two calls are written here. Source: ONVIF Media2 Service
Specification, 5.2.1 (GetProfiles), 5.2.4 (GetStreamUri).
"""

from collections.abc import Callable
from typing import Any

from lxml import etree

NAMESPACE = "http://www.onvif.org/ver20/media/wsdl"
SCHEMA = "http://www.onvif.org/ver10/schema"
SOAP = "http://www.w3.org/2003/05/soap-envelope"
NAMES = {"tr2": NAMESPACE, "tt": SCHEMA, "env": SOAP}
OVER_TCP = "RTSP"  # RTP interleaved in the RTSP connection

Post = Callable[[Any, str], bytes]  # an envelope and its action to the answer's body


def profiles(post: Post) -> list[dict[str, str]]:
    """Each profile with a video encoder: token, encoding, width, height, fps, kbps, source; "" for what is not told.

    Raises what post raises, ValueError where the answer is a fault or none.
    """
    answer = _call(post, "GetProfiles", Type=("VideoSource", "VideoEncoder"))
    found = []
    for one in answer.findall("tr2:Profiles", NAMES):
        encoder = one.find("tr2:Configurations/tr2:VideoEncoder", NAMES)
        if encoder is not None:
            found.append(
                {
                    "token": one.get("token", ""),
                    "encoding": encoder.findtext("tt:Encoding", "", NAMES),
                    "width": encoder.findtext("tt:Resolution/tt:Width", "", NAMES),
                    "height": encoder.findtext("tt:Resolution/tt:Height", "", NAMES),
                    "fps": encoder.findtext("tt:RateControl/tt:FrameRateLimit", "", NAMES),
                    "kbps": encoder.findtext("tt:RateControl/tt:BitrateLimit", "", NAMES),
                    "source": one.findtext("tr2:Configurations/tr2:VideoSource/tt:SourceToken", "", NAMES),
                }
            )
    return found


def stream_uri(post: Post, token: str) -> str:
    """The RTSP address of a profile's stream over TCP. Raises as profiles does."""
    return str(_call(post, "GetStreamUri", Protocol=OVER_TCP, ProfileToken=token).findtext("tr2:Uri", "", NAMES)).strip()


def _call(post: Post, operation: str, **arguments: str | tuple[str, ...]) -> Any:
    """The answer's element. An argument of several values is an element each."""
    envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"env": SOAP})
    etree.SubElement(envelope, f"{{{SOAP}}}Header")
    request = etree.SubElement(etree.SubElement(envelope, f"{{{SOAP}}}Body"), f"{{{NAMESPACE}}}{operation}")
    for name, values in arguments.items():
        for value in (values,) if isinstance(values, str) else values:
            etree.SubElement(request, f"{{{NAMESPACE}}}{name}").text = value
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    root = etree.fromstring(post(envelope, f"{NAMESPACE}/{operation}"), parser)
    found = root.find(f"env:Body/tr2:{operation}Response", NAMES)
    if found is None:
        raise ValueError("no Media2 answer")
    return found
