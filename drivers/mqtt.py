"""One MQTT 5 connection to the broker, from opening to its end: the only module that imports paho.

A Link belongs to one thread, which calls everything here and so runs paho's callbacks too: nothing can die unseen in a thread of
paho's. It is one attempt: any failure raises FeedFault, and whoever opened it decides when to try again with a new one.

What the broker sends is bounded by ``drivers.mqtt_guard``. A message whose topic is no text is ignored and counted: a fault would
make the broker send it again at the next connection.
"""

import logging
import selectors
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, cast

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from drivers.mqtt_guard import Guard, GuardedSocket, GuardingContext
from wording import Exit, Fault

log = logging.getLogger(__name__)

P = ParamSpec("P")
REFUSED = 0x80  # a reason code from here on is a failure (MQTT 5, 2.4)
UNSUPPORTED_VERSION, BAD_USER, NOT_AUTHORISED, TAKEN_OVER, TOO_LARGE = 132, 134, 135, 142, 149
AROUND = 48  # bytes of a PUBLISH beside topic and payload, at most: fixed header, lengths, packet id, our three properties
LARGEST = 64 * 1024  # bytes of a packet that a room takes: a guidance text of 2,000 characters is 24,000 in JSON at most
# What paho's reading of a packet runs into where the packet is none, beyond what it catches itself.
UNREADABLE = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError, MQTTException)
IN_FLIGHT = 10  # messages without acknowledgement at most; every broker takes so many


class FeedFault(Fault):
    """The broker cannot be reached, is not trusted, refuses, or was lost."""

    exit_code = Exit.DEVICE


def defect(error: Exception) -> FeedFault:
    """An error that nobody foresaw."""
    return FeedFault("mqtt-feed-internal-fault", "mqtt-feed-restarts-report-log", why=repr(error))


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how to log in. ca_file: PEM of the centre's authority, "" for the system's."""

    host: str
    port: int
    user: str = ""
    password: str = ""
    tls: bool = True
    ca_file: str = ""
    keepalive_s: int = 5

    def __repr__(self) -> str:
        return f"Broker({self.host}:{self.port}, user={self.user!r}, password=***, tls={self.tls}, ca_file={self.ca_file!r})"


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when the connection breaks off."""

    topic: str
    payload: bytes
    retained: bool = True


@dataclass(frozen=True, slots=True)
class MqttMessage:
    """One received message. retained: an old one, kept by the broker, given at the subscription."""

    topic: str
    payload: bytes
    qos: int
    retained: bool


class Waker(Protocol):
    """Anything with a file descriptor that becomes readable to end a wait early."""

    def fileno(self) -> int: ...


def _guarded(callback: "Callable[Concatenate[Link, P], None]") -> "Callable[Concatenate[Link, P], None]":
    """A callback must never raise into paho; the fault is kept and raised by the poll that ran it."""

    @wraps(callback)
    def guard(self: "Link", /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(self, *args, **kwargs)
        except Exception as error:  # the top of a callback
            log.exception("a callback of the feed failed")
            self._failed = self._failed or defect(error)

    return guard


class Link:
    """One connection. on_message and on_ack are called from within ``open`` and ``poll`` only.

    on_ack(mid, reason): the broker's answer to a publish; a reason from 128 on is a refusal.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        *,
        will: Will | None = None,
        session_expiry_s: int = 0,
        largest: int = LARGEST,
        on_message: Callable[[MqttMessage], None] | None = None,
    ) -> None:
        """largest: bytes of a packet that the broker may send; one that sends more is cut off before anything is kept of it."""
        self.broker = broker
        self.client_id = client_id
        self.window = IN_FLIGHT
        self.session_present = False
        self.subscribed = False
        self.read_refused: FeedFault | None = None
        self.ignored = 0  # messages whose topic is no text
        self._guard = Guard(largest)
        self._most = largest
        self._session_expiry_s = session_expiry_s
        self.on_ack: Callable[[int, int], None] | None = None
        self._user_message = on_message
        self._accepted = False
        self._largest: int | None = None  # bytes of a packet that the broker takes
        self._failed: Fault | None = None
        client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish, client.on_message, client.on_subscribe = self._on_publish, self._on_message, self._on_subscribe
        client.max_inflight_messages_set(0)  # the caller keeps to `window`
        client.max_queued_messages_set(4 * IN_FLIGHT)
        if broker.user:
            client.username_pw_set(broker.user, broker.password)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retained)
        self._client = client

    def open(self, timeout_s: float = 3.0) -> None:
        """Connects and waits for the broker's answer. Raises FeedFault."""
        broker, client = self.broker, self._client
        context = GuardingContext(tls_context(broker.ca_file) if broker.tls else None, lambda: self._guard)
        client.tls_set_context(cast(ssl.SSLContext, context))
        client.connect_timeout = timeout_s
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._session_expiry_s
        properties.MaximumPacketSize = self._most
        try:
            client.connect(
                broker.host, broker.port, broker.keepalive_s, clean_start=self._session_expiry_s == 0, properties=properties
            )
        except ssl.SSLError as error:
            raise FeedFault(
                "mqtt-broker-not-trusted",
                "check-mqtt-ca-file-and-clock",
                host=broker.host,
                port=broker.port,
                why=getattr(error, "verify_message", "") or error.reason or error,
            ) from error
        except (OSError, ValueError) as error:
            raise self._silent(getattr(error, "strerror", None) or error) from error
        deadline = time.monotonic() + timeout_s
        while not self._accepted:
            left = deadline - time.monotonic()
            if left <= 0:
                self.drop()
                raise self._silent("time-out")
            self.poll(left)

    def _silent(self, why: object) -> FeedFault:
        return FeedFault(
            "mqtt-broker-unreachable",
            "check-mqtt-network-settings-and-broker",
            host=self.broker.host,
            port=self.broker.port,
            why=why,
        )

    def publish(self, topic: str, payload: bytes, *, retain: bool, expiry_s: int | None = None) -> int:
        """Sends one QoS 1 message, returns its mid; at most ``window`` may be unanswered (on_ack). Raises FeedFault."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ContentType = "application/json"
        properties.PayloadFormatIndicator = 1
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        self._check(info.rc)
        return info.mid

    def too_large(self, topic: str, payload: bytes) -> FeedFault | None:
        """Why the broker would not take this message, None where it does (Maximum Packet Size: MQTT 5, 3.2.2.3.6)."""
        size = len(topic.encode()) + len(payload) + AROUND
        if self._largest is None or size <= self._largest:
            return None
        return FeedFault(
            "mqtt-message-too-large-for-broker",
            "raise-broker-packet-limit",
            topic=topic,
            size=size,
            limit=self._largest,
            host=self.broker.host,
            port=self.broker.port,
        )

    def subscribe(self, topic: str) -> None:
        """Asks for the messages of a topic filter, QoS 1. The answer stands in ``subscribed`` or ``read_refused`` later.

        Raises FeedFault.
        """
        rc, _ = self._client.subscribe(topic, options=SubscribeOptions(qos=1))
        self._check(rc)

    def poll(self, timeout_s: float, waker: Waker | None = None) -> None:
        """Sends and receives what there is; waits for it at most timeout_s, or until the waker is readable. Raises FeedFault."""
        client = self._client
        sock = client.socket()
        if sock is None or sock.fileno() < 0:
            raise self._failed or self._lost("the connection is closed")
        buffered = isinstance(sock, GuardedSocket) and sock.pending() > 0
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.want_write() else 0)
        with selectors.PollSelector() as selector:
            selector.register(sock, events)
            if waker is not None:
                selector.register(waker.fileno(), selectors.EVENT_READ)
            ready = {key.fd: mask for key, mask in selector.select(0 if buffered else max(0.0, timeout_s))}
        mask = ready.get(sock.fileno(), 0)
        rc = MQTTErrorCode.MQTT_ERR_SUCCESS
        if mask & selectors.EVENT_READ or buffered:
            rc = self._read()
        if not rc and client.want_write():
            rc = client.loop_write()
        if not rc:
            rc = client.loop_misc()
        self._check(rc)

    def _read(self) -> MQTTErrorCode:
        """One packet, or a part of it."""
        try:
            return self._client.loop_read()
        except UNREADABLE:
            log.debug("a packet of the broker cannot be read", exc_info=True)
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    def _breached(self) -> FeedFault:
        """The fault of a broker that sends what was not asked for."""
        guard = self._guard
        if guard.breach == "size":
            return FeedFault(
                "mqtt-broker-sends-too-large-packet",
                "check-broker-is-the-centre-s-own",
                host=self.broker.host,
                port=self.broker.port,
                size=guard.announced,
                limit=self._most,
            )
        host, port, why = self.broker.host, self.broker.port, guard.breach
        return FeedFault("mqtt-broker-breaks-the-protocol", "check-broker-is-the-centre-s-own", host=host, port=port, why=why)

    def _check(self, rc: MQTTErrorCode) -> None:
        if self._failed is None and rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._failed = self._lost(rc.name.removeprefix("MQTT_ERR_").replace("_", " ").lower())
        if self._failed is not None:
            self.drop()
            raise self._failed

    def _old(self) -> FeedFault:
        host, port = self.broker.host, self.broker.port
        return FeedFault("mqtt-broker-does-not-speak-version-5", "use-broker-with-mqtt-5", host=host, port=port)

    def _lost(self, why: object) -> FeedFault:
        if not self._accepted:  # a broker of MQTT 3.1.1 ends the connection where it does not say why (MQTT 3.1.1, 3.1.2.2)
            host, port = self.broker.host, self.broker.port
            return FeedFault("mqtt-broker-hangs-up-at-once", "check-mqtt-version-and-broker-log", host=host, port=port)
        return FeedFault(
            "mqtt-connection-lost",
            "mqtt-reconnects-check-if-lasting",
            host=self.broker.host,
            port=self.broker.port,
            why=why,
        )

    def close(self) -> None:
        """Ends the connection in good order: the broker does not publish the will."""
        self._client.disconnect()
        self.drop()

    def drop(self) -> None:
        """Ends the connection as a broken cable would: the broker publishes the will."""
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    @_guarded
    def _on_connect(self, _c: Client, _u: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None) -> None:
        if reason.value == UNSUPPORTED_VERSION:
            self._failed = self._old()
            return
        if reason.value >= REFUSED:
            self._failed = FeedFault(
                "mqtt-broker-refuses-connection",
                "check-mqtt-user-and-password",
                host=self.broker.host,
                port=self.broker.port,
                why=reason,
                code=reason.value,
            )
            return
        self.window = min(IN_FLIGHT, getattr(properties, "ReceiveMaximum", IN_FLIGHT))
        self._largest = getattr(properties, "MaximumPacketSize", None)
        self.session_present = flags.session_present
        self._accepted = True

    @_guarded
    def _on_disconnect(self, _c: Client, _u: Any, _f: DisconnectFlags, reason: ReasonCode, _p: Properties | None) -> None:
        if self._failed is not None:
            return
        if self._guard.breach is not None:
            self._failed = self._breached()
        elif reason.value == TOO_LARGE:
            self._failed = FeedFault(
                "mqtt-broker-found-message-too-large",
                "raise-broker-packet-limit",
                host=self.broker.host,
                port=self.broker.port,
            )
        elif reason.value == TAKEN_OVER:
            self._failed = FeedFault(
                "mqtt-client-identity-taken-over",
                "give-each-room-own-identity",
                client=self.client_id,
            )
        else:
            self._failed = self._lost(reason)

    @_guarded
    def _on_publish(self, _c: Client, _u: Any, mid: int, reason: ReasonCode, _p: Properties | None) -> None:
        if self.on_ack is not None:
            self.on_ack(mid, reason.value)

    @_guarded
    def _on_message(self, _c: Client, _u: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.ignored += 1
            return
        if self._user_message is not None:
            self._user_message(MqttMessage(topic, bytes(message.payload), message.qos, message.retain))

    @_guarded
    def _on_subscribe(self, _c: Client, _u: Any, _m: int, reasons: list[ReasonCode], _p: Properties | None) -> None:
        self.subscribed = all(reason.value < REFUSED for reason in reasons)
        for reason in reasons:
            if reason.value >= REFUSED:
                self.read_refused = FeedFault(
                    "mqtt-read-access-denied",
                    "grant-mqtt-user-read-access",
                    user=self.broker.user or "-",
                    why=reason,
                    code=reason.value,
                )


def tls_context(ca_file: str) -> ssl.SSLContext:
    """TLS 1.2 or newer that checks the broker's certificate and name. Raises FeedFault where the file is no certificate."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        raise FeedFault(
            "mqtt-ca-file-unusable",
            "provide-readable-ca-certificate",
            path=ca_file,
            why=getattr(error, "strerror", None) or error,
            exit_code=Exit.CONFIG,
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
