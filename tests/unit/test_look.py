"""Looks of real nodes. A look that was cut off says nothing; it never says "down"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.situations import NET
from orchestrator.probes.look import Expected, difference, read_look, read_show, tokens
from states.facts import Generation, NodeFacts
from states.settings import AGREED
from states.vocabulary import ConnectionState, DiskState, Layer, Metadata, Node, ReplicationState, Role
from tests.unit.captures import captured
from tests.unit.strategies import STEADY

EXPECTED = (Expected("r0", 1, "/dev/ubdb", None, "10.98.0.12", 7789),)
HEALTHY = captured("drbd-8.4.11/look-healthy.nas01.txt")
ABSENT = captured("drbd-8.4.11/look-module-absent.txt")
LOST = captured("drbd-8.4.11/look-peer-lost.txt")


def look(text: str) -> NodeFacts:
    return read_look("linux-nas01", text, EXPECTED, 7.0)


def test_a_healthy_node() -> None:
    node = look(HEALTHY)
    side = node.side("r0")
    assert (node.state, node.hostname, node.generation, node.version) == (Node.REACHABLE, "linux-nas01", Generation.V84, "8.4.11")
    assert (node.uptime, node.ended, node.boot_id) == (1095.97, 1097.17, "ea7d2167-475e-4050-a719-fd27e650fe5d")
    assert (side.role, side.disk, side.connection, side.replication, side.out_of_sync) == (
        Role.PRIMARY, DiskState.UP_TO_DATE, ConnectionState.CONNECTED, ReplicationState.ESTABLISHED, 0)
    assert (side.backing_size, side.holders, side.metadata) == (524288, (), Metadata.VALID)
    assert str(side.identifiers) == "AD70FACD89AF3BA7:0000000000000000:EEB9DBC2BDF44AB3:0000000000000004"
    assert set(NET) <= set(side.running)
    assert {fact.name: fact.state for fact in node.layers} == dict.fromkeys(("module", "boot", "config", "port"), Layer.UP)
    claims = [(claim.step, claim.code, claim.running) for claim in node.claims]
    assert claims == [("create-metadata", 0, False), ("force-primary", 0, False)]


def test_a_node_without_the_module_has_a_version_and_identifiers() -> None:
    node = look(ABSENT)
    assert (node.state, node.version, node.layer("module").state) == (Node.REACHABLE, "8.4.11", Layer.DOWN)
    assert node.side("r0").configured is False
    assert node.side("r0").metadata is Metadata.VALID


def test_a_record_that_cannot_be_read_is_not_no_record() -> None:
    good = "linux-nas02 root - linux-nas01=A0:B0:B2:B4 linux-nas02=C0:B0:B2:B4"
    node = look(HEALTHY.replace("==lease", f"==recovery\nr0 linux-nas02 ro\nr1 \nr2 {good}\n==lease"))
    assert node.unread == ("r0", "r1")
    assert [(one.consent.resource, one.consent.victim) for one in node.recoveries] == [("r2", "linux-nas02")]
    assert (look(HEALTHY).unread, look(HEALTHY).recoveries) == ((), ())


def test_a_node_whose_peer_is_lost() -> None:
    side = look(LOST).side("r0")
    assert side.configured is True
    assert not side.connected
    assert side.peer_role is Role.UNKNOWN


@pytest.mark.parametrize("text", [HEALTHY, ABSENT, LOST], ids=["healthy", "absent", "lost"])
def test_a_look_that_was_cut_off_is_no_look(text: str) -> None:
    """Cut anywhere: the node counts as unreachable, and nothing on it as down."""
    last = len(text.rstrip())
    for length in (*range(0, last, 97), last - 1, *(place for place, letter in enumerate(text[:last]) if letter == "\n")):
        node = look(text[:length])
        assert node.state is Node.UNREACHABLE, f"after {length} characters"
        assert node.side("r0").configured is None
        assert node.layer("module").state is Layer.UNKNOWN


@pytest.mark.parametrize("section", ["resource r0", "disk r0", "show r0", "boot", "firewall", "claims", "proc-drbd"])
def test_a_section_that_is_missing_is_unknown_and_not_down(section: str) -> None:
    start = HEALTHY.index(f"\n=={section}\n")
    side = look(HEALTHY[:start] + HEALTHY[HEALTHY.index("\n==", start + 1):]).side("r0")
    if section in ("resource r0", "proc-drbd"):
        assert (side.configured, side.disk, side.connection) == (None, DiskState.UNKNOWN, ConnectionState.UNKNOWN)
    if section == "disk r0":
        assert (side.identifiers, side.backing_size) == (None, None)
    if section == "show r0":
        assert side.running == ()


@STEADY
@given(st.integers(0, len(HEALTHY)), st.text(max_size=30))
def test_garbage_never_raises(place: int, noise: str) -> None:
    assert look(HEALTHY[:place] + noise + HEALTHY[place:]).name == "linux-nas01"


@STEADY
@given(st.binary(max_size=200))
def test_bytes_of_anything_never_raise(noise: bytes) -> None:
    assert look(f"==node\nboot_id x\n==events r0\n{noise.decode(errors='replace')}\n==end 1.00").state is Node.REACHABLE


def test_show_reads_every_setting_both_sides_must_agree_on() -> None:
    shown = read_show(HEALTHY)
    assert {name for name, _ in shown} == set(AGREED)
    assert dict(shown)["allow-two-primaries"] == "yes"
    assert dict(shown)["shared-secret"] == ""


def test_show_of_a_resource_without_a_connection_is_empty() -> None:
    assert read_show("resource r0 {\n    options {\n        cpu-mask \"\";\n    }\n}\n") == ()


def test_a_file_is_compared_by_its_words() -> None:
    one = "# comment\nresource r0 {\n net { protocol C; shared-secret \"a b\"; } }"
    other = "resource r0 {\n\tnet {\n\t\tprotocol C;\n\t\tshared-secret \"a b\";\n\t}\n}\n"
    assert tokens(one) == tokens(other)


def test_a_difference_names_the_option_and_both_values_but_no_secret() -> None:
    said = difference(*(f'resource r0 {{ net {{ protocol {protocol}; shared-secret "{secret}"; }} }}'
                        for protocol, secret in (("A", "one"), ("C", "two"))))
    assert "net/protocol: the node has A, cluster.toml wants C" in said
    assert "one" not in said
    assert "two" not in said
