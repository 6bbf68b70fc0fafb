"""`sao audit --html`: one page that needs nothing else, harmless whatever the names, and its script in a browser."""

import base64
import hashlib
import html
import html.parser
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import click.testing
import numpy as np
import pytest

import sao_cli.pages
from sao_cli.cli import main
from sao_cli.io.checkpoints import write_checkpoint
from sao_cli.models.audit.chains import audit_chain, audit_summary
from sao_cli.models.audit.row import audit_weight
from sao_cli.pages.audit import STATIC, TITLES, AuditReport, audit_page
from sao_cli.pages.bins import histogram
from sao_cli.pages.verdicts import KS_P, verdicts
from sao_cli.reports.audits import AuditComparison

RNG = np.random.default_rng(0)
EVIL = "</script><script>document.title='evil'</script>"
MODEL = {
    "body.0.weight": np.linalg.qr(RNG.normal(size=(16, 16)))[0],
    "body.1.weight": sao_cli.sao_weight(16, 16, 4).to_dense(),
    "body.0.bias": np.zeros(16),
    f"head.{EVIL}": RNG.normal(size=(12, 16)) * (np.arange(12) != 3)[:, None],
    "\x1b[31m<!--&lt;\n": np.ones((5, 7)) - np.eye(5, 7),
    "\u202eembed.<i>": np.zeros((0, 4)),
}
OPTIONS = ("--check", "dead_outputs==0", "--check", "sigma_min>0.5", "--check", "dtype != \x1b[31m<i>")


class Parsed(html.parser.HTMLParser):
    """The tags with their attributes, and the text outside of scripts and styles, which `raw` has."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.raw, self.text = [], [], ""
        self.inside = None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self.inside = tag
            self.raw.append("")

    def handle_endtag(self, tag):
        self.inside = None if tag == self.inside else self.inside

    def handle_data(self, data):
        if self.inside is None:
            self.text += data
        else:
            self.raw[-1] += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """model.safetensors and before.safetensors, and report.html, which compares them."""
    folder = tmp_path_factory.mktemp("page")
    write_checkpoint(MODEL, folder / "model.safetensors")
    write_checkpoint(MODEL | {"body.1.weight": np.eye(16) / 2}, folder / "before.safetensors")
    page(folder, "report.html")
    return folder


def page(folder, name):
    files = [str(folder / "model.safetensors"), "--compare", str(folder / "before.safetensors")]
    done = click.testing.CliRunner().invoke(main, ["audit", *files, "--html", str(folder / name), *OPTIONS])
    assert done.exit_code == 1, done.stderr
    return (folder / name).read_text(encoding="utf-8")


def test_the_page_is_whole_in_itself_and_the_same_twice(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    again = page(folder, "again.html")
    assert again == text.replace("report.html", "again.html")
    found = Parsed(text)
    references = [value for _, one in found.tags for key, value in one.items() if key in ("src", "href", "action")]
    assert references == ["data:,"]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", text)
    policy = next(one["content"] for _, one in found.tags if one.get("http-equiv") == "Content-Security-Policy")
    style, _, script = found.raw
    for kind, part in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_hostile_names_are_text(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    found = Parsed(text)
    assert [tag for tag, _ in found.tags if tag in ("script", "style")] == ["style", "script", "script"]
    assert {tag for tag, _ in found.tags} & {"i", "b", "img", "iframe"} == set()
    assert not any(key.startswith("on") for _, one in found.tags for key in one)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert f"head.{EVIL}" in found.text
    assert r"'\x1b[31m<!--&lt;\n'" in found.text
    assert "dtype != \\x1b[31m<i>" in found.text  # of the command line
    data = found.raw[1]
    assert not set(data) & set("<>&")
    chain, unknown = json.loads(data)["chains"]
    assert chain["layers"] == ["body.0.weight", "body.1.weight"]
    assert f"head.{EVIL}" in unknown["layers"]


def test_what_it_says(folder):
    text = " ".join(Parsed((folder / "report.html").read_text(encoding="utf-8")).text.split())
    for said in (
        "2 of 3 checks fail: dead_outputs==0 on 1 layer; sigma_min>0.5 on 1 layer.",
        "2 of 4 layers are disconnected: body.1.weight (4 components)",
        "2 of 4 layers are isometric: singular values within 5 % of 1.",
        "1 layer lost isometry, sigma_min under 1 % of sigma_max: head.",
        "The chain of 2 layers from body.0.weight to body.1.weight is connected",
        "Who reaches whom through 2 layers the file does not tell: the names do not tell where",
        "empty: 1 tensor",
        "0.5 → 1",  # sigma_max since before.safetensors
        "--check dead_outputs==0 --check 'sigma_min>0.5'",
        f"sao {sao_cli.__version__}",
    ):
        assert said in text, said


def test_the_page_of_a_checkpoint_without_layers_says_so(tmp_path):
    write_checkpoint({"a.bias": np.ones(3)}, tmp_path / "a.safetensors")
    arguments = ["audit", str(tmp_path / "a.safetensors"), "--html", str(tmp_path / "a.html")]
    assert click.testing.CliRunner().invoke(main, arguments).exit_code == 2
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "Nothing was audited" in text
    assert "a.bias" in text


def report(weights, **facts):
    rows = [audit_weight(weight, name=name) for name, weight in weights.items()]
    chains = audit_chain(rows)
    summary = audit_summary(rows, chains)
    return AuditReport(model="m", rows=rows, skipped={}, chains=chains, summary=summary, **facts)


def said(weights, **facts):
    told = report(weights)
    return [(one.level, one.text) for one in verdicts(told.rows, told.chains, told.summary, **facts)]


def test_good_verdicts():
    scaled = 3 * np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    assert said({"a": scaled, "b": scaled}, checks=["rank==8"]) == [
        ("good", "The check holds on every layer."),
        ("good", "All 2 layers are connected."),
        ("good", "All 2 layers are isometric: singular values within 5 % of 3."),
        ("good", "The chain of 2 layers from a to b is connected: every input reaches every output, from layer 1 on."),
    ]


def test_bad_verdicts():
    holes = np.diag([1.0, 1.0, 1.0, 0.0])
    lost = "1 input reaches no output; 1 output is reached by no input"
    told = dict.fromkeys(text for level, text in said({"a": holes, "b": holes}) if level == "bad")
    assert list(told) == [
        "2 layers have dead inputs or outputs: a (1 input and 1 output), b (1 input and 1 output).",
        "2 layers lost isometry, sigma_min under 1 % of sigma_max: a (sigma_min 0), b (sigma_min 0).",
        "2 layers are rank-deficient: a (3 of 4), b (3 of 4).",
        f"The chain of 2 layers from a to b: 18.8 % of the pairs of an input and an output are linked; {lost}.",
    ]
    empty = report({})
    assert verdicts([], [], empty.summary)[0].text == "Nothing was audited: every tensor was skipped."


@pytest.mark.parametrize("top", [1e-200, 1e-3, 0.7, 1.0, 1.02, 3.0, 23.9, 24.0, 1e9])
def test_a_histogram_counts_every_value_where_it_is(top):
    values = np.append(np.random.default_rng(0).random(50) * top, top)
    found = histogram(values)
    assert sum(found.counts) == 51
    assert len(found.counts) <= 49
    assert found.median == np.median(values)
    if top >= 1e-100:
        centres = np.repeat(np.arange(len(found.counts)) * found.width, found.counts)
        assert np.abs(centres - np.sort(values)).max() <= found.width * 0.501
    if 0.5 <= top < 24:
        assert 1 / found.width == pytest.approx(round(1 / found.width))


def test_500_layers_take_less_than_a_megabyte():
    rng = np.random.default_rng(0)
    one = report({"layer": rng.normal(size=(24, 24)) * (rng.random((24, 24)) < 0.3)})
    rows = [replace(one.rows[0], name=f"encoder.layers.{k}.attention.self.query.weight") for k in range(500)]
    histograms = {row.name: histogram(row.singular_values) for row in rows}
    skipped = {"bias": [f"encoder.layers.{k}.bias" for k in range(100_000)]}
    page = audit_page(replace(one, rows=rows, skipped=skipped, histograms=histograms, checks=["rank==24"]))
    assert 300_000 < len(page) < 1_000_000
    assert "and 99,950 more" in page
    assert json.loads(Parsed(page).raw[1])["names"] == [row.name for row in rows]
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    assert body.count("<tr>") == STATIC  # the others are rows when they come near the window
    assert "The first 100 of 500 layers; with JavaScript all of them." in page


def section(page, name):
    """What stands in a section of the page, by its id."""
    start = page.index(f'<section id="{name}">')
    return page[start : page.index("</section>", start)]


def data_of(page):
    return json.loads(Parsed(page).raw[1])


def test_the_main_picture_has_each_layer_on_one_scale_with_what_it_was_before():
    rng = np.random.default_rng(0)
    now = {name: rng.normal(size=(6, 8)) for name in "abc"}
    before = [
        audit_weight(3 * now["c"], name="c"),
        audit_weight(2 * now["a"], name="a"),
        audit_weight(np.eye(4), name="x"),
    ]
    whole = report(now)
    page = audit_page(replace(whole, changes=_changes_of("a"), compared="then", earlier=before))
    assert re.findall(r'data-sigma="(\w+)"', section(page, "sigma")) == ["before", "now"]
    told = data_of(page)["sigma"]
    values = {name: np.linalg.svd(one, compute_uv=False) for name, one in now.items()}
    for (low, middle, high, exact), one in zip(told["now"], values.values(), strict=True):
        assert (low, middle, high) == pytest.approx((one[-1], np.median(one), one[0]), rel=1e-5)
        assert exact
    assert told["before"][1] is None  # b is new, and x is gone
    for place, factor in ((0, 2), (2, 3)):
        assert told["before"][place][:3] == pytest.approx([factor * one for one in told["now"][place][:3]], rel=1e-5)
    alone = audit_page(whole)
    assert re.findall(r'data-sigma="(\w+)"', section(alone, "sigma")) == ["now"]
    assert data_of(alone)["sigma"]["before"] == []


def _changes_of(*names):
    facts = {
        "alpha": {"before": 2.0, "after": 3.0, "difference": 1.0},
        "rank": {"before": 5, "after": 6, "difference": 1},
    }
    return [AuditComparison(name=name, status="changed", changes=facts) for name in names]


def test_tables_have_a_heavy_tail_and_changes_and_each_heading_sorts():
    weights = {name: np.random.default_rng(0).normal(size=(6, 8)) for name in "ab"}
    whole = report(weights)
    tails = [replace(row, alpha=2.0 + k, xmin=0.1, mp_edge=1.0, outliers=k) for k, row in enumerate(whole.rows)]
    page = audit_page(replace(whole, rows=tails, changes=_changes_of("a", "b"), compared="then"))
    for name, keys in (("layers", {"alpha", "outliers", "sigma_min"}), ("changes", {"alpha", "rank", "status"})):
        heads = re.findall(r'<th scope="col" data-key="([^"]+)"[^>]*><button type="button">', section(page, name))
        assert len(heads) == section(page, name).count("<th ")
        assert keys | {"name"} <= set(heads)
    assert "2 → 3" in section(page, "changes")
    told = data_of(page)["changes"]
    assert told["rows"][1] == ["b", "changed", [{"alpha": [2.0, 3.0], "rank": [5, 6]}[key] for key in told["facts"]]]


def test_columns_that_are_empty_are_left_out_and_the_others_explained():
    page = section(audit_page(report({"a": np.eye(4)})), "layers")
    assert 'data-key="alpha"' not in page
    meanings = page[page.index("<details") : page.index("</details>")]
    for key in re.findall(r'data-key="([^"]+)"', page)[1:]:
        assert f"<dt>{TITLES.get(key, key.replace('_', ' '))}</dt>" in meanings
    assert KS_P in html.unescape(meanings)


def test_a_small_p_value_beside_isometric_is_explained_in_its_place():
    """A p of 1e-34 stood beside "isometric", and read as if one of the two were wrong."""
    nearly = np.diag(np.linspace(0.99, 1.01, 64))
    (_, good), (level, text) = said({"a": nearly})[1:3]
    assert "isometric" in good
    assert report({"a": nearly}).rows[0].ks.pvalue < 1e-6
    assert (level, text) == ("plain", f"Of these 1 has a small KS p. {KS_P}")
    assert not any("KS p" in text for _, text in said({"a": np.eye(64)}))
    assert data_of(audit_page(report({"a": nearly})))["ks"] == KS_P


def test_biases_are_skipped_without_alarm_and_weights_that_can_not_be_read_with_one():
    summary = replace(report({"a": np.eye(4)}).summary, skipped_tensors=3, skipped_reasons={"bias": 2, "NaN": 1})
    rows = report({"a": np.eye(4)}).rows
    assert verdicts(rows, [], summary)[-1] == ("plain", "3 tensors were skipped: 2 bias, 1 NaN.")
    bad = verdicts(rows, [], replace(summary, unread=("b",)))[-2]
    assert bad == ("bad", "1 weight could not be read: b.")


def test_tiles_break_no_number_and_nothing_has_a_style_that_the_policy_forbids():
    rows = report({"a": np.eye(4)})
    page = audit_page(
        replace(rows, summary=replace(rows.summary, audited_parameters=22_713_216, dead_inputs=12_345_678))
    )
    tiles = re.findall(r"<dd>([^<]*)</dd>", page[page.index('<dl class="cards">') : page.index("</dl>")])
    assert {"22.7&nbsp;M", "12.3&nbsp;M", "0&nbsp;%" if rows.summary.overall_sparsity == 0 else "75&nbsp;%"} <= set(
        tiles
    )
    assert not any(" " in tile for tile in tiles)
    assert max(len(html.unescape(tile)) for tile in tiles) <= 9
    style = Path(sao_cli.pages.__file__).with_name("audit.css").read_text()
    [rule] = re.findall(r"\.cards dd \{([^}]*)\}", style)
    assert "white-space: nowrap" in rule
    assert not any("style" in one for _, one in Parsed(page).tags)


def test_colours_have_the_contrast_that_text_needs():
    """WCAG 2: a ratio of 4.5 between text and what is behind it, in each theme."""
    style = Path(sao_cli.pages.__file__).with_name("audit.css").read_text()
    themes = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r"\{[^{}]*--ground:[^{}]*\}", style)
    ]
    assert len(themes) == 4  # light, dark by preference, dark by choice, print
    assert themes[1] == themes[2]
    for theme in themes:
        for ink in ("ink", "quiet", "accent", "good", "note", "bad"):
            for ground in ("ground", "panel", "bad-ground"):
                bright, dim = sorted((luminance(theme[ink]), luminance(theme[ground])), reverse=True)
                assert (bright + 0.05) / (dim + 0.05) >= 4.5, (ink, ground)


def luminance(colour):
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.fixture
def browser():
    """A headless browser, where there is one: playwright's own chromium, or the system's."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        own = started.chromium.executable_path
        path = own if Path(own).exists() else shutil.which("chromium") or shutil.which("google-chrome")
        if path is None:
            pytest.skip("no chromium: playwright install chromium, or a package of the system's")
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.slow
def test_in_a_browser(browser, folder):
    page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme="dark")
    troubles, loaded = [], []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: loaded.append(request.url))
    page.goto((folder / "report.html").as_uri())
    assert page.title() == f"Audit of {folder / 'model.safetensors'}"  # and not what a name would make of it

    def names():
        return [name[:6] for name in page.locator("#layers tbody tr:visible button").all_inner_texts()]

    assert names() == ["'\\x1b[", "body.0", "body.1", "head.<"]
    table = page.locator("#layers")
    sort = table.get_by_role("button", name="σ min")
    sort.focus()
    page.keyboard.press("Enter")
    assert names()[0] == "head.<"
    assert page.locator("th[aria-sort=ascending]").inner_text() == "σ min"
    sort.click()
    assert names() == ["'\\x1b[", "body.0", "body.1", "head.<"]
    page.get_by_label("Name").fill("BODY")
    assert sorted(names()) == ["body.0", "body.1"]
    page.get_by_label("Show").select_option("disconnected")
    assert names() == ["body.1"]
    assert page.get_by_role("status").inner_text() == "1 of 4 layers"
    page.get_by_label("Name").fill("")
    page.get_by_label("Show").select_option("")

    row = page.get_by_role("button", name="body.1.weight")
    row.click()
    details = page.locator(".details:visible")
    assert row.get_attribute("aria-expanded") == "true"
    assert details.get_by_role("img").get_attribute("aria-label") == "Histogram of 16 singular values up to 1"
    assert details.locator("rect").count() == 1  # all of them are 1
    assert "singular value" in details.inner_text()
    page.keyboard.press("Enter")
    assert not page.locator(".details:visible").count()
    assert page.locator("figure[data-chain] circle").count() == 2
    assert page.locator("figure[data-chain] circle title").nth(1).text_content() == "after 2, body.1.weight: 1"

    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(20, 22, 26)"
    page.get_by_role("button", name="Switch to the light theme").click()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert (troubles, len(loaded)) == ([], 1)


@pytest.mark.slow
def test_10000_layers_in_a_browser(browser, tmp_path):
    """Rows come near the window, wherever that is, and what was opened stays open."""
    rng = np.random.default_rng(0)
    one = report({"layer": rng.normal(size=(8, 8))})
    rows = [replace(one.rows[0], name=f"layers.{k}.weight", sigma_min=float(k)) for k in range(10_000)]
    (tmp_path / "a.html").write_text(audit_page(replace(one, rows=rows)), encoding="utf-8")
    page = browser.new_page(viewport={"width": 800, "height": 900})
    troubles = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto((tmp_path / "a.html").as_uri())

    def near(height):
        page.evaluate(f"scrollTo(0, document.body.scrollHeight * {height})")
        page.wait_for_timeout(200)
        return [int(row.get_attribute("aria-rowindex")) - 2 for row in page.locator("tr[aria-rowindex]").all()]

    for height, place in ((0.5, 5000), (1, 9999), (0.25, 2500)):
        there = near(height)
        assert any(abs(place - k) < 200 for k in there), there
        assert len(there) < 300
        assert there == sorted(there)
    page.locator(f'tr[aria-rowindex="{there[10] + 2}"] button').click()
    assert page.locator(".details").count() == 1
    near(0.75)
    assert page.locator(".details").count() == 0
    near(0.25)
    assert page.locator(".details").count() == 1
    sort = page.locator("#layers").get_by_role("button", name="σ min")
    sort.click()
    sort.click()
    assert page.locator("tr[aria-rowindex] button").first.inner_text() == "layers.9999.weight"
    assert troubles == []
