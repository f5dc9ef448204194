"""A browser for the tests of pages."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Browser:
    """Chromium without a window, driven by chromedriver (W3C WebDriver)."""

    def __init__(self, port: int, profile: Path) -> None:
        self._at = f"http://127.0.0.1:{port}"
        switches = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options = {"args": [*switches, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._at += f"/session/{made['sessionId']}"

    def _ask(self, how: str, what: str, content: Any = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self._at + what, body, {"Content-Type": "application/json"}, method=how)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, page: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Go to a page, in a viewport of just this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.protocol("Emulation.setDeviceMetricsOverride", **size)
        media = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in media.items()]
        self.protocol("Emulation.setEmulatedMedia", features=features)
        self.errors()
        self._ask("POST", "/url", {"url": page.as_uri()})

    def run(self, script: str, *values: Any) -> Any:
        """What a function's body returns in the page; its arguments are `values`."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(values)})

    def until(self, script: str, wanted: Any) -> None:
        """Wait for what a function's body returns to be `wanted`: for what the browser does in its own time."""
        end = time.monotonic() + 10
        while (found := self.run(script)) != wanted:
            assert time.monotonic() < end, f"{found} is not {wanted}"
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """A key, as the reader presses it; see W3C WebDriver for those without a letter."""
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": keys}]})

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """The mouse, with its button down, from a place of the viewport to another; a click if they are one."""
        moves = [{"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)} for x, y in (start, end)]
        down, up = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        steps = [moves[0], down, *([moves[1]] if end != start else []), up]
        self._ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": steps}]})

    def errors(self) -> list[str]:
        """What the console said since the last call."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def picture(self, *, whole: bool = False) -> bytes:
        """The page as PNG."""
        return base64.b64decode(self.protocol("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def protocol(self, method: str, **values: Any) -> Any:
        """A method of the DevTools protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": method, "params": values})

    def close(self) -> None:
        self._ask("DELETE", "")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of the run."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("needs chromium")
    folder = tmp_path_factory.mktemp("browser")
    log = folder / "log"
    with log.open("w") as sink, subprocess.Popen(["chromedriver", "--port=0"], stdout=sink, stderr=sink) as driver:
        try:
            for _ in range(300):
                found = re.search(r"started successfully on port (\d+)", log.read_text())
                if found:
                    break
                time.sleep(0.1)
            else:
                pytest.fail(f"chromedriver did not start: {log.read_text()}")
            browser = Browser(int(found[1]), folder / "profile")
            yield browser
            browser.close()
        finally:
            driver.terminate()
