"""The page in a real browser, where Chromium is installed: opened from disk, driven by a script, its console read."""

import csv
import json
import re
import shutil
import subprocess
from html import unescape
from xml.etree import ElementTree

import pytest
from pages import page_of

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

#: Runs after the page's own script; every step records what a reader would see.
DRIVER = r"""
const seen = {};
const rows = () => [...document.querySelectorAll("#case-table tbody tr")].filter((row) => !row.hidden);
const column = (number) => rows().map((row) => row.cells[number].textContent);
const board = () => [...document.querySelectorAll(".board tbody th")].map((cell) => cell.textContent);
const all = (selector) => [...document.querySelectorAll(selector)];
const head = (table, name) => all(table + " th[aria-sort]").find((th) => th.dataset.name === name);
const type = (text) => {
  document.getElementById("search").value = text;
  document.getElementById("search").dispatchEvent(new Event("input"));
};
const choose = (id, value) => {
  document.getElementById(id).value = value;
  document.getElementById(id).dispatchEvent(new Event("change"));
};
seen.first = rows().length;
seen.count = document.getElementById("count").textContent;
document.getElementById("more").click();
seen.all = rows().length;
seen.more = document.getElementById("more").hidden;
head("#case-table", "Dice").querySelector("button").click();
seen.ascending = column(2);
seen.sorted = head("#case-table", "Dice").getAttribute("aria-sort");
head("#case-table", "Dice").querySelector("button").click();
seen.descending = column(2);
seen.said = document.getElementById("said").textContent;
head("#case-table", "Case").querySelector("button").click();
seen.cases = [...new Set(column(1))];
seen.others = [...document.querySelectorAll("#case-table th[aria-sort]")].filter((th) => th.ariaSort !== "none").length;
type("case_1");
seen.case1 = column(1);
type("BETA 12");
seen.words = rows().map((row) => [row.cells[0].textContent, row.cells[1].textContent]);
type("nothing like it");
seen.nothing = [rows().length, document.getElementById("count").textContent];
type("");
choose("by-method", "gamma");
choose("by-status", "missing");
seen.filtered = rows().map((row) => [row.cells[0].textContent, row.cells[1].textContent]);
choose("by-method", "");
choose("by-status", "");
head(".board", "Method").querySelector("button").click();
seen.methods = board();
head(".board", "AVD [mL]").querySelector("button").click();
seen.avd = board();
const light = ([r, g, b]) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, place) => {
  const part = [r, g, b][place] / 255;
  return sum + weight * (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
}, 0);
const rgb = (text) => text.match(/[\d.]+/g).slice(0, 3).map(Number);
const opaque = (item) => {
  const colour = getComputedStyle(item).backgroundColor;
  return colour.startsWith("rgba(0, 0, 0, 0") && item.parentElement ? opaque(item.parentElement) : colour;
};
const contrast = (item, part = "color") => {
  const [a, b] = [rgb(getComputedStyle(item)[part]), rgb(opaque(item))].map(light).sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
};
seen.themes = {};
for (let turn = 0; turn < 2; turn++) {
  document.getElementById("theme").click();
  const texts = all("h1, h2, h3, p, a, caption, small, th, td, figcaption, dt, dd, label, legend, summary, pre, button")
    .filter((item) => item.offsetParent);
  const graphs = all("figure svg text").filter((item) => item.getBoundingClientRect().width);
  seen.themes[document.documentElement.dataset.theme] = {
    paper: getComputedStyle(document.body).backgroundColor,
    text: Math.min(...texts.map((item) => contrast(item))),
    graph: Math.min(...graphs.map((item) => contrast(item, "fill"))),
    graphs: graphs.length,
  };
}
document.getElementById("theme").click();
seen.theme = [document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor];
const place = head(".board", "Dice").getBoundingClientRect();
seen.dice = [place.left, place.right, document.documentElement.clientWidth];
seen.hints = all(".hint").map((item) => [
  !item.hidden, item.nextElementSibling.scrollWidth > item.nextElementSibling.clientWidth + 1,
]);
seen.noscript = document.documentElement.className;
seen.sideways = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const reached = all("th[aria-sort] button, .scroll, .save button, input, select, a[href], summary, pre");
seen.focusable = reached.every((item) => item.tabIndex >= 0);
seen.shown = all("figure .wide, figure .narrow").filter((part) => part.offsetParent).map((part) => part.className);
const result = document.createElement("pre");
result.id = "seen";
result.textContent = JSON.stringify(seen);
document.body.append(result);
"""


#: Chooses methods and views and saves; what would be saved is read where the browser receives it.
CHOOSER = r"""
const seen = {};
const all = (selector) => [...document.querySelectorAll(selector)];
const visible = (selector) => all(selector).filter((item) => item.getBoundingClientRect().height > 0);
const names = (selector) => visible(selector).map((item) => item.textContent.trim());
const click = (name) => all("#chooser input").find((box) => box.dataset.name === name).click();
const state = () => ({
  board: names(".board tbody th"),
  matrix: [names(".matrix tbody th").length, visible(".matrix thead th").length],
  cases: [...new Set(names("#case-table tbody td:first-child"))],
  heat: visible("#heatmap .wide [data-m]").map((item) => Number(item.dataset.m)),
  heights: all("svg[data-grid]").map((svg) => svg.viewBox.baseVal.height),
  panels: visible("#volumes .wide [data-m]").map((item) => Math.round(item.getBoundingClientRect().left)),
  said: document.getElementById("said").textContent,
  chosen: document.getElementById("chosen").textContent,
  filtered: document.getElementById("filtered").hidden ? "" : document.getElementById("filtered").textContent.trim(),
});
document.getElementById("chooser").open = true;
seen.before = state();
click("beta");
seen.without = state();
const blobs = [];
URL.createObjectURL = (blob) => { blobs.push(blob); return "data:,"; };
HTMLAnchorElement.prototype.click = function () { blobs.names = [...(blobs.names || []), this.download]; };
const button = (section, text, number = 0) => all(`#${section} .save button`).filter((item) =>
  item.textContent === text)[number].click();
button("stability", "Save SVG");
button("heatmap", "Save SVG");
button("significance", "Save CSV");
button("volumes", "Save LaTeX");
button("cases", "Save CSV");
document.querySelector("#filtered button").click();
seen.after = state();
for (const text of ["None", "All"]) all("#chooser button").find((item) => item.textContent === text).click();
seen.again = state();
seen.radios = all("#heatmap .choice input").map((input) => [input.type, input.name, input.parentElement.textContent]);
seen.first = visible("#heatmap .view").map((view) => view.dataset.title);
all("#heatmap .choice input")[1].click();
seen.second = visible("#heatmap .view").map((view) => view.dataset.title);
seen.legend = document.querySelector("#heatmap .choice legend").textContent;
seen.theme = document.documentElement.dataset.theme || "";
Promise.all(blobs.map((blob) => blob.text())).then((texts) => {
  seen.saved = Object.fromEntries(blobs.names.map((name, place) => [name, texts[place]]));
  const result = document.createElement("pre");
  result.id = "seen";
  result.textContent = JSON.stringify(seen);
  document.body.append(result);
});
"""


def browse(page, profile, width=1280):
    """The page's document after its scripts, and what the browser's console said."""
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={profile}", f"--window-size={width},900", "--enable-logging=stderr", "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def check_themes(seen):
    """In both themes every text has enough contrast to its background (WCAG AA)."""
    assert {name: theme["paper"] for name, theme in seen["themes"].items()} == {
        "light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"
    }  # fmt: skip
    for theme in seen["themes"].values():
        assert theme["text"] >= 4.5
        assert theme["graphs"] > 50
        assert theme["graph"] >= 4.5


@pytest.fixture
def page(build, tmp_path):
    """Three methods with 24 cases: 72 rows, more than the table shows at once. beta lacks case 12, gamma case 3."""

    def row(method, number):
        if (method, number) in (("beta", 12), ("gamma", 3)):
            return {"status": "missing"}
        shift = {"alpha": 0.0, "beta": 0.013, "gamma": 0.007}[method]
        return {"dice": number / 30 + shift, "avd_ml": {"alpha": 3.0, "beta": 1.0, "gamma": 20.0}[method]}

    cases = build({method: [row(method, number) for number in range(1, 25)] for method in ("gamma", "beta", "alpha")})
    return page_of(cases, tmp_path / "page", resamples=50, heading="Driven")


def test_page_opens_from_disk_without_a_word_on_the_console(page, tmp_path):
    document, console = browse(page, tmp_path / "profile")
    assert console == []
    assert "50 of 72 rows shown" in document  # its policy lets its own script run
    assert 'class="noscript"' not in document


def test_sorting_searching_filters_and_theme(page, tmp_path):
    text = page.read_text()
    driven = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", text)
    assert driven != text
    page.write_text(driven.replace("</body>", f"<script>{DRIVER}</script></body>"))
    document, console = browse(page, tmp_path / "profile")
    assert console == []
    seen = json.loads(unescape(re.search(r'<pre id="seen">(.*?)</pre>', document, re.DOTALL)[1]))
    assert (seen["first"], seen["count"]) == (50, "50 of 72 rows shown")
    assert (seen["all"], seen["more"]) == (72, True)
    for order, reverse in (("ascending", False), ("descending", True)):
        assert seen[order][-2:] == ["–", "–"]
        assert seen[order][:-2] == sorted(seen[order][:-2], key=float, reverse=reverse)
    assert seen["sorted"] == "ascending"
    assert seen["said"] == "Sorted by Dice, descending."
    assert seen["cases"] == [f"case_{number}" for number in range(1, 25)]
    assert seen["others"] == 1
    assert seen["case1"] == ["case_1"] * 3
    assert seen["words"] == [["beta", "case_12"]]
    assert seen["nothing"] == [0, "No row fits."]
    assert seen["filtered"] == [["gamma", "case_3"]]
    assert seen["methods"] == ["alpha", "beta", "gamma"]
    assert seen["avd"] == ["beta", "alpha", "gamma"]
    assert seen["theme"] in (["dark", "rgb(20, 24, 29)"], ["light", "rgb(255, 255, 255)"])
    check_themes(seen)
    assert seen["noscript"] == ""
    assert seen["focusable"]
    assert seen["sideways"] <= 0
    assert set(seen["shown"]) == {"wide"}


def test_phone_shows_the_narrow_figures_and_never_scrolls_the_page_sideways(page, tmp_path):
    frame = f'<iframe src="{page.as_uri()}" width="390" height="800"></iframe>'
    text = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", page.read_text())
    page.write_text(text.replace("</body>", f"<script>{DRIVER};parent.postMessage(seen, '*')</script></body>"))
    outer = tmp_path / "outer.html"
    # a window cannot be as narrow as a phone, but a frame can
    outer.write_text(
        "<!doctype html><meta charset=utf-8><pre id=seen></pre><script>addEventListener('message', (event) => "
        f"{{ document.getElementById('seen').textContent = JSON.stringify(event.data); }})</script>{frame}"
    )
    document, console = browse(outer, tmp_path / "profile")
    assert console == []
    seen = json.loads(unescape(re.search(r'<pre id="seen">(.*?)</pre>', document, re.DOTALL)[1]))
    assert set(seen["shown"]) == {"narrow"}
    assert seen["sideways"] <= 0
    check_themes(seen)
    left, right, width = seen["dice"]
    assert 0 <= left < right <= width <= 390  # the main metric is there without scrolling
    assert any(shown for shown, _ in seen["hints"])
    assert all(shown == wider for shown, wider in seen["hints"])


@pytest.fixture
def chosen(page, tmp_path):
    """What a reader who hides a method, saves, and chooses another view sees."""
    text = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", page.read_text())
    page.write_text(text.replace("</body>", f"<script>{CHOOSER}</script></body>"))
    document, console = browse(page, tmp_path / "profile")
    assert console == []
    return json.loads(unescape(re.search(r'<pre id="seen">(.*?)</pre>', document, re.DOTALL)[1]))


def test_methods_are_chosen_views_change_and_what_is_shown_is_saved(chosen):
    check_choice(chosen)
    check_saved(chosen["saved"])
    assert chosen["legend"] == "Cases ordered by"
    assert [kind for kind, _, _ in chosen["radios"]] == ["radio", "radio"]  # arrow keys are the browser's own
    assert len({name for _, name, _ in chosen["radios"]}) == 1
    assert (chosen["first"], chosen["second"]) == (["lesion volume"], ["difficulty"])
    assert chosen["theme"] == ""  # saving in light colours leaves the theme as it was


def check_choice(seen):
    """A hidden method disappears everywhere, figures close the gap, and everything comes back."""
    before, without = seen["before"], seen["without"]
    assert sorted(before["board"]) == ["alpha", "beta", "gamma"]
    place = before["board"].index("beta")
    assert without["board"] == [name for name in before["board"] if name != "beta"]
    assert (before["matrix"], without["matrix"]) == ([6, 6], [4, 4])
    assert "beta" not in without["cases"]
    assert without["heat"] == [number for number in (0, 1, 2) if number != place]
    assert all(low <= high for low, high in zip(without["heights"], before["heights"], strict=True))
    assert sum(without["heights"]) < sum(before["heights"])
    assert without["panels"][:2] == before["panels"][:2]  # the panels that are left take the first places
    assert (before["chosen"], without["chosen"]) == ("all 3", "2 of 3")
    assert (before["filtered"], without["filtered"]) == ("", "2 of 3 methods: show all")
    assert without["said"] == "2 of 3 methods are shown."
    for state in (seen["after"], seen["again"]):
        assert {**state, "said": "", "cases": []} == {**before, "said": "", "cases": []}


def check_saved(saved):
    """Saved figures have neither variables of the page nor the hidden method; saved tables have the remaining rows."""
    assert list(saved) == ["stability-1.svg", "heatmap-1.svg", "significance-1.csv", "volumes-1.tex", "cases-1.csv"]
    for name in ("stability-1.svg", "heatmap-1.svg"):
        figure = ElementTree.fromstring(saved[name])
        assert figure.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in saved[name]
        assert "#1a1f26" in saved[name]  # the light theme's ink
        words = " ".join(figure.itertext())
        assert "alpha" in words
        assert "beta" not in words
    rows = list(csv.reader(saved["significance-1.csv"].splitlines()))
    assert {len(row) for row in rows} == {3}
    assert sorted(rows[0][1:]) == ["alpha", "gamma"]
    cases = list(csv.DictReader(saved["cases-1.csv"].splitlines()))
    assert len(cases) == 48  # all that fit, not the fifty on show
    assert list(cases[0])[:3] == ["Method", "Case", "Dice"]
    case = next(row for row in cases if (row["Method"], row["Case"]) == ("alpha", "case_12"))
    assert case["Dice"] == "0.400"
    missing = next(row for row in cases if (row["Method"], row["Case"]) == ("gamma", "case_3"))
    assert missing["Dice"] == ""
    lines = saved["volumes-1.tex"].splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrrrr}"
    assert lines[2].startswith("Method & Cases & Bias [mL] & ")
    assert sorted(line.split(" & ")[0] for line in lines[4:-2]) == ["alpha", "gamma"]


def test_without_a_script_everything_is_there_to_read(page, tmp_path):
    """The policy forbids all scripts: no button that does nothing, every view shown, the ranking's files to save."""
    text = re.sub(r"script-src '[^']*'", "script-src 'none'", page.read_text())
    page.write_text(text)
    document, _ = browse(page, tmp_path / "profile")
    assert 'class="noscript"' in document
    assert 'class="choice"' not in document
    views = re.findall(r'<div class="view"[^>]*>', document)
    assert len(views) == 2
    assert not any("hidden" in view for view in views)
    assert document.count("<tr>") + document.count("<tr data-m") > 72  # no row of a case is held back
    assert document.count('download="leaderboard.csv"') == 1
    assert "Save SVG" not in re.sub(r"<script>.*?</script>", "", document, flags=re.DOTALL)
