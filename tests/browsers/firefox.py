"""Firefox by Marionette, its own socket for tests: JSON in both directions, its length before it."""

import base64
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree, which
from typing import Any

PROGRAM = which("firefox-esr") or which("firefox")
# The port is chosen by Firefox, and told in the profile. Nothing is fetched, and the page's process is the one of file:// pages.
PREFERENCES = """
user_pref("marionette.port", 0);
user_pref("app.update.disabledForTesting", true);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("toolkit.telemetry.enabled", false);
user_pref("dom.filesystem.pathcheck.disabled", true);
user_pref("security.dialog_enable_delay", 0);
"""
# Firefox's dialogue for folders, which nobody can click in: in its place a person who chose this folder.
PICKER = """
const folder = Components.classes["@mozilla.org/file/local;1"].createInstance(Components.interfaces.nsIFile);
folder.initWithPath(arguments[0]);
const picker = {
  QueryInterface: ChromeUtils.generateQI(["nsIFilePicker"]),
  init() {}, appendFilter() {}, appendFilters() {}, appendRawFilter() {},
  isModeSupported() { return Promise.resolve(true); },
  open(callback) { Services.tm.dispatchToMainThread(() => callback.done(Components.interfaces.nsIFilePicker.returnOK)); },
  get file() { return folder; },
  filterIndex: 0, defaultString: "", defaultExtension: "", displayDirectory: null, displaySpecialDirectory: "",
  okButtonLabel: "", addToRecentDocs: false, capture: 0, mode: Components.interfaces.nsIFilePicker.modeGetFolder,
};
const factory = {
  QueryInterface: ChromeUtils.generateQI(["nsIFactory"]),
  createInstance(iid) { return picker.QueryInterface(iid); },
};
Components.manager
  .QueryInterface(Components.interfaces.nsIComponentRegistrar)
  .registerFactory(Services.uuid.generateUUID(), "", "@mozilla.org/filepicker;1", factory);
"""
# The folder is Firefox's own entry of it, as a drop gives it; the event around it is made here, since a page may not look into
# one that no hand began.
DROP = """
const folder = Components.classes["@mozilla.org/file/local;1"].createInstance(Components.interfaces.nsIFile);
folder.initWithPath(arguments[0]);
const data = new window.DataTransfer();
data.mozSetDataAt("application/x-moz-file", folder, 0);
const entry = data.items[0].webkitGetAsEntry();
const page = window.wrappedJSObject;
const item = Components.utils.cloneInto({ kind: "file" }, window);
item.webkitGetAsEntry = Components.utils.exportFunction(() => entry, window);
const event = new page.Event("drop", Components.utils.cloneInto({ bubbles: true, cancelable: true }, window));
event.dataTransfer = Components.utils.cloneInto({ items: [] }, window);
event.dataTransfer.items.push(item);
page.document.body.dispatchEvent(event);
"""


class Firefox:
    """One browser with one page."""

    name = "firefox"

    def __init__(self) -> None:
        assert PROGRAM is not None
        self._profile = Path(tempfile.mkdtemp(prefix="firefox-"))
        (self._profile / "user.js").write_text(PREFERENCES)
        self._process = subprocess.Popen(
            [PROGRAM, "--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", self._profile],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "HOME": str(self._profile), "MOZ_CRASHREPORTER_DISABLE": "1"},
        )
        self.pid = self._process.pid
        self._socket = self._connected()
        self._rest = b""
        self._id = 0
        self._message()  # its greeting
        # Firefox asks whether the files of a folder may be "uploaded": yes.
        self._ask("WebDriver:NewSession", unhandledPromptBehavior="accept")
        self._ask("WebDriver:SetTimeouts", script=120_000, pageLoad=60_000)

    def _connected(self) -> socket.socket:
        told = self._profile / "MarionetteActivePort"
        until = time.monotonic() + 60
        while True:
            with suppress(OSError, ValueError):
                return socket.create_connection(("127.0.0.1", int(told.read_text())), timeout=130)
            assert time.monotonic() < until, "firefox does not listen"
            assert self._process.poll() is None, "firefox has ended"
            time.sleep(0.1)

    def _ask(self, command: str, **params: object) -> Any:
        self._id += 1
        data = json.dumps([0, self._id, command, params]).encode()
        self._socket.sendall(b"%d:%s" % (len(data), data))
        _, number, error, result = self._message()
        assert number == self._id and error is None, (command, error)
        return result

    def _message(self) -> Any:
        while b":" not in self._rest:
            self._more()
        length, _, self._rest = self._rest.partition(b":")
        while len(self._rest) < int(length):
            self._more()
        data, self._rest = self._rest[: int(length)], self._rest[int(length) :]
        return json.loads(data)

    def _more(self) -> None:
        data = self._socket.recv(1 << 16)
        assert data, "firefox has ended"
        self._rest += data

    def open(self, path: Path) -> None:
        self._ask("WebDriver:Navigate", url=path.as_uri())

    def run(self, script: str) -> Any:
        return self._ask("WebDriver:ExecuteScript", script=f"return {script}", args=[])["value"]

    def _as_firefox(self, script: str, *arguments: str, context: str = "content") -> None:
        """Runs a script with the rights of Firefox itself, in the page's process or (chrome) in its own."""
        self._ask("Marionette:SetContext", value=context)
        try:
            self._ask("WebDriver:ExecuteScript", script=script, args=arguments, newSandbox=True, sandbox="system")
        finally:
            self._ask("Marionette:SetContext", value="content")

    def choose(self, folder: Path) -> None:
        self._as_firefox(PICKER, str(folder), context="chrome")
        self._as_firefox("document.notifyUserGestureActivation(); document.getElementById('folder').click();")

    def drop(self, folder: Path) -> None:
        self._as_firefox(DROP, str(folder))

    def pdf(self) -> bytes:
        return base64.b64decode(self._ask("WebDriver:Print")["value"])

    def close(self) -> None:
        self._socket.close()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(timeout=20)
        rmtree(self._profile, ignore_errors=True)
