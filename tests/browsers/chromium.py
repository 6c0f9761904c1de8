"""Chromium by its DevTools protocol, over a pipe: no port, no driver, no library (--remote-debugging-pipe)."""

import base64
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree, which
from typing import Any

PROGRAM = which("chromium")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the tests run as root, which Chromium's own sandbox refuses
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--remote-debugging-pipe",
)


class Chromium:
    """One browser with one page."""

    name = "chromium"

    def __init__(self) -> None:
        assert PROGRAM is not None
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, PROGRAM, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.pid = self._process.pid
        self._rest = b""
        self._id = 0
        self._session = ""
        self.console: list[str] = []
        pages = [t for t in self._ask("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        target = pages[0]["targetId"] if pages else self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Log"):
            self._ask(f"{domain}.enable")

    def _ask(self, method: str, **params: object) -> Any:
        self._id += 1
        message: dict[str, object] = {"id": self._id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._id:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Log.entryAdded":
            self.console.append(event["params"]["entry"]["text"])
        if event.get("method") == "Runtime.exceptionThrown":
            self.console.append(str(event["params"]["exceptionDetails"]))

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], 60)
            assert ready, "chromium does not answer"
            data = os.read(self._in, 1 << 16)
            assert data, "chromium has ended"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, path: Path) -> None:
        self.console.clear()
        self._ask("Page.navigate", url=path.as_uri())
        until = time.monotonic() + 60
        while self.run(f"document.readyState === 'complete' && location.href === {json.dumps(path.as_uri())}") is not True:
            assert time.monotonic() < until
            time.sleep(0.05)

    def run(self, script: str) -> Any:
        answer = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def choose(self, folder: Path) -> None:
        root = self._ask("DOM.getDocument")["root"]["nodeId"]
        node = self._ask("DOM.querySelector", nodeId=root, selector="#folder")["nodeId"]
        self._ask("DOM.setFileInputFiles", files=[str(folder)], nodeId=node)

    def drop(self, folder: Path) -> None:
        data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self._ask("Input.dispatchDragEvent", type=kind, x=200, y=200, data=data)

    def pdf(self) -> bytes:
        return base64.b64decode(self._ask("Page.printToPDF", printBackground=False)["data"])

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(timeout=20)
        os.close(self._in)
        os.close(self._out)
        rmtree(self._profile, ignore_errors=True)
