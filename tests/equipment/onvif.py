"""A camera's ONVIF service: SOAP over HTTP with WS-UsernameToken, a snapshot with HTTP digest, WS-Discovery where asked for.

As on real cameras, GetSystemDateAndTime, GetCapabilities, GetServices, GetScopes, GetHostname and GetEndpointReference need no
password (access class PRE_AUTH of the ONVIF core specification); everything else needs a token whose digest is right, whose nonce
is new and whose time lies within ``FRESH_S`` of the *camera's* clock. Runs in threads of this process.
"""

import base64
import hashlib
import hmac
import re
import secrets
import select
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5
from xml.etree import ElementTree as ET

from tests.equipment import onvif_messages as messages
from tests.equipment.onvif_messages import DEVICE, MEDIA, SOAP, WSSE, WSU, Osd, Profile
from tests.equipment.process import HOST

FRESH_S = 10.0
PRE_AUTH = {"GetSystemDateAndTime", "GetCapabilities", "GetServices", "GetScopes", "GetHostname", "GetEndpointReference"}
REALM = "camera"
GROUP = "239.255.255.250"  # of WS-Discovery


@dataclass(frozen=True, slots=True)
class OnvifFaults:
    """What is wrong with the service.

    clock_offset_s: the camera's clock minus the true one. delay_s: before each answer. silent: takes a request and never answers.
    address: the host that the camera believes to have, written into all addresses. deaf_osd: SetOSD succeeds and changes nothing.
    """

    clock_offset_s: float = 0.0
    delay_s: float = 0.0
    silent: bool = False
    address: str = ""
    deaf_osd: bool = False


class Refusal(Exception):
    """A SOAP fault with its ONVIF subcode."""


class OnvifService:
    """The service of one camera. start binds the port (0: any), stop closes it and every connection; start brings it back."""

    def __init__(  # noqa: PLR0917  # what a camera is made of
        self, name: str, profiles: tuple[Profile, ...], rtsp_port: int, user: str, password: str, jpeg: bytes, port: int = 0
    ) -> None:
        self.name = name
        self.host = HOST  # where it listens
        self.reached = HOST  # where clients reach it: a relay may stand between the two, on the same port
        self.port = port
        self.user, self.password = user, password
        self.serial = f"LO2-{name}"
        self.firmware = "1.0.4"
        self.mac_told: str | None = None  # in place of its own
        self.key_frames_wanted = 0  # SetSynchronizationPoint of the main profile
        self.faults = OnvifFaults()
        self.osds: list[Osd] = []
        self._profiles = {profile.token: profile for profile in profiles}
        self._rtsp_port = rtsp_port
        self._jpeg = jpeg
        self._nonces: set[str] = set()
        self._http_nonce = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._server: _Server | None = None

    def start(self) -> None:
        """Listens. Raises OSError where the port is taken."""
        self._wake = threading.Event()
        self._server = _Server((self.host, self.port), self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name=f"onvif-{self.name}", daemon=True).start()

    def stop(self) -> None:
        """Refuses connections and drops those that stand."""
        server, self._server = self._server, None
        if server:
            self._wake.set()
            server.shutdown()
            server.server_close()
            server.drop()

    def set(self, **changes: Any) -> None:
        """Switches faults; a request that waits because of the old ones is let go without an answer."""
        self.faults = replace(self.faults, **changes)
        self._wake.set()
        self._wake = threading.Event()

    def hold(self) -> bool:
        """Waits as the faults say. False where the request gets no answer."""
        wake, faults = self._wake, self.faults
        if faults.silent:
            wake.wait()
            return False
        return not (faults.delay_s and wake.wait(faults.delay_s))

    @property
    def base(self) -> str:
        """What the camera calls itself."""
        return f"http://{self.faults.address or self.reached}:{self.port}"

    @property
    def running(self) -> bool:
        return self._server is not None

    @property
    def endpoint(self) -> str:
        """The device's identity in WS-Discovery; it stays the same at every address."""
        return f"urn:uuid:{uuid5(NAMESPACE_URL, self.serial)}"

    @property
    def mac(self) -> str:
        if self.mac_told is not None:
            return self.mac_told
        digits = self.endpoint[-12:]
        return ":".join(("02", *(digits[n : n + 2] for n in range(2, 12, 2))))

    def now(self) -> datetime:
        """The camera's clock, UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.faults.clock_offset_s)

    def answer(self, request: bytes) -> bytes:
        """The answer to a SOAP request. Raises Refusal(subcode, reason)."""
        try:
            root = ET.fromstring(request)
        except ET.ParseError as error:
            raise Refusal("WellFormed", f"Not well-formed: {error}") from error
        body = root.find(f"{{{SOAP}}}Body")
        if body is None or not len(body):
            raise Refusal("WellFormed", "No body")
        namespace, _, operation = body[0].tag[1:].partition("}")
        if operation not in PRE_AUTH:
            self._authorise(root.find(f"{{{SOAP}}}Header/{{{WSSE}}}Security/{{{WSSE}}}UsernameToken"))
        return messages.envelope(self._body(namespace, operation, body[0]))

    def _authorise(self, token: ET.Element | None) -> None:
        refused = Refusal("NotAuthorized", "Sender not authorized")
        if token is None:
            raise refused
        user, digest = token.findtext(f"{{{WSSE}}}Username", ""), token.findtext(f"{{{WSSE}}}Password", "")
        nonce, created = token.findtext(f"{{{WSSE}}}Nonce", ""), token.findtext(f"{{{WSU}}}Created", "")
        password = token.find(f"{{{WSSE}}}Password")
        if password is None or not password.get("Type", "").endswith("#PasswordDigest"):
            raise refused
        try:
            raw, moment = base64.b64decode(nonce, validate=True), datetime.fromisoformat(created)
        except ValueError:
            raise refused from None
        expected = base64.b64encode(hashlib.sha1(raw + created.encode() + self.password.encode()).digest()).decode()
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        with self._lock:
            fresh = abs((moment - self.now()).total_seconds()) <= FRESH_S and nonce not in self._nonces
            self._nonces.add(nonce)
        if not (fresh and user == self.user and hmac.compare_digest(digest, expected)):
            raise refused

    def _body(self, namespace: str, operation: str, request: ET.Element) -> str:
        if namespace == DEVICE:
            match operation:
                case "GetSystemDateAndTime":
                    return messages.system_date_and_time(self.now())
                case "GetDeviceInformation":
                    return messages.device_information(self.name, self.serial, self.firmware)
                case "GetEndpointReference":
                    return messages.endpoint_reference(self.endpoint)
                case "GetNetworkInterfaces":
                    return messages.network_interfaces(self.mac)
                case "GetCapabilities":
                    return messages.capabilities(self.base)
                case "GetServices":
                    return messages.services(self.base)
                case "GetScopes":
                    return messages.scopes(self.name)
        if namespace == MEDIA:
            return self._media(operation, request)
        raise Refusal("ActionNotSupported", f"{operation} is not implemented")

    def _media(self, operation: str, request: ET.Element) -> str:
        main = self._profiles["main"]
        match operation:
            case "GetProfiles":
                return messages.profiles(tuple(self._profiles.values()))
            case "GetProfile":
                return messages.one_profile(self._profile(request), main)
            case "GetStreamUri":
                uri = f"rtsp://{self.faults.address or self.reached}:{self._rtsp_port}/{self._profile(request).token}"
                return messages.media_uri(operation, uri)
            case "GetSnapshotUri":
                self._profile(request)
                return messages.media_uri(operation, f"{self.base}/snapshot.jpg")
            case "SetSynchronizationPoint":
                self.key_frames_wanted += self._profile(request) is main
                return "<trt:SetSynchronizationPointResponse/>"
            case "GetOSDs":
                return messages.osds(self.osds)
            case "CreateOSD":
                osd = replace(messages.read_osd(request), token=f"osd-{len(self.osds) + 1}")
                self.osds.append(osd)
                return f"<trt:CreateOSDResponse><trt:OSDToken>{osd.token}</trt:OSDToken></trt:CreateOSDResponse>"
            case "SetOSD":
                wanted = messages.read_osd(request)
                if wanted.token not in [osd.token for osd in self.osds]:
                    raise Refusal("NoConfig", f"No OSD {wanted.token}")
                if not self.faults.deaf_osd:
                    self.osds = [wanted if osd.token == wanted.token else osd for osd in self.osds]
                return "<trt:SetOSDResponse/>"
        raise Refusal("ActionNotSupported", f"{operation} is not implemented")

    def _profile(self, request: ET.Element) -> Profile:
        token = request.findtext(f"{{{MEDIA}}}ProfileToken", "")
        if token not in self._profiles:
            raise Refusal("NoProfile", f"No profile {token}")
        return self._profiles[token]

    def snapshot(self, authorization: str) -> bytes | None:
        """The snapshot, None where the HTTP digest (RFC 7616, MD5) is missing or wrong."""
        given = {key: quoted or plain for key, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', authorization)}
        if (
            not authorization.startswith("Digest ")
            or given.get("nonce") != self._http_nonce
            or given.get("username") != self.user
        ):
            return None
        secret = _md5(f"{self.user}:{REALM}:{self.password}")
        action = _md5(f"GET:{given.get('uri')}")
        counted = ":".join(given.get(key, "") for key in ("nonce", "nc", "cnonce", "qop"))
        return self._jpeg if hmac.compare_digest(_md5(f"{secret}:{counted}:{action}"), given.get("response", "")) else None

    @property
    def challenge(self) -> str:
        return f'Digest realm="{REALM}", nonce="{self._http_nonce}", qop="auth", algorithm=MD5'


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


class _Server(ThreadingHTTPServer):
    """Knows its connections, so that they can be dropped."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], service: OnvifService) -> None:
        self.service = service
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""

    def drop(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):  # ended by itself
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _reply(self, status: HTTPStatus, kind: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        service = self.server.service
        request = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not service.hold():
            self.close_connection = True
            return
        try:
            status, body = HTTPStatus.OK, service.answer(request)
        except Refusal as refusal:
            status, body = HTTPStatus.BAD_REQUEST, messages.fault(*refusal.args)
        self._reply(status, "application/soap+xml; charset=utf-8", body)

    def do_GET(self) -> None:
        service = self.server.service
        if not service.hold():
            self.close_connection = True
        elif urlsplit(self.path).path != "/snapshot.jpg":
            self._reply(HTTPStatus.NOT_FOUND, "text/plain", b"not found")
        elif (jpeg := service.snapshot(self.headers.get("Authorization", ""))) is None:
            self._reply(HTTPStatus.UNAUTHORIZED, "text/plain", b"unauthorized", WWW_Authenticate=service.challenge)
        else:
            self._reply(HTTPStatus.OK, "image/jpeg", jpeg)


class Discovery:
    """Answers WS-Discovery probes for a camera: those sent to a loopback port of its own, and with group_port those to the
    multicast group on the loopback interface. Answers come from the camera's address; one that is off or silent gives none.
    Nothing is sent or heard beyond loopback."""

    def __init__(self, service: OnvifService, port: int = 0, group_port: int = 0) -> None:
        self._service = service
        self._lines = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
        self._lines[0].bind((HOST, port))
        self.port: int = self._lines[0].getsockname()[1]
        if group_port:
            line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # every camera of a room listens there
            line.bind((GROUP, group_port))
            membership = socket.inet_aton(GROUP) + socket.inet_aton(HOST)
            line.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            self._lines.append(line)
        self._thread = threading.Thread(target=self._serve, name=f"discovery-{service.name}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            for line in select.select(self._lines, [], [])[0]:
                request, sender = line.recvfrom(65536)
                if not request:
                    return
                self._hear(request, sender)

    def _hear(self, request: bytes, sender: tuple[str, int]) -> None:
        service = self._service
        found = re.search(rb"<[^>]*MessageID[^>]*>\s*([^<\s]+)", request)
        if found and b"Probe" in request and service.running and not service.faults.silent:
            address = f"{service.base}/onvif/device_service"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
                line.bind((service.reached, 0))
                line.sendto(messages.probe_match(found.group(1).decode(), service.endpoint, service.name, address), sender)

    def stop(self) -> None:
        """Ends the responder."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (HOST, self.port))
        self._thread.join(2)
        for line in self._lines:
            line.close()
