"""Every parser that is fuzzed."""

from tests.fuzz import cameras, devices, evidence, files, network
from tests.fuzz.target import Target

TARGETS: tuple[Target, ...] = (*network.TARGETS, *cameras.TARGETS, *devices.TARGETS, *files.TARGETS, *evidence.TARGETS)
