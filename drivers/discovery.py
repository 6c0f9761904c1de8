"""WS-Discovery of cameras: one probe by UDP multicast, and the answers of those who hear it.

Everything that comes back was sent by somebody unknown. Only answers to our own probe are read; a document type is refused, as
SOAP demands; sizes and numbers are bounded; and a device is looked for where its answer came from, whatever addresses it names:
cameras name inner ones, and nobody sends us, with the camera's password, to a third place.

Sources: OASIS WS-Discovery (April 2005), 4.2 and 5; ONVIF Core Specification, 7.3 (types, scopes); SOAP 1.2 Part 1, 5 (no DTD).
"""

import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from urllib.parse import unquote, urlsplit
from uuid import uuid4
from xml.etree import ElementTree as ET  # ElementTree reads no outer entities; a document type is refused before it

from drivers.faults import DeviceFault
from wording.border import Given, given_or_nothing

LISTEN_S = 1.5  # a device answers within 0.5 s (APP_MAX_DELAY), then the network
REPEAT_S = 0.2  # UDP may lose the probe: it is sent twice (MULTICAST_UDP_REPEAT)
MAX_DEVICES = 200
MAX_MATCHES = 4  # in one datagram: a device speaks for itself
MAX_TEXT = 4096
USUAL_PORTS = {"http": 80, "https": 443}
SOAP = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
DISCOVERY = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
NETWORK = "http://www.onvif.org/ver10/network/wsdl"
SCOPE = re.compile(r"onvif://www\.onvif\.org/(\w+)/(.+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """Where probes go. interface: this PC's IPv4 address on the cameras' network, "": the system chooses."""

    host: str = "239.255.255.250"
    port: int = 3702
    interface: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One device. endpoint: its lasting identity (urn:uuid:…), "" where it gives none; host and port: of its ONVIF service.

    tls: it is reached there by https, and names no address with http.
    """

    endpoint: str
    host: str
    port: int
    scopes: tuple[str, ...] = ()
    tls: bool = False

    @property
    def place(self) -> str:
        """The camera's address as ``host:port``."""
        return f"{self.host}:{self.port}"

    def scope(self, kind: str) -> str:
        """The device's first scope of the kind ("name", "hardware", "location"), "" where it has none."""
        found = (SCOPE.fullmatch(scope) for scope in self.scopes)
        return next((unquote(match[2]) for match in found if match and match[1].lower() == kind), "")


def interface_towards(host: str, port: int) -> str:
    """This PC's IPv4 address from which the host is reached, "" where it is not known. Nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
            route.connect((host, port))
            return str(route.getsockname()[0])
    except (OSError, UnicodeError):
        return ""


def probe(
    target: Target, *, listen_s: float = LISTEN_S, enough: Callable[[Answer], bool] = lambda _: False
) -> tuple[Answer, ...]:
    """Every camera that answers within listen_s, each once; earlier as soon as one of them is enough. Raises DeviceFault."""
    message = uuid4().hex
    found: dict[tuple[str, str, int], Answer] = {}
    try:
        with _open(target) as line:
            for datagram, sender in _heard(line, target, probe_message(message), listen_s):
                for answer in read_answers(datagram, sender, message):
                    found.setdefault((answer.endpoint, answer.host, answer.port), answer)
                    if enough(answer) or len(found) >= MAX_DEVICES:
                        return tuple(found.values())
    except (OSError, UnicodeError) as error:
        raise DeviceFault(
            "camera-discovery-failed",
            "check-discovery-settings-and-network-cable",
            host=target.host,
            port=target.port,
            why=getattr(error, "strerror", None) or error,
        ) from error
    return tuple(found.values())


def _heard(line: socket.socket, target: Target, question: bytes, listen_s: float) -> Iterator[tuple[bytes, str]]:
    """Asks, and gives each datagram with its sender's address until listen_s have passed."""
    now = time.monotonic()
    end, sends = now + listen_s, [now, now + REPEAT_S]
    while now < end:
        if sends and now >= sends[0]:
            line.sendto(question, (target.host, target.port))
            sends.pop(0)
        line.settimeout(max(0.001, min([end, *sends]) - now))
        try:
            datagram, sender = line.recvfrom(65536)
            yield datagram, sender[0]
        except (TimeoutError, ConnectionRefusedError):  # refused: where the probe goes to one host, nobody listens there
            pass
        now = time.monotonic()


def _open(target: Target) -> socket.socket:
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        line.bind((target.interface, 0))
        line.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)  # never beyond the cameras' network
        if target.interface:
            line.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(target.interface))
    except BaseException:
        line.close()
        raise
    return line


def probe_message(message: str) -> bytes:
    """A Probe for video transmitters. message: 32 hexadecimal digits that its answers repeat."""
    names = f'xmlns:e="{SOAP}" xmlns:a="{ADDRESSING}" xmlns:d="{DISCOVERY}" xmlns:dn="{NETWORK}"'
    header = f"<a:MessageID>urn:uuid:{_dashed(message)}</a:MessageID><a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To>"
    header += f"<a:Action>{DISCOVERY}/Probe</a:Action>"
    body = "<d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe>"
    inner = f"<e:Header>{header}</e:Header><e:Body>{body}</e:Body>"
    return f'<?xml version="1.0" encoding="UTF-8"?><e:Envelope {names}>{inner}</e:Envelope>'.encode()


def _dashed(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def read_answers(datagram: bytes, sender: str, message: str) -> tuple[Answer, ...]:
    """The devices in one datagram; none where it is no answer to our message, or nothing that can be used."""
    try:
        text = datagram.decode("utf-8-sig")
        if "<!DOCTYPE" in text:
            return ()
        root = ET.fromstring(text)  # noqa: S314  # 64 KiB at most, no document type
        IPv4Address(sender)
    except (UnicodeDecodeError, ET.ParseError, ValueError):
        return ()
    relates = root.findtext(f"{{{SOAP}}}Header/{{{ADDRESSING}}}RelatesTo", "")
    if re.sub(r"[^0-9a-f]", "", relates.strip().lower().removeprefix("urn:").removeprefix("uuid:")) != message:
        return ()
    body = root.find(f"{{{SOAP}}}Body")
    within = [] if body is None else [body, *_named(body, "ProbeMatches")]  # some cameras leave that element out
    matches = [match for each in within for match in _named(each, "ProbeMatch")][:MAX_MATCHES]
    return tuple(answer for match in matches for answer in _answers(match, sender))


def _named(element: ET.Element, name: str) -> list[ET.Element]:
    """The children of this name, in whatever namespace: cameras mix them up."""
    return [each for each in element if isinstance(each.tag, str) and each.tag.rpartition("}")[2] == name]


def _answers(match: ET.Element, sender: str) -> list[Answer]:
    def text(name: str, within: ET.Element = match) -> Given:
        found = next(iter(_named(within, name)), None)
        return given_or_nothing((found.text or "") if found is not None else "", most=MAX_TEXT)

    reference = next(iter(_named(match, "EndpointReference")), match)
    endpoint = text("Address", reference).strip().lower()
    scopes = tuple(text("Scopes").split())
    named = text("XAddrs").split()
    ports = list(dict.fromkeys(port for uri in named if (port := _port(uri)) is not None))
    plain = [each for each in ports if not each[1]]
    return [Answer(endpoint, sender, port, scopes, tls) for port, tls in (plain or ports)[:2]]


def _port(uri: str) -> tuple[int, bool] | None:
    """The port of an address, and whether it is https; None where it is neither http nor https."""
    try:
        parts = urlsplit(uri)
        usual = USUAL_PORTS.get(parts.scheme)
        return (parts.port or usual, parts.scheme == "https") if usual and parts.hostname else None
    except ValueError:
        return None
