"""A disc's folder is chosen or dropped in a real browser, by file://, and the page says what it is."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from burner.disc.author import author
from recorder.evidence.signature import device_key, fingerprint, public_key
from tests.browsers import chromium, firefox
from tests.browsers.browser import Browser, memory_bytes, wait_for
from tests.burner import sessions
from tests.burner.forgery import listed_anew, sign_anew, swap_picture, unsign

pytestmark = pytest.mark.browser

PAGE = "(window.wrappedJSObject ?? window)"  # the window as the page's own script sees it; Firefox shows another one
BIG_BYTES = 200_000_000
MOST_MEMORY_BYTES = 120_000_000  # beside what the browser had before
BROWSERS: dict[str, tuple[str | None, Callable[[], Browser]]] = {
    "chromium": (chromium.PROGRAM, chromium.Chromium),
    "firefox": (firefox.PROGRAM, firefox.Firefox),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """storage.root with a sealed session."""
    root = tmp_path_factory.mktemp("sealed") / "root"
    sessions.build(root, tmp_path_factory.mktemp("scratch"))
    return root


@pytest.fixture(scope="module")
def disc(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disc's files, as a mounted disc shows them; not to be changed."""
    place = tmp_path_factory.mktemp("disc")
    image = author(root / "sessions" / sessions.SESSION, place / "d.iso", language="zh").path
    subprocess.run(["7z", "x", "-y", f"-o{place / 'EV 光盘'}", str(image)], check=True, capture_output=True)
    image.unlink()
    return place / "EV 光盘"


@pytest.fixture
def folder(disc: Path, tmp_path: Path) -> Path:
    return shutil.copytree(disc, tmp_path / "EV 光盘")


@pytest.fixture(scope="module")
def told(root: Path) -> str:
    """The fingerprint, as whoever runs the room tells it."""
    key = public_key(root / "keys")
    assert key is not None
    return fingerprint(key.hex())


@pytest.fixture(scope="module", params=BROWSERS)
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    program, start = BROWSERS[request.param]
    assert program is not None, f"{request.param} is not installed: ./prepare --browsers"
    running = start()
    yield running
    running.close()


def checked(browser: Browser, page: Path, folder: Path, *, dropped: bool = False) -> None:
    """Opens the page and has it check the folder to its end."""
    browser.open(page / "verify.html")
    wait_for(browser, "document.documentElement.dataset.state === 'idle'")
    (browser.drop if dropped else browser.choose)(folder)
    wait_for(browser, "document.documentElement.dataset.state === 'done'")


def answer(browser: Browser) -> str:
    return str(browser.run("document.documentElement.dataset.answer"))


def shown(browser: Browser, part: str) -> str:
    return str(browser.run(f"document.getElementById('{part}').innerText"))


def typed(browser: Browser, fingerprint: str) -> None:
    browser.run(
        f"(() => {{ const t = document.getElementById('typed'); t.value = '{fingerprint}'; "
        "t.dispatchEvent(new window.Event('input')); return 1; })()"
    )


def test_a_whole_disc_agrees(browser: Browser, disc: Path, told: str) -> None:
    checked(browser, disc, disc)
    assert answer(browser) == "web-answer-signed"
    assert shown(browser, "answer").startswith(f"光盘上的文件就是密钥 {told} 签名的文件")
    assert shown(browser, "fingerprint") == told
    assert "EV20261121_001" in shown(browser, "facts") and "温市监〔2026〕88号" in shown(browser, "facts")
    assert "尚未比对指纹" in shown(browser, "not-checked")
    typed(browser, told)
    assert answer(browser) == "web-answer-trusted" and shown(browser, "compared") == "一致。"
    browser.run("document.getElementById('language').click()")
    assert shown(browser, "answer").startswith("The files on this disc are those that the key signed whose fingerprint you gave.")
    assert browser.run("document.documentElement.lang") == "en"
    typed(browser, "0" * 32)
    assert answer(browser) == "web-answer-other-key" and shown(browser, "compared") == "It is NOT the same."


def test_a_folder_that_is_dropped_is_checked_or_the_button_is_named(browser: Browser, disc: Path) -> None:
    checked(browser, disc, disc, dropped=True)
    assert answer(browser) == "web-answer-signed"


def drop_film(folder: Path) -> None:
    (folder / "data" / "originals" / "closeup-02.mp4").unlink()


def add_film(folder: Path) -> None:
    (folder / "data" / "originals" / "overview-02.mp4").write_bytes(b"another view")


def change_list(folder: Path) -> None:
    swap_picture(folder)
    listed_anew(folder)


@pytest.mark.parametrize(
    ("forge", "problem"),
    [
        (swap_picture, "✗ data/originals/overview-01.mp4 与签名的内容不一致。"),
        (drop_film, "✗ 缺少 data/originals/closeup-02.mp4。"),
        (add_film, "✗ data/originals/overview-02.mp4 是添加的文件，没有签名担保。"),
        (change_list, "✗ data/sha256sums 不是由光盘上的密钥签名的。"),
    ],
)
def test_a_forged_disc_has_a_named_problem(
    browser: Browser, disc: Path, folder: Path, forge: Callable[[Path], None], problem: str
) -> None:
    forge(folder)
    checked(browser, disc, folder)
    assert answer(browser) == "web-answer-disagrees"
    assert problem in shown(browser, "found").splitlines()
    assert shown(browser, "answer").startswith("本光盘与签名的内容不一致。")


def test_another_key_is_told_by_the_fingerprint(browser: Browser, disc: Path, folder: Path, told: str, tmp_path: Path) -> None:
    swap_picture(folder)
    sign_anew(folder, device_key(tmp_path / "forger"))
    checked(browser, disc, folder)
    typed(browser, told)
    assert answer(browser) == "web-answer-other-key"


def test_a_disc_that_nobody_signed_and_a_folder_that_is_none(browser: Browser, disc: Path, folder: Path, tmp_path: Path) -> None:
    unsign(folder)
    checked(browser, disc, folder)
    assert answer(browser) == "web-answer-unsigned"
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.txt").write_text("?")
    checked(browser, disc, tmp_path / "none")
    assert answer(browser) == "web-answer-no-list"


@pytest.mark.parametrize("lacking", ["Ed25519", "WebCrypto"])
def test_a_browser_without_ed25519_has_the_page_s_own(browser: Browser, disc: Path, told: str, lacking: str) -> None:
    browser.open(disc / "verify.html")
    gone = {"Ed25519": "SubtleCrypto.prototype.importKey", "WebCrypto": "Crypto.prototype.subtle"}[lacking]
    assert browser.run(f"delete {PAGE}.{gone}") is True
    browser.choose(disc)
    wait_for(browser, "document.documentElement.dataset.state === 'done'")
    assert answer(browser) == "web-answer-signed" and "noble-ed25519" in shown(browser, "facts")


def test_nothing_of_the_disc_becomes_markup(browser: Browser, disc: Path, folder: Path, root: Path) -> None:
    name = "<img src=x onerror=window.hurt=1>.mp4"
    (folder / "data" / "originals" / name).write_bytes(b"?")
    sign_anew(folder, device_key(root / "keys"), lambda d: d.update(label="<b>EV</b>\u202e"))
    checked(browser, disc, folder)
    assert name in shown(browser, "found")
    assert "<b>EV</b>\\u202e" in shown(browser, "facts")
    assert browser.run("document.querySelectorAll('img, b').length") == 0 and browser.run(f"{PAGE}.hurt ?? 0") == 0


def test_the_policy_lets_nothing_else_run(browser: Browser, disc: Path, tmp_path: Path) -> None:
    browser.open(disc / "verify.html")
    browser.run(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.hurt = 1'; "
        "document.body.append(s); return 1; })()"
    )
    assert browser.run(f"{PAGE}.hurt ?? 0") == 0
    image = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
    loaded = (
        "new Promise((done) => { const i = document.createElement('img'); i.onload = () => done('loaded'); "
        f"i.onerror = () => done('refused'); i.src = '{image}'; document.body.append(i); }})"
    )
    assert browser.run(loaded) == "refused"
    (tmp_path / "other.html").write_text("<!doctype html><body>")
    browser.open(tmp_path / "other.html")
    assert browser.run(loaded) == "loaded", "where there is no policy"


def test_the_report_is_printed(browser: Browser, disc: Path) -> None:
    checked(browser, disc, disc)
    assert browser.pdf().startswith(b"%PDF")
    hidden = browser.run(
        "[...document.styleSheets[0].cssRules].filter((r) => r.media && r.media.mediaText === 'print')"
        ".flatMap((r) => [...r.cssRules]).filter((r) => r.style.display === 'none').map((r) => r.selectorText).join()"
    )
    for part in ("#choosing", "#print", "#language"):
        assert part in hidden


def test_a_large_file_streams(browser: Browser, disc: Path, folder: Path, root: Path) -> None:
    """Two hundred megabytes, while the memory of the browser is watched."""
    block = os.urandom(1 << 20)
    with open(folder / "data" / "originals" / "overview-01.mp4", "wb") as file:
        for _ in range(BIG_BYTES // len(block)):
            file.write(block)
    sign_anew(folder, device_key(root / "keys"))
    browser.open(disc / "verify.html")
    before = memory_bytes(browser.pid)
    most, ended = [before], threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            most.append(memory_bytes(browser.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        browser.choose(folder)
        wait_for(browser, "document.getElementById('bar').value > 0")
        assert "MB" in shown(browser, "reading")
        wait_for(browser, "document.documentElement.dataset.state === 'done'", 120)
    finally:
        ended.set()
        watcher.join()
    assert answer(browser) == "web-answer-signed"
    assert max(most) - before < MOST_MEMORY_BYTES, (before, max(most))


def test_a_check_can_be_stopped(browser: Browser, disc: Path, folder: Path) -> None:
    with open(folder / "data" / "originals" / "overview-01.mp4", "wb") as file:
        file.truncate(4_000_000_000)
    browser.open(disc / "verify.html")
    browser.choose(folder)
    wait_for(browser, "document.documentElement.dataset.state === 'reading'")
    browser.run("document.getElementById('stop').click()")
    wait_for(browser, "document.documentElement.dataset.state === 'done'")
    assert answer(browser) == "web-answer-stopped"
