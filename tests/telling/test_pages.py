"""docs/metrics.md, docs/alarms.md, the alert rules and the dashboard say what the program does: promtool and the tables judge.

`python -m tests.telling.test_pages` draws the table of metrics again (part of `make docs`).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.supervisor.alerts import Message
from orchestrator.supervisor.metrics import COUNTERS, GAUGES
from states.alert import Alert, Phase
from states.vocabulary import Layer, Node, Resource
from tests.telling.pictures import SPLIT, START

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RULES = DOCS / "prometheus-rules.yaml"
TABLE = re.compile(r"(?<=^<!-- metrics -->\n).*?(?=^<!-- end -->$)", re.MULTILINE | re.DOTALL)
NAMES = {*GAUGES, *(f"orchestrate_{name}_total" for name in COUNTERS), "process_resident_memory_bytes", "process_cpu_seconds_total"}
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here (Debian: prometheus)")


def promtool(*argv: str) -> None:
    done = subprocess.run(("promtool", *argv), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def metric_table() -> str:
    """Every metric, from the data."""
    rows = [(name, ", ".join(labels) or "-", text) for name, (text, labels) in GAUGES.items()]
    rows += [(f"orchestrate_{name}_total", "cluster", text) for name, text in COUNTERS.items()]
    return "\n| metric | labels | |\n|---|---|---|\n" + "".join(f"| `{name}` | {labels} | {text} |\n" for name, labels, text in rows) + "\n"


def test_every_metric_is_described() -> None:
    assert TABLE.findall((DOCS / "metrics.md").read_text()) == [metric_table()], "the table in docs/metrics.md is old: make docs"


# -- rules and dashboard -----------------------------------------------------------------------------------------------

@needs_promtool
def test_the_alert_rules_are_good() -> None:
    promtool("check", "rules", str(RULES))


@needs_promtool
def test_each_alert_rule_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    cases = tmp_path / "cases.yaml"
    cases.write_text((Path(__file__).parent / "prometheus_rules_test.yaml").read_text().replace("@FILE@", str(RULES)))
    promtool("test", "rules", str(cases))


def test_each_alert_rule_is_tested() -> None:
    tested = set(re.findall(r"alertname: (\w+)", (Path(__file__).parent / "prometheus_rules_test.yaml").read_text()))
    assert set(re.findall(r"- alert: (\w+)", RULES.read_text())) == tested


def expressions(value: Any) -> Iterator[str]:
    """Every query of a dashboard."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "expr":
                yield inner
            else:
                yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


def dashboard() -> Any:
    return json.loads((DOCS / "grafana.json").read_text())


@needs_promtool
def test_every_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    """promtool reads queries in rules: each becomes one."""
    queries = [one.replace("$cluster", ".*") for one in expressions(dashboard()["panels"])]
    assert len(queries) > 20
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "queries.yaml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(path))


@pytest.mark.parametrize("text", [RULES.read_text(), "\n".join(expressions(dashboard()["panels"]))], ids=["rules", "dashboard"])
def test_rules_and_dashboard_ask_for_what_there_is(text: str) -> None:
    asked = set(re.findall(r"\b(?:orchestrate|drbd|process)_[a-z0-9_]+\b", text))
    assert asked <= NAMES
    states = re.findall(r'orchestrate_\w+_state\{[^}]*state!?="(\w+)"', text)
    assert set(states) <= {one.value for kind in (Layer, Node, Resource) for one in kind}


def test_the_dashboards_panels_are_all_there_and_none_lies_on_another() -> None:
    panels = dashboard()["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


@needs_promtool
def test_the_examples_for_prometheus_are_good(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    found = re.findall(r"^```yaml\n(.*?)^```$", (DOCS / "metrics.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) == 2
    for number, text in enumerate(found):
        path = tmp_path / f"{number}.yml"
        path.write_text(text)
        promtool("check", "config", str(path))


# -- alarms ------------------------------------------------------------------------------------------------------------

def names_of_alarms() -> set[str]:
    """Every name an alarm can have: where one is made, or in a table of name, severity, words."""
    sources = [path.read_text() for room in ("states", "orchestrator") for path in sorted((ROOT / room).rglob("*.py"))]
    made = re.compile(r'Alarm\(\s*"([a-z-]+)"')
    rows = re.compile(r'\("([a-z-]+)",\s+(?:Severity\.)?(?:NOTICE|WARNING|CRITICAL),')
    return {name for text in sources for pattern in (made, rows) for name in pattern.findall(text)}


def test_every_alarm_is_described() -> None:
    row = r"^\| `([a-z-]+)` \| (?:resource|layer|node|machine|supervisor|name|channel) \|"
    described = re.findall(row, (DOCS / "alarms.md").read_text(), re.MULTILINE)
    assert len(described) == len(set(described))
    assert {"resync-stuck", "alerts-not-delivered"} <= names_of_alarms() <= set(described)


def test_the_example_of_a_document_is_one() -> None:
    (text,) = re.findall(r"^```json\n(.*?)^```$", (DOCS / "alarms.md").read_text(), re.MULTILINE | re.DOTALL)
    example, made = json.loads(text), json.loads(Message("nas", "n", START, (Alert(SPLIT, Phase.RAISED, START, START),)).body)
    assert example.keys() == made.keys()
    assert example["alerts"][0].keys() == made["alerts"][0].keys()
    assert example["version"] == made["version"]


if __name__ == "__main__":
    page = DOCS / "metrics.md"
    page.write_text(TABLE.sub(lambda _: metric_table(), page.read_text()))
