"""Take the page's pictures for the documents: python docs/images/take.py URL [FOLDER].

URL is that of a running page (./run demo prints it). Needs chromium, chromium-driver and
selenium. Writes steering-<size>-<theme>.jpg.
"""

from __future__ import annotations

import base64
import sys
import time
from pathlib import Path

from selenium import webdriver

SHOTS = (
    ("desktop", 1440, 900, "dark"),
    ("desktop", 1440, 900, "light"),
    ("tablet", 1024, 768, "dark"),
    ("phone", 390, 844, "dark"),
    ("phone", 390, 844, "light"),
)


def main(url: str, folder: Path) -> None:
    """One picture for each of SHOTS, two seconds after the page has opened."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking"):
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService("/usr/bin/chromedriver")
    )
    for name, width, height, theme in SHOTS:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        if name == "phone":
            metrics["deviceScaleFactor"] = 2
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**metrics, "mobile": name == "phone"}
        )
        media = [{"name": "prefers-color-scheme", "value": theme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        driver.get(url)
        time.sleep(2.0)
        shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "jpeg", "quality": 88})
        (folder / f"steering-{name}-{theme}.jpg").write_bytes(base64.b64decode(shot["data"]))
    driver.quit()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent)
