"""How smoothly the search page scrolls through 1,000 hits, and how soon it shows the first of them.

    python benchmarks/page_scroll.py --library LIBRARY [--query "a dog"]

It starts `crossgraph serve` on a free port and opens the page in a headless Chromium. First it scrolls to the end once,
so that all pages of hits are there; then from the top to the end again, 40 pixels a frame (2,400 a second at 60 frames
a second), and notes when each frame came. A frame is late when it came more than one and a half sixtieths of a second
after the one before. Script, layout and style are the main thread's time a frame. There is no graphics card behind a
headless browser here: what is drawn, processor cores draw.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from crossgraph.files import write_json
from crossgraph.tables import Table

LATE = 25.0  # ms
STEP = 40  # px a frame

_FIRST = """() => {
  new MutationObserver((_, watcher) => {
    if (!document.querySelector(".tile")) return;
    watcher.disconnect();
    const wire = new MessageChannel();
    wire.port1.onmessage = () => { window.shown = performance.now(); };
    requestAnimationFrame(() => wire.port2.postMessage(0));
  }).observe(document, {childList: true, subtree: true});
}"""
_ANSWERED = (
    """() => performance.getEntriesByType("resource").filter(one => one.name.includes("/api/search"))[0].responseEnd"""
)
_SCROLL = """step => new Promise(done => {
  const times = [];
  scrollTo(0, 0);
  const frame = now => {
    times.push(now);
    const before = scrollY;
    scrollBy(0, step);
    if (scrollY === before && times.length > 30) done(times);
    else requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""


def measure(page: Any, address: str) -> dict[str, Any]:
    """Open the page, scroll twice, and return milliseconds."""
    page.add_init_script(f"({_FIRST})()")
    page.goto(address)
    page.wait_for_function("() => window.shown")
    first = page.evaluate("window.shown") - page.evaluate(_ANSWERED)
    last = page.locator(".tile").last
    for _ in range(600):
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        page.wait_for_timeout(100)
        if last.get_attribute("aria-posinset") == (hits := last.get_attribute("aria-setsize")):
            break
    else:
        raise TimeoutError(f"the last of {hits} hits did not come within a minute")
    wire = page.context.new_cdp_session(page)
    wire.send("Performance.enable")
    before = {one["name"]: one["value"] for one in wire.send("Performance.getMetrics")["metrics"]}
    times = np.array(page.evaluate(_SCROLL, STEP))
    after = {one["name"]: one["value"] for one in wire.send("Performance.getMetrics")["metrics"]}
    waits = np.diff(times)
    parts = {"script": "ScriptDuration", "layout": "LayoutDuration", "style": "RecalcStyleDuration"}
    return {
        "hits": int(hits),
        "first_hits_after_answer_ms": round(first, 1),
        "frames": len(waits),
        "frames_a_second": round(1000 * len(waits) / float(waits.sum()), 1),
        "between_frames_ms": {f"p{part}": round(float(np.percentile(waits, part)), 1) for part in (50, 95, 99)}
        | {"worst": round(float(waits.max()), 1)},
        "late": round(float((waits > LATE).mean()), 4),
        "main_thread_ms_a_frame": {
            name: round(1000 * (after[key] - before[key]) / len(waits), 2) for name, key in parts.items()
        },
    }


def table(card: dict[str, Any]) -> str:
    """Write a card as Markdown."""
    waits, parts = card["between_frames_ms"], card["main_thread_ms_a_frame"]
    about = f"{card['hits']:,} hits, {card['window']}, {card['cores']} cores, load {card['load']:.1f} before"
    rows = [
        ["first hits drawn after the server's answer", f"{card['first_hits_after_answer_ms']:.0f} ms"],
        ["frames", f"{card['frames']:,}, {card['frames_a_second']:.1f} a second"],
        ["between frames", ", ".join(f"{name} {value:.1f}" for name, value in waits.items()) + " ms"],
        [f"late frames (over {LATE:.0f} ms)", f"{card['late']:.1%}"],
        ["main thread a frame", ", ".join(f"{name} {value:.1f}" for name, value in parts.items()) + " ms"],
    ]
    return Table([about, ""], rows).to_markdown(padded=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--query", default="a dog in the snow")
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--out", type=Path, default=Path("experiments/page/scroll.json"))
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        parser.error("no chromium is installed")
    card = {"window": f"{given.width} × {given.height}", "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    command = [sys.executable, "-m", "crossgraph", "serve", "--library", str(given.library), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        assert server.stdout is not None
        found = re.search(r"at (http://\S+?)/", server.stdout.readline())
        if not found:
            return 1
        try:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": given.width, "height": given.height})
            card |= measure(page, f"{found[1]}/?q={quote(given.query)}")
            browser.close()
        finally:
            server.send_signal(signal.SIGTERM)
    write_json(given.out, card)
    print(table(card))
    return 0


if __name__ == "__main__":
    sys.exit(main())
