"""The stand-in broker: a private mosquitto on loopback with passwords, an access list and TLS, as a centre runs it."""

import getpass
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.equipment.process import HOST, Child, answers, free_port, wait_for

ROOT = "interview-room/v1"
MOSQUITTO = "/usr/sbin/mosquitto"


def access_list(centre: str, room: str, room_user: str, command_user: str) -> str:
    """A room writes its own tree and reads its guidance and probes; the command room reads everything and writes guidance."""
    tree = f"{ROOT}/{centre}/{room}"
    return (
        f"user {room_user}\ntopic write {tree}/#\ntopic read {tree}/guidance\ntopic read {tree}/probe/+\n\n"
        f"user {command_user}\ntopic read {ROOT}/#\ntopic write {ROOT}/+/+/guidance\n"
    )


class StandInBroker:
    """A broker whose CA is made at the start; ``ca_file`` is None without TLS."""

    FAULTS = ("back", "gone", "frozen")

    def __init__(
        self,
        folder: Path,
        log: Path,
        passwords: dict[str, str],
        *,
        centre: str,
        room: str,
        command_user: str = "command-room",
        tls: bool = True,
    ) -> None:
        """passwords: of the room's user and of command_user, by name."""
        self.host = HOST
        self.port = free_port()
        self.passwords = passwords
        self.command_user = command_user
        self.room_user = next(user for user in passwords if user != command_user)
        self.ca_file = folder / "ca.pem" if tls else None
        self._folder, self._log = folder, log
        self._acl = access_list(centre, room, self.room_user, command_user)
        self._child: Child | None = None

    @property
    def pids(self) -> list[int]:
        return [self._child.pid] if self._child else []

    def start(self) -> None:
        """Writes what the broker needs, once, and runs it. Raises EquipmentError."""
        if not self._folder.exists():
            self._prepare()
        if self._child is None:
            child = self._child = Child("mosquitto", [MOSQUITTO, "-c", self._folder / "mosquitto.conf"], self._log)
            wait_for(lambda: answers(self.port), "the broker's port", alive=child)

    def _prepare(self) -> None:
        (self._folder / "data").mkdir(parents=True)
        for user, password in self.passwords.items():
            create: list[str] = [] if (self._folder / "passwords").exists() else ["-c"]
            command = ["mosquitto_passwd", "-b", *create, str(self._folder / "passwords"), user, password]
            subprocess.run(command, check=True, timeout=10, capture_output=True)
        (self._folder / "acl").write_text(self._acl, encoding="utf-8")
        lines = [f"listener {self.port} {HOST}", "allow_anonymous false", f"user {getpass.getuser()}"]
        lines += [f"password_file {self._folder / 'passwords'}", f"acl_file {self._folder / 'acl'}"]
        lines += [
            "persistence true",
            f"persistence_location {self._folder / 'data'}/",
            "log_type error",
            "log_type warning",
            "log_dest stderr",
        ]
        if self.ca_file:
            _make_certificates(self._folder)
            lines += [f"certfile {self._folder / 'server.pem'}", f"keyfile {self._folder / 'server.key'}"]
        (self._folder / "mosquitto.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for name in ("passwords", "acl"):
            (self._folder / name).chmod(0o600)

    def stop(self) -> None:
        """Ends it in good order: retained messages are kept for the next start."""
        child, self._child = self._child, None
        if child:
            child.end()

    # faults

    def back(self) -> None:
        """Runs again, with what it had retained."""
        if self._child:
            self._child.signal(signal.SIGCONT)
        self.start()

    def gone(self) -> None:
        """An outage: stopped in good order, refuses connections."""
        self.stop()

    def frozen(self) -> None:
        """Keeps connections and answers nothing."""
        if self._child:
            self._child.signal(signal.SIGSTOP)


def _make_certificates(folder: Path) -> None:
    """ca.pem, server.pem, server.key for the loopback address."""
    now = datetime.now(UTC)

    def name(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])

    def build(
        subject: str, key: ec.EllipticCurvePublicKey, *extensions: tuple[x509.ExtensionType, bool]
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(name("Stand-in centre CA"), name(subject), key, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder

    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    key_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = build(
        "Stand-in centre CA",
        ca_key.public_key(),
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), True),
        (key_id, False),
    ).sign(ca_key, hashes.SHA256())
    server = build(
        "localhost",
        server_key.public_key(),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address(HOST))]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), False),
    ).sign(ca_key, hashes.SHA256())
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    private = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.key").write_bytes(private)
