"""The steering page under load: two cameras at 30 Hz, three pages, STOP in between.

    ./run shell python benchmarks/page.py --seconds 60             (no ROS)
    ./run shell python benchmarks/page.py --seconds 60 --browser   (one page is a real Chromium)

A process serves the page (web/server.py) while a thread in it puts in what the steering node would:
two 640 x 480 pictures at 30 Hz with sensor noise, depth at 2 Hz, status at 50 Hz, thoughts at 2 Hz.
Three WebSocket clients in another process receive, decode and confirm like the page does.

Glass to glass: from a picture's stamp (when the camera would have taken it) to its pixels decoded
in a client; with --browser also to the animation frame of a real page that shows it. STOP: from a
client's message to its answer, with the pictures on the same connection. CPU: the serving process,
100 % is one core. Prints a table and writes benchmarks/results/page.json. Run it on an otherwise
idle machine: clients and server share its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import platform
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np
import psutil

from molmoact_ros.viz.depth_view import colour_depth
from molmoact_ros.web import protocol
from molmoact_ros.web.demo_source import Demo
from molmoact_ros.web.demo_views import Views, drawn_views
from molmoact_ros.web.page import PageState, Stream
from molmoact_ros.web.server import SteeringServer
from molmoact_ros.web.status import CommandStatus, PolicyStatus, ThoughtView

RESULTS = Path(__file__).parent / "results" / "page.json"
RATE, CLIENTS, STOP_EVERY_S, WARM_UP_S = 30.0, 3, 0.25, 2.0


def pictures(count: int = 16) -> list[Views]:
    """Views with the noise that a sensor has and a drawing has not: JPEG pays for it."""
    rng = np.random.default_rng(0)
    out = []
    for tick in range(count):
        view = drawn_views(tick * 7)
        wrist = cv2.resize(view.wrist, (640, 480))
        noisy = [
            np.clip(rgb + rng.normal(0, 4.0, rgb.shape), 0, 255).astype(np.uint8)
            for rgb in (view.external, wrist)
        ]
        out.append(Views(noisy[0], noisy[1], view.depth))
    return out


def serve(pipe: Connection, seconds: float) -> None:
    """The server's process: tells its address, then its own CPU time over the run."""
    views = pictures()
    depth = colour_depth(views[0].depth, (320, 240), label=False)
    state = PageState()
    demo = Demo(state)  # its commands only; the pictures are ours
    ending = threading.Event()

    def feed() -> None:
        began = time.perf_counter()
        for tick in range(10**9):
            wait = began + tick / RATE - time.perf_counter()
            if ending.wait(max(0.0, wait)):
                return
            view, now = views[tick % len(views)], time.time()
            state.put_image(Stream.EXTERNAL, view.external, now)
            state.put_image(Stream.WRIST, view.wrist, now)
            state.set_command(CommandStatus("policy", command_age=tick % 7 / 100))
            state.set_policy(PolicyStatus("executing", "a benchmark", row=tick % 8, rows=8))
            if tick % 15 == 0:
                state.put_image(Stream.DEPTH, depth, now)
                trace = ((20.0, 30.0), (90.0, 120.0), (200.0, 180.0))
                rows = ((0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),) * 8
                state.add_thought(ThoughtView(tick, now, trace=trace, actions=rows))

    feeder = threading.Thread(target=feed, daemon=True)
    with SteeringServer(state, demo, port=0) as server:
        feeder.start()
        time.sleep(1.0)
        idle = used_by(1.0)  # without a page nothing is encoded
        pipe.send((server.url, idle))
        pipe.recv()
        pipe.send(used_by(seconds))
        pipe.recv()
        ending.set()
        feeder.join()


def used_by(seconds: float) -> float:
    """CPU of this process over the next ``seconds``, in cores."""
    me, began = psutil.Process(), time.perf_counter()
    before = me.cpu_times()
    time.sleep(seconds)
    after = me.cpu_times()
    spent = after.user - before.user + after.system - before.system
    return spent / (time.perf_counter() - began)


async def client(url: str, stops: bool, until: float) -> dict[str, list[float]]:
    """One page: ages of external pictures and STOP round trips, seconds."""
    out: dict[str, list[float]] = {"age": [], "stop": []}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url + "ws", headers={"Origin": url.rstrip("/")}) as socket,
    ):
        warm, next_stop, asked = time.time() + WARM_UP_S, 0.0, 0.0
        while time.time() < until:
            message = await socket.receive(timeout=5.0)
            if message.type is aiohttp.WSMsgType.BINARY:
                stream, number, stamp, data = protocol.unpack_picture(message.data)
                cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
                now = time.time()
                if stream is Stream.EXTERNAL and now > warm:
                    out["age"].append(now - stamp)
                await socket.send_bytes(protocol.pack_seen(stream, number))
            elif json.loads(message.data or "{}").get("id") == 9:
                if time.time() > warm:
                    out["stop"].append(time.perf_counter() - asked)
                asked = 0.0
            if stops and not asked and time.time() > next_stop:
                asked, next_stop = time.perf_counter(), time.time() + STOP_EVERY_S
                await socket.send_str(json.dumps({"type": "stop", "id": 9}))
    return out


def watch(url: str, count: int, seconds: float, pipe: Connection) -> None:
    """The clients' process."""

    async def together() -> list[dict[str, list[float]]]:
        until = time.time() + seconds
        return await asyncio.gather(*(client(url, n == 0, until) for n in range(count)))

    pipe.send(asyncio.run(together()))


def look(url: str, seconds: float) -> list[float]:
    """Ages at the animation frame of a headless Chromium, seconds."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "window-size=1440,900"):
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService("/usr/bin/chromedriver")
    )
    ages: list[float] = []
    try:
        driver.get(url)
        time.sleep(WARM_UP_S)
        driver.execute_script("molmoact.glass.length = 0")
        began = time.time()
        while time.time() - began < seconds - WARM_UP_S:
            time.sleep(1.0)
            ages += [
                float(a) for a in driver.execute_script("return molmoact.glass.splice(0)") if a
            ]
    finally:
        driver.quit()
    return ages


def figures(values: list[float]) -> dict[str, float]:
    """Milliseconds."""
    if not values:
        return {"count": 0}
    p50, p95, p99 = (1000 * np.percentile(values, [50, 95, 99])).round(2).tolist()
    worst = round(1000 * max(values), 2)
    return {"count": len(values), "p50": p50, "p95": p95, "p99": p99, "max": worst}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seconds", type=float, default=30.0)
    options.add_argument("--browser", action="store_true", help="one client is a real Chromium")
    values = options.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs, values.seconds - WARM_UP_S), daemon=True)
    server.start()
    url, idle = ours.recv()
    count = CLIENTS - (1 if values.browser else 0)
    mine, other = context.Pipe()
    clients = context.Process(target=watch, args=(url, count, values.seconds, other), daemon=True)
    clients.start()
    time.sleep(WARM_UP_S)
    ours.send("measure")
    shown = look(url, values.seconds - WARM_UP_S) if values.browser else []
    pages = mine.recv()
    busy = ours.recv()
    ours.send("end")
    for process in (clients, server):
        process.join(timeout=10.0)
    rows: dict[str, Any] = {
        "glass to glass, ms": figures([age for page in pages for age in page["age"]]),
        "in Chromium, ms": figures(shown),
        "STOP round trip, ms": figures([stop for page in pages for stop in page["stop"]]),
    }
    for name, row in rows.items():
        if row["count"]:
            numbers = "  ".join(f"{key} {value:g}" for key, value in row.items())
            print(f"{name:20} {numbers}")
    rate = rows["glass to glass, ms"]["count"] / count / (values.seconds - WARM_UP_S)
    print(f"pictures a second    {rate:.1f} of {RATE:g} on each of {count} pages")
    print(f"CPU of the server    {100 * busy:.0f} % of a core with {CLIENTS} pages, "
          f"{100 * idle:.0f} % without")  # fmt: skip
    machine = f"{platform.machine()}, {psutil.cpu_count()} cores"
    result = {"machine": machine, "seconds": values.seconds, "rate": round(rate, 2),
              "cpu": round(busy, 3), "cpu_without_pages": round(idle, 3), **rows}  # fmt: skip
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
