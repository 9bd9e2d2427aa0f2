import json
import math

from esrgan_jax.evaluation.table import ResultTable, Row

SCORES = {"psnr_y": 28.421, "psnr_rgb": 26.004, "ssim_y": 0.81044, "ssim_rgb": 0.79}
BETTER = {"psnr_y": 32.6049, "psnr_rgb": 30.64, "ssim_y": 0.9002, "ssim_rgb": 0.8559}


def make(model="net.pth", names=("baby.png", "a/very/long/path/to/a/picture/far/below/woman.png"), **fields):
    report = ResultTable(model, "2 of Set5", "made", 4, 4, list(names), **fields)
    report.rows.extend(Row(name, BETTER, SCORES) for name in names)
    return report


def test_the_table_lines_up():
    report = make()
    lines = [*report.table_head(), *map(report.table_row, report.rows), report.table_row(report.mean())]
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split() == ["image", *["bicubic", "model"] * 4]
    assert " ".join(lines[2].split()) == "baby.png 28.42 32.60 26.00 30.64 0.8104 0.9002 0.7900 0.8559"
    assert lines[3].startswith("...")
    assert "below/woman.png " in lines[3]
    assert lines[4].startswith("mean ")
    # Each title ends where its last column does.
    for title in ("PSNR Y [dB]", "PSNR RGB [dB]", "SSIM Y", "SSIM RGB"):
        end = lines[0].index(title) + len(title)
        assert lines[1][:end].endswith("model")


def test_bicubic_alone_has_one_column_a_score():
    report = make("bicubic")
    assert report.table_head()[1].split() == ["image", *["bicubic"] * 4]
    assert report.table_row(report.rows[0]).split() == ["baby.png", "28.42", "26.00", "0.8104", "0.7900"]
    assert len({len(line) for line in [*report.table_head(), report.table_row(report.rows[0])]}) == 1


def test_published_scores():
    assert make(published=(28.42, 0.8104)).remark() == "Bicubic on Y in ESRGAN's paper: 28.42 dB, 0.8104."
    assert make().remark() == ""


def test_json_holds_everything_and_infinity_is_null():
    report = make()
    report.rows[0] = Row("baby.png", BETTER | {"psnr_y": math.inf}, SCORES)
    found = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert found["images"][0] == {"name": "baby.png", "model": BETTER | {"psnr_y": None}, "bicubic": SCORES}
    assert found["mean"]["model"]["psnr_y"] is None
    assert found["mean"]["bicubic"] == SCORES
    assert (found["scale"], found["crop_border"], found["model"]) == (4, 4, "net.pth")
    assert (found["source"], found["lr"]) == ("2 of Set5", "made")
    assert "4 pixels are cut" in found["protocol"]
