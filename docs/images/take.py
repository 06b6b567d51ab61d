"""Take the page's pictures for the documents: python docs/images/take.py URL [FOLDER].

URL is that of a running page: ./run demo prints it, or ``python -m molmoact_ros.web.demo_source``
serves a drawn one. --start types an instruction and starts it before every picture; in the picture
named pen a path lies on the frozen view. Needs chromium, chromium-driver and selenium. Writes
steering-<size>-<theme>.jpg.
"""

from __future__ import annotations

import argparse
import base64
import time
from pathlib import Path

from selenium import webdriver

SHOTS = (
    ("desktop", 1440, 900, "dark"),
    ("desktop", 1440, 900, "light"),
    ("laptop", 1366, 757, "dark"),
    ("pen", 1366, 757, "light"),
    ("tablet", 1024, 768, "dark"),
    ("phone", 390, 844, "dark"),
    ("phone", 390, 844, "light"),
)
PATH = [[96, 130], [92, 108], [120, 84], [150, 100], [176, 150]]
START = """
document.getElementById('instruction').value = arguments[0];
document.getElementById('start').click();
"""
DRAW = """
const pen = molmoact.pen;
const tool = molmoact.stage.tool;
pen.begin();
pen.points = [tool ?? arguments[0][0], ...arguments[0].slice(1)];
pen.changed(true);
"""


def main() -> None:
    """One picture for each of SHOTS, some seconds after the page has opened."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("url")
    options.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    options.add_argument("--start", default="", help="an instruction")
    values = options.parse_args()
    chrome = webdriver.ChromeOptions()
    chrome.binary_location = "/usr/bin/chromium"
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking",
                 "hide-scrollbars"):  # fmt: skip
        chrome.add_argument(f"--{flag}")
    driver = webdriver.Chrome(
        options=chrome, service=webdriver.ChromeService("/usr/bin/chromedriver")
    )
    try:
        for shot in SHOTS:
            take(driver, values.url, values.folder, values.start, *shot)
    finally:
        driver.quit()


def take(
    driver: webdriver.Chrome,
    url: str,
    folder: Path,
    start: str,
    name: str,
    width: int,
    height: int,
    theme: str,
) -> None:
    """Write one picture."""
    phone = name == "phone"
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**metrics, "mobile": phone})
    touch = {"enabled": name in ("phone", "tablet")}
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", touch)
    media = [{"name": "prefers-color-scheme", "value": theme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    driver.get(url)
    time.sleep(2.0)
    if start:
        driver.execute_script("document.getElementById('new-scene').click()")
        time.sleep(2.0)
        driver.execute_script(START, start)
        time.sleep(5.0)  # the words that confirm the start are gone by then
    if name == "pen":
        driver.execute_script(DRAW, PATH)
        time.sleep(1.0)
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "jpeg", "quality": 88})
    (folder / f"steering-{name}-{theme}.jpg").write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    main()
