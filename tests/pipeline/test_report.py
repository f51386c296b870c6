"""The page: whole at any stage of a run, nothing from outside, every text escaped, and the right numbers in it."""

from __future__ import annotations

import json
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frmdn.agent.agent import Agent, AgentConfig
from frmdn.agent.vision import ConvVAE, VisionConfig
from frmdn.controller.linear import LinearController
from frmdn.envs import get_spec
from frmdn.pipeline.drawing.canvas import Controls
from frmdn.pipeline.files import read_json, write_json
from frmdn.pipeline.report import page
from frmdn.pipeline.report.drive import DriveRecord
from frmdn.pipeline.report.findings import read_findings
from frmdn.pipeline.report.write import write_report
from frmdn.pipeline.workspace import Workspace

TITLES = (
    "Watch it",
    "Evaluation 2",
    "How it learnt",
    "What the vision keeps",
    "What the memory expects",
    "Where the time went",
    "Make it again",
)
VOID = {"meta", "br", "img", "input", "link", "hr"}


class Reader(HTMLParser):
    """Checks that tags nest, and gathers text, attributes and the addresses that a browser would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def section(self, title: str) -> str:
        """The words of one section, from its title to that of the next."""
        words = self.words()
        ends = [words.index(other, words.index(title)) for other in TITLES if other in words.partition(title)[2]]
        return words[words.index(title) : min(ends, default=len(words))]


def read(path: Path) -> Reader:
    reader = Reader(path.read_text())
    for tag, attributes in reader.tags:
        for name in ("src", "href", "poster", "data", "xlink:href"):
            value = attributes.get(name) or ""
            assert not value or value.startswith(("data:", "#")), f"<{tag} {name}={value[:60]}> is outside the page"
        assert tag not in ("script", "link", "iframe")
        if tag in ("video", "img"):
            assert attributes.get("aria-label") or attributes.get("alt")
        if tag == "svg":
            assert attributes.get("aria-label") and attributes.get("role") == "img"
    assert not re.findall(r"url\((?!#|\"#|'#)", path.read_text())
    return reader


def put(folder: Path, name: str, value: Any) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def entry(returns: list[float]) -> dict[str, Any]:
    mean = float(np.mean(returns))
    lengths = list(range(600, 600 + len(returns)))
    return {"returns": returns, "mean": mean, "std": 12.5, "ci95": [mean - 9, mean + 9], "lengths": lengths}


def evaluation(returns: list[float], chance: list[float]) -> dict[str, Any]:
    whole = {"env": "CarRacing-v3", "policy": "agent", "versions": {"torch": "2.9"}}
    seeds = list(range(7001, 7001 + len(returns)))
    report = entry(returns) | whole | {"seconds": 61.0, "episodes": len(returns), "seeds": seeds}
    return report | {"baselines": {"random": entry(chance)}}


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    put(
        tmp_path,
        "config.json",
        {"env": "CarRacing-v3", "seed": 4, "search": {"sigma": 0.125}, "memory": {"density": "rmdn"}},
    )
    put(tmp_path, "rollouts/done.json", {"seconds": 100.0, "units": 12, "result": "12 episodes"})
    put(tmp_path, "vision/begun.json", {"seconds": 25.0, "units": 300})
    put(tmp_path, "vision/history.jsonl", lines(*({"step": i, "loss": 9.0 / i, "kl": 1.0} for i in (1, 2, 3))))
    put(tmp_path, "memory/history.jsonl", lines({"step": 1, "nll_per_dim": -0.5}) + '{"step": 2, "nll')
    search = {"mean": 5.0, "best": 9.0, "std": 1.0, "sigma": 0.1, "episodes": 64, "seconds": 3.0}
    put(tmp_path, "controller/history.jsonl", lines({"generation": 1} | search, {"generation": 2} | search))
    put(tmp_path, "evaluation.json", evaluation([811.0, 823.0], [-31.0, -33.0]))
    return tmp_path


def drive(steps: int = 20) -> DriveRecord:
    frames = np.zeros((steps + 1, 64, 64, 3), np.uint8)
    frames[:] = 10 * np.arange(steps + 1)[:, None, None, None]  # plain pictures, quick to encode
    zeros = np.zeros((steps, 3), np.float32)
    controls = Controls("CarRacing-v3", zeros[0], zeros[0] + 1)
    return DriveRecord(7001, frames, frames, frames, zeros, zeros[:, 0] + 2, controls)


def seeing_agent() -> Agent:
    torch.manual_seed(0)
    spec = get_spec("CarRacing-v3")
    vision = ConvVAE(VisionConfig(latent=8, decoder="fast"))
    return Agent(vision, None, LinearController(8, 3), spec.action.squash, AgentConfig("z"))


def test_the_whole_page(run: Path) -> None:
    record = drive()
    path = write_report(
        Workspace(run), agent=seeing_agent(), drive=record, held_out=record.frames, command="frmdn run -x"
    )
    assert path == run / "report.html" and (run / "agent.webm").stat().st_size > 1000
    reader = read(path)
    words = reader.words()
    for fact in (
        "817 ± 12",  # mean ± std
        "2 held-out tracks",
        "808 to 826",  # the interval
        "\N{MINUS SIGN}32 random policy",
        "+849",  # against random: a difference, as the random policy is below zero
        "128 episodes of search",
        "2 min 05 s",  # 100 s + 25 s
        "Seed 7001: return 40 after 20 steps",
        "search.sigma 0.125",
        "frmdn run -x",
        "torch 2.9",
        "7002 823.0 601",
        "RMDN",
    ):
        assert fact in words, fact
    assert "Not yet" not in words and "times)" not in words
    assert [attributes["src"][:21] for tag, attributes in reader.tags if tag == "video"] == [
        "data:video/webm;base64"[:21]
    ]
    assert path.stat().st_size < 3 * 2**20


def test_each_figure_stands_under_its_head(run: Path) -> None:
    """Cells swapped in a row, or rows swapped between policies, would be a wrong page that looks right."""
    report = read_json(run / "evaluation.json")
    report |= {"returns": [811.0, 859.0, 802.0], "seeds": [7, 8, 9], "lengths": [600, 555, 610], "episodes": 3}
    put(run, "evaluation.json", report)
    words = read(write_report(run)).words()
    assert "policy mean std 95 % interval worst best episodes" in words
    assert "agent 817.0 12.5 808.0 to 826.0 802.0 859.0 3" in words
    minus = "\N{MINUS SIGN}"
    assert f"random {minus}32.0 12.5 {minus}41.0 to {minus}23.0 {minus}33.0 {minus}31.0 2" in words
    assert "seed return steps 7 811.0 600 8 859.0 555 9 802.0 610" in words
    assert "Evaluation seeds 7, 8, 9" in words
    assert "collect done 100.0 12 episodes 12 episodes vision partial 25.0 300 steps" in words.replace(",", "")


def test_the_sections_stand_in_their_order_with_their_own_words(run: Path) -> None:
    record = drive()
    reader = read(write_report(run, agent=seeing_agent(), drive=record, held_out=record.frames))
    places = [reader.words().index(title) for title in TITLES]
    assert places == sorted(places)
    assert "Seed 7001: return 40 after 20 steps" in reader.section("Watch it")
    assert "from 8 numbers each" in reader.section("What the vision keeps")
    assert "one step earlier" in reader.section("What the memory expects")
    shares = [attributes["style"] for _, attributes in reader.tags if attributes.get("class") == "bar"]
    assert shares == ["width:80.0%", "width:20.0%"]  # 100 s of collecting, 25 s of vision
    labels = [attributes["aria-label"] or "" for tag, attributes in reader.tags if tag == "svg"]
    assert [label.split("; at the end: ")[1] for label in labels if "Learning" in label] == [
        "loss 3, kl 1",
        "nll per dim -0.5",
        "mean 5, best 9, std 1, sigma 0.1",
    ]
    curves = [text for text in reader.text if text in ("total loss", "next latent", "return by generation")]
    assert curves == ["total loss", "next latent", "return by generation"]


def test_what_a_world_measures_stands_beside_the_policies(run: Path) -> None:
    report = read_json(run / "evaluation.json")
    for one, distance, cleared in ((report, 1234.0, 0.5), (report["baselines"]["random"], 321.0, 0.0)):
        one |= {"distance": distance, "distance_each": [distance] * 2}
        one |= {"cleared": cleared, "cleared_ci95": [cleared, cleared + 0.25], "cleared_each": [cleared] * 2}
    put(run, "evaluation.json", report)
    words = read(write_report(run)).words()
    assert "policy distance cleared agent 1,234 0.50 (0.50 to 0.75) random 321 0.00 (0.00 to 0.25)" in words


def test_a_ratio_stands_where_both_means_are_above_zero(run: Path) -> None:
    put(run, "evaluation.json", evaluation([300.0, 300.0], [100.0, 100.0]))
    assert "+200 against random (3.0 times)" in read(write_report(run)).words()


def test_time_and_episodes_of_all_rounds_count(run: Path) -> None:
    before = read_findings(run)
    config = read_json(run / "config.json")
    write_json(run / "config.json", {**config, "rounds": {"count": 2, "number": 1}})
    write_json(run / "rounds" / "done.json", {"seconds": 90.0, "units": 2, "result": "2 rounds"})
    (run / "round-02" / "controller").mkdir(parents=True)
    (run / "round-02" / "controller" / "history.jsonl").write_text(lines({"generation": 1, "episodes": 70}))
    (run / "rounds" / "history.jsonl").write_text(
        lines({"round": 1, "validation": 3.0, "real_steps": 10}, {"round": 2, "validation": 5.0, "real_steps": 20})
    )
    (run / "rounds" / "finals.jsonl").write_text(lines({"round": 2, "final": 4.0}))
    after = read_findings(run)
    assert after.rounds[1] == {"round": 2, "validation": 5.0, "real_steps": 20, "final": 4.0} and not before.rounds
    assert "Rounds" in read(write_report(run)).words()
    assert after.seconds == pytest.approx(before.seconds + 90) and after.searched == before.searched + 70


def test_an_empty_run_says_what_to_do(tmp_path: Path) -> None:
    words = read(write_report(tmp_path)).words()
    assert f"Not yet: run frmdn evaluate --run {tmp_path}" in words
    assert f"Not yet: run frmdn report --run {tmp_path}" in words


@pytest.mark.parametrize(
    "gone",
    [
        "config.json",
        "rollouts/done.json",
        "vision/history.jsonl",
        "memory/history.jsonl",
        "controller/history.jsonl",
        "evaluation.json",
    ],
)
def test_any_part_may_be_missing(run: Path, gone: str) -> None:
    (run / gone).unlink()
    assert "CarRacing-v3" in read(write_report(run)).words() or gone == "config.json"


def test_a_video_of_an_earlier_report_stays(run: Path) -> None:
    write_report(run, drive=drive())
    reader = read(write_report(run))
    assert any(tag == "video" for tag, _ in reader.tags)


def test_everything_is_escaped(run: Path) -> None:
    evil = "<img src=x onerror=alert(1)>\"'&"
    report = evaluation([1.0, 2.0], [0.0, 1.0])
    report["env"], report["versions"], report["policy"] = evil, {evil: evil}, evil
    report["baselines"][evil] = entry([0.5, 0.5])
    put(run, "evaluation.json", report)
    put(run, "config.json", {"env": evil, evil: evil, "memory": {"density": evil}})
    put(run, "rollouts/done.json", {"seconds": 1.0, "units": 1, "result": evil})
    reader = read(write_report(run, command=evil))
    assert evil in "".join(reader.text)
    assert not [tag for tag, _ in reader.tags if tag == "img"]


def test_a_damaged_file_is_named(run: Path) -> None:
    put(run, "evaluation.json", '{"mean": ')
    with pytest.raises(ValueError, match=r"evaluation\.json"):
        write_report(run)
    with pytest.raises(ValueError, match="no run folder"):
        write_report(run / "nowhere")


def test_a_table_names_its_rows_and_columns() -> None:
    table = page._ENVIRONMENT.get_template("macros.html").module.table  # type: ignore[attr-defined]
    html = table(("a", "b"), [("x", 1234), ("y", 0.26)], [0.5, 1.0])
    cells = [(tag, attributes.get("class"), attributes.get("scope")) for tag, attributes in Reader(html).tags]
    assert cells.count(("td", "number", None)) == 2 and ("th", "number", "col") in cells
    assert cells.count(("th", None, "row")) == 2
    assert "width:50.0%" in html and Reader(html).words() == "a b share x 1,234 y 0.3"


def rows(path: Path) -> list[list[str]]:
    """The cells of every row of every table of a page, headings included."""
    found = []
    for row in re.findall(r"<tr.*?</tr>", path.read_text(), re.DOTALL):
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        found.append([re.sub(r"<[^>]+>", "", cell).strip() for cell in cells])
    return found


def test_every_figure_of_the_evaluation_stands_under_its_own_heading(run: Path) -> None:
    """All of them differ, so that two columns changed about show."""
    report = evaluation([700.0, 900.0, 860.0], [-50.0, -20.0, -41.0])
    report["ci95"], report["std"] = [750.5, 880.25], 105.83
    put(run, "evaluation.json", report)
    table = rows(write_report(run))
    (heads,) = (row for row in table if row[:1] == ["policy"] and "worst" in row)
    agent, random = (
        dict(zip(heads, next(row for row in table if row[:1] == [name]), strict=True)) for name in ("agent", "random")
    )
    assert (agent["worst"], agent["best"], agent["episodes"]) == ("700.0", "900.0", "3")
    assert (agent["mean"], agent["std"], agent["95 % interval"]) == ("820.0", "105.8", "750.5 to 880.2")
    minus = "\N{MINUS SIGN}"
    assert (random["worst"].replace(minus, "-"), random["best"].replace(minus, "-")) == ("-50.0", "-20.0")
    assert [row for row in table if row[:1] == ["7002"]] == [["7002", "900.0", "601"]]  # seed, return, steps


def test_the_templates_are_installed_with_the_code() -> None:
    folder = Path(page.__file__).parent
    told = tomllib.loads((folder.parents[1] / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    data = {path.name for path in folder.iterdir() if path.suffix not in ("", ".py", ".pyc")}
    installed = {path.name for pattern in told["frmdn.pipeline.report"] for path in folder.glob(pattern)}
    assert data == installed and {"page.html", "macros.html", "style.css"} <= data
