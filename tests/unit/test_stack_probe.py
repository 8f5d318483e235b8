# ruff: noqa: E501 - the cases are tables: one line each
"""What a look says of the layers above DRBD: the script that looks at real nodes, over what real nodes were seen to be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve

from orchestrator.config import Config
from orchestrator.probes.look import fencing, read_look
from orchestrator.probes.sections import Sections
from orchestrator.probes.stack import ExpectedStack, read_stack
from orchestrator.stack.steps import expected_stack
from states.facts import FencingFact
from states.vocabulary import Layer
from tests.unit.stack_cluster import CTDB, ONE, OTHER, PLAIN, SIZED, loaded
from tests.unit.stack_world import World

L = Layer
KEY = b"k" * 256
LVM = b"\0" * 512 + b"LABELONE" + b"\0" * 4096
GROUP = LVM + b"vg0 {\nseqno = 4\n"
FILES_AND_KEY = ("packages", "files", "authkey")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return loaded(tmp_path, CTDB)


def expected(config: Config, node: str = ONE) -> ExpectedStack:
    found = expected_stack(config, node)
    assert found is not None
    return found


def seen(tmp_path: Path, config: Config, case: str, node: str = ONE, head: bytes = b"") -> tuple[World, dict[str, tuple[Layer, str]]]:
    """The captured node with our files on it, and what is said of each layer."""
    root = tmp_path / "root"
    root.mkdir()
    world = World(root, case, node)
    world.device("drbd1", head)
    world.device("ubdb", head)
    for file in expected(config, node).files:
        world.write(file.path, file.text)
    world.write("/etc/corosync/authkey", KEY.decode())
    return world, facts(world, expected(config, node))


def facts(world: World, stack: ExpectedStack) -> dict[str, tuple[Layer, str]]:
    return {fact.name: (fact.state, fact.detail) for fact in read_stack(world.sections(stack), stack)}


def states(found: dict[str, tuple[Layer, str]]) -> dict[str, Layer]:
    return {name: state for name, (state, _) in found.items()}


UPPER = ("corosync", "dlm", "lvmlockd", "vg opt", "lockspace opt", "lv opt", "active opt", "gfs2 opt", "mount opt", "ctdb", "samba")
ALL_DOWN = dict.fromkeys(UPPER, L.DOWN)

CASES: tuple[tuple[str, str, bytes, dict[str, Layer]], ...] = (
    # captured           node   device   what is said of the layers above the files
    ("nothing",          OTHER, b"",     ALL_DOWN),
    ("drbd-only",        ONE,   b"",     ALL_DOWN),
    ("drbd-only",        OTHER, GROUP,   {**ALL_DOWN, "vg opt": L.UNKNOWN, "gfs2 opt": L.UNKNOWN}),  # LVM's tools show nothing of a shared group
    ("corosync-alone",   ONE,   b"",     {**ALL_DOWN, "corosync": L.STARTING}),
    ("corosync-alone",   OTHER, b"",     ALL_DOWN),
    ("up",               ONE,   b"",     {**dict.fromkeys(UPPER, L.UP), "ctdb": L.DOWN}),
    ("up",               OTHER, b"",     {**dict.fromkeys(UPPER, L.UP), "ctdb": L.DOWN}),
    ("ctdb-up",          ONE,   b"",     dict.fromkeys(UPPER, L.UP)),
    ("ctdb-up",          OTHER, b"",     dict.fromkeys(UPPER, L.UP)),
    ("fencing",          ONE,   b"",     {**dict.fromkeys(UPPER, L.UP), "ctdb": L.DOWN, "dlm": L.HUNG, "lockspace opt": L.HUNG, "mount opt": L.HUNG}),
    ("fencing",          OTHER, b"",     {**dict.fromkeys(UPPER, L.UP), "ctdb": L.DOWN, "dlm": L.HUNG, "lockspace opt": L.HUNG, "mount opt": L.HUNG}),
    ("healed-unfenced",  ONE,   b"",     {**dict.fromkeys(UPPER, L.UP), "ctdb": L.DOWN, "dlm": L.HUNG, "lockspace opt": L.HUNG, "mount opt": L.HUNG}),
    ("partner-off",      ONE,   b"",     {**dict.fromkeys(UPPER, L.UP), "ctdb": L.DOWN}),
    ("victim",           ONE,   b"",     {**dict.fromkeys(UPPER, L.UP), "ctdb": L.DOWN, "corosync": L.DOWN, "dlm": L.HUNG, "lockspace opt": L.HUNG,
                                          "mount opt": L.HUNG}),
    ("victim",           OTHER, b"",     {**dict.fromkeys(UPPER, L.UP), "ctdb": L.DOWN}),
    ("vg-on-backing",    ONE,   GROUP,   {**ALL_DOWN, "vg opt": L.UP, "lv opt": L.UP, "active opt": L.FAILED, "gfs2 opt": L.UNKNOWN}),
)


@pytest.mark.parametrize(("case", "node", "head", "wanted"), CASES, ids=[f"{case}-{node}" for case, node, *_ in CASES])
def test_what_was_captured_is_told_as_it_was(tmp_path: Path, config: Config, case: str, node: str, head: bytes, wanted: dict[str, Layer]) -> None:
    _, found = seen(tmp_path, config, case, node, head)
    assert states(found) == {**dict.fromkeys(FILES_AND_KEY, L.UP), **wanted}
    assert tuple(found) == expected(config, node).layers


def test_locks_that_stop_for_a_moment_while_a_node_joins_are_looked_at_again(tmp_path: Path, config: Config) -> None:
    world, _ = seen(tmp_path, config, "up")
    space = next((world.root / "sys/kernel/dlm").iterdir()) / "recover_status"
    done = space.read_text()
    space.write_text("1\n")
    assert facts(world, expected(config))["dlm"][0] is not L.UP
    world.tool("sleep", f"printf '%s' '{done}' >{space}")
    assert facts(world, expected(config))["dlm"][0] is L.UP


@pytest.mark.parametrize(("case", "node", "layer", "words"), [
    ("corosync-alone",  ONE, "corosync",      "not quorate: it waits until all nodes were seen together once"),
    ("fencing",         ONE, "dlm",           "lockspaces stopped: lvm_global, lvm_vg0, opt (wait fencing)"),
    ("fencing",         ONE, "mount opt",     "its lockspace opt is stopped"),
    ("healed-unfenced", ONE, "dlm",           "wait fencing"),
    ("partner-off",     ONE, "dlm",           "gone: node 2"),
    ("up",              ONE, "mount opt",     "/dev/mapper/vg0-opt on /opt"),
    ("up",              ONE, "active opt",    "on drbd1"),
    ("ctdb-up",         ONE, "ctdb",          "OK"),
    ("vg-on-backing",   ONE, "active opt",    "vg0/opt stands on ubdb, behind DRBD's back"),
    ("victim",          ONE, "dlm",           "only a power cycle"),
])
def test_it_says_why(tmp_path: Path, config: Config, case: str, node: str, layer: str, words: str) -> None:
    assert words in seen(tmp_path, config, case, node)[1][layer][1]


@pytest.mark.parametrize(("case", "log", "since"), [
    ("fencing",         "",                                                     599.0),  # daemon now 622, lost 23 s before
    ("healed-unfenced", "",                                                     599.0),
    ("victim",          "[  640.120000] dlm: dlm user daemon left 3 lockspaces", 640.12),
    ("victim",          "",                                                     None),   # the kernel log has forgotten it
    ("up",              "",                                                     None),
])
def test_what_hangs_says_since_when(tmp_path: Path, config: Config, case: str, log: str, since: float | None) -> None:
    world, _ = seen(tmp_path, config, case)
    world.tool("dmesg", f"echo '{log}'")
    hung = {fact.name: fact.since for fact in read_stack(world.sections(expected(config)), expected(config)) if fact.state is L.HUNG}
    assert hung == (dict.fromkeys(("dlm", "lockspace opt", "mount opt"), since) if case != "up" else {})


def test_who_waits_until_another_node_is_off_says_since_when_and_why(tmp_path: Path, config: Config) -> None:
    world, _ = seen(tmp_path, config, "fencing")
    world.write(f"/run/orchestrate/asked.{OTHER}", "60012  DRBD r0 dlm\n")
    world.write("/run/orchestrate/asked.another", "70001 dlm\n")
    world.write(f"/run/orchestrate/failed.{OTHER}", "fence_ipmilan off failed: no answer within 20 s; it said nothing\n")
    assert fencing(world.sections(expected(config)).get("fencing") or "") == (
        FencingFact("another", 700.01), FencingFact(OTHER, 600.12, "fence_ipmilan off failed: no answer within 20 s; it said nothing"))


def test_an_empty_file_that_is_to_be_empty_is_as_it_should_be(tmp_path: Path) -> None:
    """What a node whose fence is a human has in its fence file: no option at all. It was taken for one nobody had written."""
    config = loaded(tmp_path, PLAIN + "".join(f'[node.{name}.fence]\nmethod = "manual"\n' for name in (ONE, OTHER)))
    stack = expected(config)
    assert "" in [file.text for file in stack.files if file.path.endswith(ONE)]
    _, found = seen(tmp_path, config, "up")
    assert found["files"] == (L.UP, "as cluster.toml says")


def test_a_volume_under_another_table_is_not_ours(tmp_path: Path, config: Config) -> None:
    """A withdrawn or blocked GFS2 is found by its table name, which the cluster's name is part of."""
    world, _ = seen(tmp_path, config, "up")
    world.write("/sys/fs/gfs2/NASCluster:opt/withdraw", "1\n")
    assert facts(world, expected(config))["mount opt"][0] is L.HUNG
    assert "reboot" in facts(world, expected(config))["mount opt"][1]


def test_something_else_on_the_mount_point_is_said(tmp_path: Path, config: Config) -> None:
    world, _ = seen(tmp_path, config, "drbd-only")
    world.write("/proc/mounts", "/dev/sda3 /opt ext4 rw 0 0\n")
    assert facts(world, expected(config))["mount opt"] == (L.FAILED, "/opt is /dev/sda3, a ext4")


@pytest.mark.parametrize(("head", "lines", "state", "words"), [
    (b"",                 [],                         L.DOWN,    "blank"),
    (LVM,                 [],                         L.DOWN,    "without a group"),
    (GROUP,               ["/dev/drbd1|vg0|dlm"],     L.UP,      "vg0 on /dev/drbd1"),
    (GROUP,               ["/dev/drbd1|vg0|"],        L.FAILED,  "not shared"),
    (GROUP,               ["/dev/drbd1|data|dlm"],    L.FAILED,  "belongs to volume group data"),
    (GROUP,               ["/dev/ubdb|vg0|dlm"],      L.FAILED,  "vg0 resolves to /dev/ubdb"),
    (GROUP,               ["/dev/drbd1||"],           L.UNKNOWN, "its locks are not there"),
    (GROUP,               [],                         L.UNKNOWN, "which has its label"),
    (b"some words" * 99,  [],                         L.FAILED,  "not LVM"),
])
def test_what_the_device_holds(tmp_path: Path, config: Config, head: bytes, lines: list[str], state: Layer, words: str) -> None:
    world, _ = seen(tmp_path, config, "drbd-only", head=head)
    world.tool("pvs", "\n".join(f"echo '  {line}'" for line in lines))
    text = world.look(expected(config))
    stack = expected(config)
    found = {fact.name: fact for fact in read_stack(Sections.cut(text), stack)}
    assert (found["vg opt"].state, words in found["vg opt"].detail) == (state, True), found["vg opt"]


def test_a_group_without_our_volume_is_one_to_make_it_in(tmp_path: Path, config: Config) -> None:
    world, _ = seen(tmp_path, config, "drbd-only", head=GROUP)
    world.tool("pvs", "echo '  /dev/drbd1|vg0|dlm'")
    assert facts(world, expected(config))["lv opt"] == (L.DOWN, "vg0 has no opt")
    world.tool("lvs", "echo '  vg0|opt'")
    assert facts(world, expected(config))["lv opt"][0] is L.UP


@pytest.mark.parametrize(("blkid", "head", "state", "words"), [
    ("TYPE=gfs2\nLABEL=NASCluster:opt", b"x", L.UP,     "NASCluster:opt"),
    ("TYPE=gfs2\nLABEL=other:opt",      b"x", L.FAILED, "belongs to 'other:opt'"),
    ("TYPE=ext4",                       b"x", L.FAILED, "holds ext4"),
    ("",                                b"x", L.FAILED, "no tool knows"),
    ("",                                b"",  L.DOWN,   "blank"),
])
def test_what_an_active_volume_holds(tmp_path: Path, config: Config, blkid: str, head: bytes, state: Layer, words: str) -> None:
    world, _ = seen(tmp_path, config, "up")
    world.write("/proc/mounts", "")
    world.device("vg0/opt", head)
    world.tool("blkid", "\n".join(f"echo {line}" for line in blkid.splitlines()))
    found = facts(world, expected(config))["gfs2 opt"]
    assert (found[0], words in found[1]) == (state, True), found


SECTORS = {"100": 204800, "160": 327680, "164": 335872, "200": 409600}


@pytest.mark.parametrize(("active", "blocks", "extended", "grown", "words"), [
    ("160", 40936, L.UP,     L.UP,   "160 MiB"),
    ("164", 40936, L.UP,     L.UP,   "164 MiB"),                            # LVM rounds up to its extents
    ("100", 25576, L.DOWN,   L.DOWN, "vg0/opt has 100 MiB, cluster.toml wants 160 MiB"),
    ("160", 25576, L.UP,     L.DOWN, "160 MiB"),                            # extended, and killed before it was grown
    ("100", 40936, L.DOWN,   L.UP,   "vg0/opt has 100 MiB"),                # the other node has grown it; this kernel knows nothing of it
    ("200", 51176, L.FAILED, L.UP,   "cannot be made smaller"),
])
def test_how_large_it_is(tmp_path: Path, active: str, blocks: int, extended: Layer, grown: Layer, words: str) -> None:
    config = loaded(tmp_path, SIZED)
    world, _ = seen(tmp_path, config, "up")
    world.write("/sys/block/dm-0/size", f"{SECTORS[active]}\n")
    world.tool("stat", f"echo blocks {blocks} 4096")
    found = facts(world, expected(config))
    assert (found["extended opt"][0], found["grown opt"][0]) == (extended, grown), found
    assert words in found["extended opt"][1]


@pytest.mark.parametrize(("size", "state"), [("160M", L.UP), ("165M", L.FAILED), ("192M", L.FAILED), ("193M", L.DOWN), ("129M", L.UP), ("128M", L.FAILED)])
def test_what_gfs2_cannot_use_is_not_asked_for(tmp_path: Path, size: str, state: Layer) -> None:
    config = loaded(tmp_path, SIZED.replace("160M", size))
    world, _ = seen(tmp_path, config, "up")
    world.write("/sys/block/dm-0/size", f"{SECTORS['160']}\n")
    assert facts(world, expected(config))["extended opt"][0] is state


@pytest.mark.parametrize("spoil", ["hangs", "stopped", "inactive"])
def test_a_size_that_cannot_be_read_is_unknown(tmp_path: Path, spoil: str) -> None:
    config = loaded(tmp_path, SIZED)
    world, _ = seen(tmp_path, config, "fencing" if spoil == "stopped" else "drbd-only" if spoil == "inactive" else "up")
    world.tool("stat", "exec tail -f /dev/null" if spoil == "hangs" else "echo blocks 40936 4096")
    found = facts(world, expected(config))
    assert found["grown opt"][0] is L.UNKNOWN
    assert found["extended opt"][0] is (L.UNKNOWN if spoil == "inactive" else found["extended opt"][0])
    assert found["mount opt"][0] is {"hangs": L.UP, "stopped": L.HUNG, "inactive": L.DOWN}[spoil]


def test_a_device_whose_io_is_suspended_is_not_read(tmp_path: Path, config: Config) -> None:
    world, _ = seen(tmp_path, config, "fencing", OTHER)
    world.write("/proc/mounts", "")
    world.tool("blkid", "echo read >&2")  # would be seen
    assert "suspended" in world.look(expected(config, OTHER))


def test_missing_programs_are_named_with_their_packages(tmp_path: Path, config: Config) -> None:
    world, _ = seen(tmp_path, config, "nothing", OTHER)
    (world.root / "bin/dlm_controld").unlink()
    (world.root / "bin/fence_ipmilan").unlink()
    state, words = facts(world, expected(config, OTHER))["packages"]
    assert state is L.FAILED
    assert "dlm-controld, fence-agents" in words


def test_files_are_compared_and_secrets_not_shown(tmp_path: Path, config: Config) -> None:
    world, _ = seen(tmp_path, config, "nothing", OTHER)
    world.write("/etc/dlm/dlm.conf", "enable_fencing=0\n")
    state, words = facts(world, expected(config, OTHER))["files"]
    assert state is L.FAILED
    assert "/etc/dlm/dlm.conf: -enable_fencing=0 | +# written by" in words
    world.write(f"/etc/orchestrate/fence/{ONE}", "password=other-word\n")
    state, words = facts(world, expected(config, OTHER))["files"]
    assert f"/etc/orchestrate/fence/{ONE}: it differs" in words
    assert "hush-hush" not in words
    assert "other-word" not in words


def test_a_missing_file_is_down_and_so_is_what_the_package_put_there(tmp_path: Path, config: Config) -> None:
    world, _ = seen(tmp_path, config, "nothing", OTHER)
    (world.root / "etc/dlm/dlm.conf").unlink()
    assert facts(world, expected(config, OTHER))["files"] == (L.DOWN, "missing or older: /etc/dlm/dlm.conf")
    world.write("/etc/dlm/dlm.conf", "# nothing but a comment\n")
    assert facts(world, expected(config, OTHER))["files"][0] is L.DOWN


def test_corosync_that_runs_with_older_files_is_failed_where_nobody_holds_a_lock(tmp_path: Path, config: Config) -> None:
    world, _ = seen(tmp_path, config, "corosync-alone")
    pid = world.write("/run/corosync.pid", "1204\n")
    conf = world.root / "etc/corosync/corosync.conf"
    os.utime(pid, (1000, 1000))
    os.utime(conf, (2000, 2000))
    assert facts(world, expected(config))["corosync"][0] is L.FAILED
    world.write("/sys/kernel/dlm/opt/recover_status", "ff\n")  # never under locks that are in use
    assert facts(world, expected(config))["corosync"][0] is L.STARTING
    os.utime(pid, (3000, 3000))
    assert "older" not in facts(world, expected(config))["corosync"][1]


def test_the_key_is_told_by_its_sum_only(tmp_path: Path, config: Config) -> None:
    world, found = seen(tmp_path, config, "nothing", OTHER)
    assert found["authkey"][1].startswith("sha256 ")
    (world.root / "etc/corosync/authkey").unlink()
    assert facts(world, expected(config, OTHER))["authkey"] == (L.DOWN, "there is none")


@pytest.mark.parametrize(("tool", "layers"), [("dlm_tool", ("dlm",)), ("ctdb", ("ctdb",))])
def test_a_tool_that_does_not_answer_is_not_waited_for(tmp_path: Path, config: Config, tool: str, layers: tuple[str, ...]) -> None:
    world, _ = seen(tmp_path, config, "ctdb-up")
    world.tool(tool, "exec timeout 30 tail -f /dev/null")  # who is not waited for lives on; not for ever
    found = facts(world, expected(config))
    for layer in layers:
        assert found[layer][0] in (L.HUNG, L.STARTING), layer
    assert found["mount opt"][0] is L.UP


@pytest.mark.parametrize("code", [124, 137])
@pytest.mark.parametrize(("layer", "section", "words"), [
    ("corosync", "quorum", "corosync-quorumtool does not answer"), ("dlm", "dlm", "dlm_tool does not answer"), ("ctdb", "ctdb", "ctdb does not answer"),
])
def test_a_tool_that_was_killed_did_not_answer_either(config: Config, code: int, layer: str, section: str, words: str) -> None:
    said = Sections({"services": "running corosync\nrunning dlm\nrunning ctdb", section: f"code {code}"})
    state, detail = next((one.state, one.detail) for one in read_stack(said, expected(config)) if one.name == layer)
    assert (state, detail) == (L.HUNG if layer == "dlm" else L.STARTING, words)


# -- what was not seen is not down -------------------------------------------------------------------------------------

HEAD = "==node\nuptime 500.00\nboot_id b\nhostname x\n"


@pytest.mark.parametrize(("case", "node"), [("up", ONE), ("nothing", OTHER)])
def test_a_look_that_was_cut_off_says_nothing(tmp_path: Path, config: Config, case: str, node: str) -> None:
    world, _ = seen(tmp_path, config, case, node)
    stack = expected(config, node)
    text = HEAD + world.look(stack) + "\n==end 501.00\n"
    assert read_look(node, text, (), 1.0, stack).reachable
    for length in range(0, len(text) - 2, 97):
        found = read_look(node, text[:length], (), 1.0, stack)
        assert not found.reachable
        assert {found.layer(name).state for name in stack.layers} == {L.UNKNOWN}


@pytest.mark.parametrize(("case", "node"), [("up", ONE), ("nothing", OTHER), ("fencing", ONE)])
def test_a_section_that_is_missing_leaves_its_layers_unknown(tmp_path: Path, config: Config, case: str, node: str) -> None:
    world, whole = seen(tmp_path, config, case, node)
    stack = expected(config, node)
    sections = world.sections(stack)
    for name in sections.found:
        found = read_stack(evolve(sections, found={key: text for key, text in sections.found.items() if key != name}), stack)
        for fact in found:
            assert fact.state is not L.DOWN or whole[fact.name][0] is L.DOWN, (name, fact)
    assert {fact.state for fact in read_stack(Sections(), stack)} == {L.UNKNOWN}
