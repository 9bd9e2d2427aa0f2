import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from skimage import data

from esrgan_jax.evaluation.page import ResultPage, most_different
from esrgan_jax.evaluation.scores import Result, score
from esrgan_jax.evaluation.table import ResultTable, Row
from esrgan_jax.imaging import imresize, rgb_to_y

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def photo():
    hr = data.chelsea()[:296, :448]
    lr = imresize(hr, 1 / 4)
    return {"lr": lr, "hr": hr}, imresize(lr, 4)


def write(path, photo, model="net.pth", name="chelsea.png", sr=None):
    pair, bicubic = photo
    sr = bicubic if sr is None else sr
    bicubic_scores, scores = (score(name, picture, pair["hr"], 4) for picture in (bicubic, sr))
    report = ResultTable(
        model, "1 of photos", "made", 4, 4, [name], (28.42, 0.8104), [Row(name, scores, bicubic_scores)]
    )
    page = ResultPage()
    page.add(report.rows[0], Result(name, pair, sr, scores), bicubic, report.methods)
    page.write(path, report)
    return path.read_text(encoding="utf-8")


def pictures(page):
    found = re.findall(
        r'<figure class="(\w+)"><img src="data:(image/\w+);base64,([^"]+)" alt="([^"]*)">', page
    )
    return [
        (kind, caption, np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")))
        for kind, _, data, caption in found
    ]


def test_pictures_are_the_same_part_of_each_lossless(tmp_path, photo):
    pair, bicubic = photo
    sr = np.clip(bicubic.astype(int) + 5, 0, 255).astype(np.uint8)
    whole, *details = pictures(write(tmp_path / "report.html", photo, sr=sr))
    assert whole[0] == "whole"
    assert max(whole[2].shape) == 384
    part = most_different(bicubic, pair["hr"], 192)
    for (kind, caption, shown), (label, image) in zip(
        details, (("bicubic: ", bicubic), ("model: ", sr), ("HR", pair["hr"])), strict=True
    ):
        assert kind == "detail"
        assert caption.startswith(label)
        np.testing.assert_array_equal(shown, image[part])
    scores = score("chelsea.png", bicubic, pair["hr"], 4)
    psnr = f"PSNR Y {scores['psnr_y']:.2f} dB, PSNR RGB {scores['psnr_rgb']:.2f} dB"
    assert details[0][1] == f"bicubic: {psnr}, SSIM Y {scores['ssim_y']:.4f}"


def test_bicubic_alone_is_shown_once(tmp_path, photo):
    captions = [caption for _, caption, _ in pictures(write(tmp_path / "report.html", photo, "bicubic"))]
    assert [caption.split(":")[0] for caption in captions[1:]] == ["bicubic", "HR, the original"]


def test_the_page_is_whole_and_needs_no_other_file(tmp_path, photo):
    page = write(tmp_path / "report.html", photo)

    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.sources = [], []

        def handle_starttag(self, tag, attrs):
            self.sources += [value for name, value in attrs if name in ("src", "href")]
            if tag not in ("meta", "img"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert all(source.startswith("data:image/") for source in parser.sources)
    assert "http" not in page
    assert "Bicubic on Y in ESRGAN&#x27;s paper: 28.42 dB, 0.8104." in page
    assert len(page) < 600_000
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_names_are_no_markup(tmp_path, photo):
    page = write(tmp_path / "report.html", photo, model="<b>.pth", name="<script>&.png")
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;&amp;.png" in page


def test_the_part_that_differs_most():
    a = np.zeros((50, 70, 3), np.uint8)
    b = a.copy()
    b[20:30, 41:51] = 200
    b[0, 0] = 255
    assert most_different(a, b, 10) == (slice(20, 30), slice(41, 51))
    assert most_different(a, b, 60) == (slice(0, 50), slice(0, 60))
    assert most_different(a, b, 192) == (slice(0, 50), slice(0, 70))


def test_no_other_part_differs_more():
    a, b = np.random.default_rng(0).integers(0, 256, (2, 20, 25, 3), dtype=np.uint8)
    error = (rgb_to_y(a) - rgb_to_y(b)) ** 2
    sums = {(y, x): error[y : y + 6, x : x + 6].sum() for y in range(15) for x in range(20)}
    top, left = max(sums, key=sums.get)
    assert most_different(a, b, 6) == (slice(top, top + 6), slice(left, left + 6))


def test_small_pictures_are_shown_whole(tmp_path):
    hr = data.chelsea()[100:140, 100:132]
    pair = {"lr": imresize(hr, 1 / 4), "hr": hr}
    shown = pictures(write(tmp_path / "report.html", (pair, imresize(pair["lr"], 4))))
    assert [image.shape for _, _, image in shown] == [(40, 32, 3)] * 4


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_as_wide_as_the_screen(tmp_path, photo, width):
    page = write(tmp_path / "report.html", photo, "4x_a_model_with_a_long_name_" * 4, "x" * 90 + ".png")
    page = json.dumps(page).replace("</", "<\\/")  # or a </script> in it would end the script
    # A frame as wide as the screen: a browser's own window has a smallest width.
    frame = f"""<iframe id="frame" style="width: {width}px; height: 800px; border: 0"></iframe><p></p><script>
    const frame = document.getElementById("frame")
    frame.onload = () => {{
      const root = frame.contentDocument.documentElement
      if (!root.querySelector("table")) return  // the empty page before it
      document.querySelector("p").textContent = `measured ${{root.scrollWidth}} of ${{root.clientWidth}}`
    }}
    frame.srcdoc = {page}</script>"""
    (tmp_path / "frame.html").write_text(frame, encoding="utf-8")
    command = [
        BROWSER,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}/profile",
    ]
    command += ["--virtual-time-budget=5000", "--dump-dom", (tmp_path / "frame.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    needed, there = map(int, re.search(r"measured (\d+) of (\d+)", shown).groups())
    assert there == pytest.approx(width, abs=20)  # a scroll bar
    assert needed == there
