"""Take the pictures of a report, from the demonstration's: ``python docs/make_report_figures.py REPORT.html``.

Needs playwright, and chromium on the path. The pictures are cut to 128 colours to keep them small.
"""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FIGURES = Path(__file__).parent / "figures"
BOX = "(part) => [0, document.querySelector(part).getBoundingClientRect().y + scrollY - 16, 1160, 840]"
KEYS = ("Home", "ArrowRight", "ArrowRight", "ArrowUp", "Enter")


def show_a_signal(page: Page) -> None:
    """Choose a window of the map by keyboard, so that the tooltip and the signal are seen."""
    page.focus("#map")
    for key in KEYS:
        page.keyboard.press(key)
    page.evaluate("document.getElementById('map').blur()")
    page.wait_for_timeout(200)


def shrink(path: Path) -> None:
    """Keep 128 colours of a picture."""
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def main(report: Path) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, scheme, part in (("map", "light", "#map-title"), ("dark", "dark", "h1")):
            context = browser.new_context(viewport={"width": 1160, "height": 940}, color_scheme=scheme)
            page = context.new_page()
            page.goto(report.resolve().as_uri())
            show_a_signal(page)
            path = FIGURES / f"report_{name}.png"
            place = page.evaluate(BOX, part)
            page.screenshot(
                path=path, full_page=True, clip=dict(zip(("x", "y", "width", "height"), place, strict=True))
            )
            shrink(path)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
