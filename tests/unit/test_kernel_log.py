"""Kernel logs of real refusals: the setting to blame is the one that was made different."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.probes.kernel_log import trouble
from tests.unit.captures import captured
from tests.unit.strategies import STEADY


@pytest.mark.parametrize(("name", "setting", "text"), [
    ("wrong_aftersb", "after-sb-0pri", "incompatible after-sb-0pri settings"),
    ("wrong_aftersb_peer", "after-sb-0pri", "incompatible after-sb-0pri settings"),
    ("wrong_twoprim", "allow-two-primaries", "incompatible allow-two-primaries settings"),
    ("wrong_twoprim_peer", "allow-two-primaries", "incompatible allow-two-primaries settings"),
    ("wrong_verify_peer", "verify-alg", 'Different verify-alg settings. me="crc32c" peer="md5"'),
    ("wrong_secret", "shared-secret", "expected AuthChallenge packet, received: ReportProtocol (0x000b)"),
    ("wrong_unrelated", "", "Unrelated data, aborting!"),
])
def test_each_mismatch_names_its_setting(name: str, setting: str, text: str) -> None:
    found = trouble(captured(f"drbd-8.4.11/{name}.txt"))
    assert found is not None
    assert (found.setting, found.text) == (setting, text)
    assert found.uptime > 100


@pytest.mark.parametrize("name", ["wrong_verify", "wrong_secret_peer", "wrong_unrelated_peer", "wrong_port_reject", "wrong_port_blocked",
                                  "wrong_protoA"])
def test_a_side_that_only_lost_its_peer_blames_nothing(name: str) -> None:
    assert trouble(captured(f"drbd-8.4.11/{name}.txt")) is None


@pytest.mark.parametrize("name", ["drbd-9.2.18/22c-split-brain-dmesg.node1.txt", "drbd-9.2.18/22c-split-brain-dmesg.node2.txt"])
def test_split_brain_on_nine(name: str) -> None:
    found = trouble(captured(name))
    assert found is not None
    assert "plit" in found.text


def test_what_was_mended_since_is_no_trouble() -> None:
    log = captured("drbd-8.4.11/wrong_aftersb.txt")
    later = "[  300.000000] drbd r0: conn( WFReportParams -> Connected ) \n"
    assert trouble(log + later) is None
    assert trouble(later + log) is not None


@STEADY
@given(st.text())
def test_anything_else_is_no_trouble(text: str) -> None:
    found = trouble(text)
    assert found is None or found.text in text
