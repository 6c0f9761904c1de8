"""The kinds of devices that a room may have. A new kind is described in a module beside this one and added here."""

import re
from typing import TYPE_CHECKING

from agent.devices import burner, climate, composer, tracks
from agent.devices.kind import DeviceKind

if TYPE_CHECKING:
    from agent.config.model import Config

KINDS: tuple[DeviceKind, ...] = (*tracks.KINDS, climate.KIND, composer.KIND, burner.KIND)  # in the order of the feed
WITHOUT_PROCESS = ("disk", "clock", "agent")  # devices of the feed that the agent measures itself


def kind_of(command: tuple[str, ...]) -> DeviceKind:
    """The kind whose process these arguments of room-agent run. Raises KeyError."""
    return {kind.command: kind for kind in KINDS}[command]


def meant(config: "Config") -> tuple[DeviceKind, ...]:
    """The kinds that a room with this configuration is meant to have."""
    return tuple(kind for kind in KINDS if kind.meant(config))


def id_pattern() -> str:
    """The ids of all devices on the feed, as a regular expression."""
    return "^(" + "|".join([*(kind.ids for kind in KINDS), *map(re.escape, WITHOUT_PROCESS)]) + ")$"
