"""A report opened in a real browser, from a file, as a reader would."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from torch import nn

from tscl.data import Channels, WindowDataset
from tscl.evaluation import Report, embedding_points, evaluate, write_report
from tscl.evaluation.report.leakage import check_manifest, check_split

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
api = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")

NASTY = "<img src=x onerror='window.attacked=1'><b>P0</b>"


class Same(nn.Module):
    """An encoder that returns its input, a missing value as 0."""

    dim = 2

    def forward(self, x, mask=None, sensors=None):
        return x.nan_to_num()


def cohort():
    rng = np.random.default_rng(0)
    patient = np.repeat([NASTY, *(f"P{k:02d}" for k in range(1, 15))], 8)
    sick = np.repeat(np.arange(15) % 2, 8)
    X = (rng.normal(size=(120, 3, 50)) + 0.5 * sick[:, None, None]).astype("float32")
    X[:, 1, 10:13] = np.nan
    table = pd.DataFrame(
        {"patient": patient, "trial": np.arange(120) // 4, "sick": sick, "onset": np.arange(120) % 4 * 1.0}
    )
    table["source"] = [f"rec{k // 8}.edf" for k in range(120)]
    return WindowDataset(X, table, Channels(("Fz", "Cz", "Pz"), ("eeg",) * 3, "uV", 50.0), target="sick")


@pytest.fixture(scope="module")
def split():
    return cohort().split(by="patient", val=0.2, test=0.5, seed=1)


@pytest.fixture(scope="module")
def report(split):
    settings = {"methods": ("probe", "knn"), "label_fractions": (1.0,), "seeds": (0,), "pooling": "mean"}
    results = evaluate(Same(), split, n_resamples=50, **settings)
    epochs = np.arange(5)
    return Report(
        title="A simulated run with a name_that_is_long_and_has_no_space_to_break_the_line_at",
        lead="A run.",
        manifest=split.manifest,
        checks=[*check_manifest(split.manifest), check_split(split)],
        summary=results.summary(),
        statement=f"Tested on {NASTY}.",
        patients=results.by_patient(split.test.classes),
        points=embedding_points(Same(), split.sides, pooling="mean"),
        history=pd.DataFrame({"epoch": epochs, "train/loss": 1 / (1 + epochs), "train/uniformity": -epochs / 4.0}),
        card=f"- **Seen**: {NASTY}\n\n| a | b |\n|---|---|\n| 1 | {'2' * 90} |",
        config=f"key: {'x' * 300}",
    )


@pytest.fixture(scope="module")
def file(report, tmp_path_factory):
    return write_report(report, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, file):
    """Open the report: ``opened(width=..., scheme=...)`` returns the page; it must say and ask nothing."""
    said, asked, contexts = [], [], []

    def go(width=1200, scheme="light", path=file):
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert said == []
    assert set(asked) <= {file.as_uri(), file.with_name("plain.html").as_uri()}


def place(page, i):
    """The pixel at which point ``i`` of the map is drawn."""
    box = page.evaluate(
        """i => {
            const map = document.getElementById("map"), { xaxis, yaxis } = map._fullLayout;
            const points = JSON.parse(document.getElementById("data").textContent).points;
            const f = (key) => new Float32Array(bytes(points[key]))[i];
            map.scrollIntoView({ block: "center", behavior: "instant" });
            const box = map.getBoundingClientRect();
            return [box.x + xaxis._offset + xaxis.l2p(f("x")), box.y + yaxis._offset + yaxis.l2p(f("y"))];
        }""",
        i,
    )
    return box


def lonely(report, side="test"):
    """A point of the side that no other one of it covers."""
    rows = np.flatnonzero(report.points.table["split"] == side)
    plane = report.points.plane[rows]
    distance = np.linalg.norm(plane[:, None] - plane[None], axis=2) + np.eye(len(rows)) * 9
    return int(rows[distance.min(axis=1).argmax()])


def drawn_signal(page):
    lines = page.evaluate("document.getElementById('signal').data.map((line) => [line.x, line.y])")
    return np.array(lines, dtype=float)


def window_of(report, data, i):
    row = report.points.table.iloc[i]
    [k] = np.flatnonzero((data.metadata["trial"] == row["trial"]) & (data.metadata["onset"] == row["onset"]))
    return data.numpy()[k]


def test_pointing_names_the_recording_and_a_click_draws_its_signal(opened, report):
    page = opened()
    i = lonely(report)
    row = report.points.table.iloc[i]
    x, y = place(page, i)
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.wait_for_selector("#map .hovertext")
    tip = page.locator("#map .hovertext").text_content()
    for said in (
        f"patient {row['patient']}",
        f"trial {row['trial']}",
        row["source"],
        f"sick: {row['sick']}",
        "test side",
    ):
        assert said in tip
    page.mouse.click(x, y)
    page.wait_for_selector("#signal .scatterlayer .trace")
    about = page.locator("#signal-about").text_content()
    assert row["source"] in about
    assert "uV" in about
    expected = window_of(report, cohort(), i)
    drawn = drawn_signal(page)
    np.testing.assert_allclose(drawn[:, 1], expected, atol=2e-4)
    np.testing.assert_allclose(drawn[0, 0], np.arange(50) / 50)
    names = page.locator("#signal .g-ytitle, #signal .g-y2title, #signal .g-y3title").all_text_contents()
    assert sorted(filter(None, names)) == ["Cz", "Fz", "Pz"]


def test_a_name_that_is_code_is_only_read(opened, report):
    page = opened()
    [i, *_] = np.flatnonzero(report.points.table["patient"] == NASTY)
    side = report.points.table["split"][i]
    for box in page.locator("#sides input").all():
        box.set_checked(box.input_value() == side)
    page.select_option("#colour", "patient")
    page.evaluate("document.querySelector('#map').focus()")
    for _ in range(report.points.table["split"].eq(side).sum()):
        page.keyboard.press("ArrowRight")
        if NASTY in page.locator("#pointed").text_content():
            break
    page.keyboard.press("Enter")
    assert "<b>P0</b>" in page.locator("#map .legend").text_content()
    assert page.evaluate("window.attacked") is None
    assert page.locator("main img").count() == 0


def test_everything_is_reached_by_keyboard(opened, report):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = []
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        if reached[-1] == "map":
            break
    assert {"which", "colour", "BUTTON", "SUMMARY", "map"} <= set(reached)
    style = "getComputedStyle(document.activeElement)"
    assert page.evaluate(f"[{style}.outlineStyle, {style}.outlineWidth]") == ["solid", "3px"]

    page.keyboard.press("ArrowRight")
    first = page.locator("#pointed").text_content()
    ring = "document.getElementById('map').data.find((trace) => trace.marker.size === 14)"
    where = [page.evaluate(f"[{ring}.x[0], {ring}.y[0]]")]
    for key, axis, sign in (("Left", 0, -1), ("Right", 0, 1), ("Up", 1, 1), ("Down", 1, -1)):
        page.keyboard.press(f"Arrow{key}")
        where.append(page.evaluate(f"[{ring}.x[0], {ring}.y[0]]"))
        assert sign * (where[-1][axis] - where[-2][axis]) >= 0
    assert len(set(map(tuple, where))) >= 3
    assert page.locator("#map .hovertext").count() == 1
    page.keyboard.press("Enter")
    pointed = page.locator("#pointed").text_content()
    assert page.locator("#signal-about").text_content().startswith(pointed)
    assert drawn_signal(page).shape == (3, 2, 50)
    page.keyboard.press("Home")
    assert page.locator("#pointed").text_content() == first


def test_the_table_of_patients_is_sorted_and_changed(opened, report):
    page = opened()
    table = page.locator(".predicted:not([hidden]) table")
    column = table.get_by_role("button", name="patient")
    column.focus()
    page.keyboard.press("Enter")
    names = table.locator("tbody th").all_text_contents()
    assert names == sorted(names)
    page.keyboard.press("Enter")
    assert table.locator("tbody th").all_text_contents() == names[::-1]
    assert column.locator("..").get_attribute("aria-sort") == "descending"
    table.get_by_role("button", name="probability").click()
    shown = [float(text) for text in table.locator("tbody .withtext span").all_text_contents()]
    assert shown == sorted(shown)
    page.select_option("#which", "1")
    assert "nearest neighbour" in page.locator(".predicted:not([hidden]) caption").text_content()
    assert page.locator(".predicted:not([hidden])").count() == 1


def test_sides_and_curves_are_chosen(opened, report):
    page = opened()
    count = "document.getElementById('map').data.flatMap((t) => t.customdata ?? []).length"
    sizes = report.points.table["split"].value_counts()
    assert page.evaluate(count) == sizes["test"]
    page.get_by_role("checkbox", name="train").check()
    assert page.evaluate(count) == sizes["test"] + sizes["train"]
    page.select_option("#colour", "split")
    assert page.locator("#map .legendtext").all_text_contents() == ["test", "train"]
    page.select_option("#colour", "trial")
    assert page.locator("#map .legendtext").count() == 0
    assert "kinds of trial" in page.locator("#map .annotation-text").text_content()
    lines = "document.getElementById('curves').data.map((line) => [line.name, line.y])"
    assert page.evaluate(lines) == [["train/loss", pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])]]
    page.select_option("#curve-group", label="Representation")
    assert page.evaluate(lines)[0][0] == "train/uniformity"


def luminance(colour):
    channels = np.array(colour) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


TEXTS = """() => {
    const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
        if (!element.checkVisibility() || ["SCRIPT", "OPTION"].includes(element.tagName)) continue;
        if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
        const svg = element instanceof SVGElement;
        const style = getComputedStyle(element);
        let back = element;
        while (back && (rgb(getComputedStyle(back).backgroundColor)[3] ?? 1) === 0) back = back.parentElement;
        const ground = getComputedStyle(back ?? document.body).backgroundColor;
        found.push([element.textContent.trim().slice(0, 30), rgb(svg ? style.fill : style.color), rgb(ground)]);
    }
    return found;
}"""


def weak_texts(page):
    weak = []
    for text, colour, ground in page.evaluate(TEXTS):
        high, low = sorted((luminance(colour[:3]), luminance(ground[:3])), reverse=True)
        if (high + 0.05) / (low + 0.05) < 4.5:
            weak.append((text, colour, ground))
    return weak


def test_texts_stand_out_and_plots_follow_the_theme(opened):
    page = opened()
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    grounds = "[...document.querySelectorAll('.plot')].map((one) => one.layout.paper_bgcolor)"
    body = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert len(page.evaluate(TEXTS)) > 100
    assert weak_texts(page) == []
    assert page.evaluate(grounds) == ["#ffffff"] * 3
    page.emulate_media(color_scheme="dark")
    for _ in range(100):
        if "#ffffff" not in page.evaluate(grounds):
            break
        page.wait_for_timeout(50)
    assert luminance(page.evaluate(body)) < 0.05
    assert page.evaluate(grounds) == ["#14171c"] * 3
    assert weak_texts(page) == []


def test_nothing_is_wider_than_a_telephone(opened, report):
    page = opened(width=400)
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    wide = page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter((element) =>
            element.checkVisibility() && !element.closest(".scroll, pre, svg, .skip, .js-plotly-plot")
            && element.getBoundingClientRect().right > 400).map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert wide == []
    assert page.evaluate("document.getElementById('map').getBoundingClientRect().width") <= 400
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('main p')).fontSize)") >= 14
    assert page.evaluate("[...document.querySelectorAll('.scroll')].some((e) => e.scrollWidth > e.clientWidth)")


def test_a_script_of_others_does_not_run(browser, file):
    page = browser.new_page()
    page.goto(file.as_uri())
    stopped = page.evaluate(
        """() => new Promise((done) => {
            document.addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
            setTimeout(() => done(null), 3000);
            const script = document.createElement("script");
            script.textContent = "window.attacked = 1";
            document.body.append(script);
        })"""
    )
    assert stopped == "script-src-elem"
    assert page.evaluate("window.attacked") is None
    page.close()


def test_a_report_without_plots_works(opened, report, file):
    plain = replace(report, points=None, history=None, notes={"map": "There is no map."})
    page = opened(path=write_report(plain, file.with_name("plain.html")))
    assert "There is no map." in page.locator("#map-section").text_content()
    page.locator(".predicted:not([hidden])").get_by_role("button", name="patient").click()
    assert page.locator("[aria-sort=ascending]").count() >= 1
    assert page.evaluate("typeof Plotly") == "undefined"
