"""An independent subscriber: ``mosquitto_sub`` as the command room's user, one JSON line a message in health.jsonl."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from agent.feed.watch import SequenceCheck
from tests.demo.command import DemoError

TAKES_S = 10.0


class Subscriber:
    """Keeps what the broker sends. Lines hold topic, qos, retain and payload, as ``mosquitto_sub -F %J`` writes them."""

    def __init__(self, broker: dict[str, Any], out: Path, *, client: str = "demo-subscriber") -> None:
        """broker: host, port, ca_file, command_user, command_password. client: its identity, kept by the broker."""
        self._out = out
        self._file = out.open("wb")
        tls = ["--cafile", broker["ca_file"]] if broker["ca_file"] else []
        login = ["-u", broker["command_user"], "-P", broker["command_password"]]
        self._child = subprocess.Popen(
            [
                *("mosquitto_sub", "-V", "5", "-h", broker["host"], "-p", str(broker["port"]), *tls, *login),
                *("-i", client, "-c", "-x", "60", "-q", "1", "-t", "interview-room/v1/#", "-F", "%J"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_for(self, topic_end: str, wanted: dict[str, Any], limit_s: float = TAKES_S) -> None:
        """Until a message of the topic holds these values. Raises DemoError."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            for line in self.lines():
                payload = line["payload"]
                if line["topic"].endswith("/" + topic_end) and isinstance(payload, dict) and wanted.items() <= payload.items():
                    return
            time.sleep(0.2)
        raise DemoError(f"the feed never said {wanted} on …/{topic_end}")

    def lines(self) -> list[dict[str, Any]]:
        """What came so far; a line that is being written does not count yet."""
        text = self._out.read_text(encoding="utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def stop(self) -> dict[str, int]:
        """Ends it; messages and how many never came, by their numbers."""
        if self._child.poll() is None:
            self._child.terminate()
            self._child.wait(10)
        self._file.close()
        check = SequenceCheck()
        for line in self.lines():
            payload = line["payload"]
            if isinstance(payload, dict) and "seq" in payload:
                check.add(payload["room"], payload["boot"], payload["seq"], retained=bool(line["retain"]))
        return {"messages": check.messages, "lost": check.lost()}
