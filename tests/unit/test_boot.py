"""What `check` says of a node's boot, over what real nodes printed: units, links of System V, /etc/fstab, and LVM on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from orchestrator.probes.boot import read_boot
from states.boot import BackingSeen, BootFacts, FstabLine, Link, Unit
from states.boot_order import mount_unit, order_findings
from states.finding import Finding, Weight
from states.goal import Goal
from states.sysv_order import crossed, places
from tests.unit.captures import captured
from tests.unit.stack_cluster import CTDB, ONE, goal_of, loaded

DANGER, PROBLEM, NOTE = Weight.DANGER, Weight.PROBLEM, Weight.NOTE


@pytest.fixture
def goal(tmp_path: Path) -> Goal:
    return goal_of(loaded(tmp_path, CTDB))


@pytest.fixture
def drbd_only(tmp_path: Path) -> Goal:
    return goal_of(loaded(tmp_path, CTDB[:CTDB.index("[filesystem.opt]")]))


def seen(name: str) -> BootFacts:
    """A capture as facts, the disk's part only of those that are named after LVM."""
    facts = read_boot(ONE, captured(f"boot/{name}.txt"))
    assert facts.read
    return facts


def said(goal: Goal, boot: BootFacts) -> list[Finding]:
    return list(order_findings(goal, (boot,)))


def with_order(name: str, after: str) -> BootFacts:
    """The capture `enabled`, with one ordering of an administrator's drop-in in it."""
    facts = seen("enabled")
    return evolve(facts, units=tuple(evolve(unit, after=unit.after | {after}) if unit.name == name else unit for unit in facts.units))


# -- systemd -----------------------------------------------------------------------------------------------------------

def test_a_node_on_which_nothing_of_ours_starts_has_no_findings(goal: Goal) -> None:
    assert said(goal, seen("fresh")) == []
    assert said(goal, seen("noauto")) == []
    assert [str(line) for line in seen("noauto").fstab] == ["LABEL=x /srv/share0 gfs2 noauto,_netdev"]


def test_what_starts_at_boot_is_named_with_who_pulls_it_in(goal: Goal) -> None:
    found = {one.what: one for one in said(goal, seen("enabled"))}
    assert {(one.weight, one.where) for one in found.values()} == {(DANGER, ONE)}
    assert set(found) == {
        "drbd.service starts at boot: DRBD connects before anybody has looked",
        "lvmlocks.service starts at boot beside drbd.service, in no order",
        "smbd.service starts at boot beside drbd.service, in no order",
        "/srv/share0 is mounted at boot beside drbd.service, in no order",
    }
    locks = found["lvmlocks.service starts at boot beside drbd.service, in no order"]
    assert (locks.evidence, locks.remedy) == ("lvmlocks.service is pulled in by multi-user.target", "systemctl disable lvmlocks.service")
    mount = found["/srv/share0 is mounted at boot beside drbd.service, in no order"]
    assert mount.evidence == "/etc/fstab: LABEL=x /srv/share0 gfs2 _netdev,noatime"
    assert "noauto" in mount.remedy


@pytest.mark.parametrize(("unit", "after", "place"), [
    ("drbd.service", "lvmlocks.service", "lvmlocks.service starts at boot before drbd.service"),
    ("lvmlocks.service", "drbd.service", "lvmlocks.service starts at boot, after DRBD, whether that is UpToDate and Primary or not"),
    ("drbd.service", "srv-share0.mount", "/srv/share0 is mounted at boot before drbd.service"),
])  # fmt: skip
def test_the_order_is_told(goal: Goal, unit: str, after: str, place: str) -> None:
    assert place in [one.what for one in said(goal, with_order(unit, after))]


def test_without_drbd_what_stands_on_it_finds_nothing(goal: Goal) -> None:
    facts = seen("enabled")
    alone = evolve(facts, units=tuple(unit for unit in facts.units if unit.name != "drbd.service"))
    words = [one.what for one in said(goal, alone)]
    assert "smbd.service starts at boot, and DRBD is not there: it finds no data, or the disk below DRBD" in words
    assert not [one for one in words if "drbd.service" in one]


def test_a_unit_that_does_not_start_orders_nothing() -> None:
    """drbd before a target before a mount: an order only if something pulls the target in."""
    text = """
==init
systemd

==units
Id=multi-user.target
Names=multi-user.target default.target
Wants=drbd.service srv.mount{more}

Id=drbd.service
After=

Id=srv.mount
After=remote-fs-pre.target

Id=remote-fs-pre.target
After=drbd.service

==end 5.00
"""
    for more, expected in (("", frozenset()), (" remote-fs-pre.target", {"drbd.service", "remote-fs-pre.target"})):
        units = {unit.name: unit for unit in read_boot(ONE, text.replace("{more}", more)).units}
        assert units["srv.mount"].after == expected


def test_a_server_is_ours_only_where_there_is_a_stack(drbd_only: Goal) -> None:
    words = [one.what for one in said(drbd_only, seen("enabled"))]
    assert not [one for one in words if "smbd" in one]
    assert [one for one in words if "lvmlocks" in one]


def test_pacemaker_and_orchestrate_are_two_masters(goal: Goal) -> None:
    facts = evolve(seen("fresh"), units=(Unit("pacemaker.service", "multi-user.target"),))
    assert [(one.weight, one.evidence) for one in said(goal, facts)] == [(PROBLEM, "pacemaker.service is pulled in by multi-user.target")]


@pytest.mark.parametrize("name", ["drbd@r0.target", "drbd-promote@r0.service", "drbd@r0.service", "drbd-reactor.service"])
def test_every_unit_that_starts_drbd_is_known(goal: Goal, name: str) -> None:
    facts = evolve(seen("fresh"), units=(Unit(name, "multi-user.target"),))
    assert [one.what for one in said(goal, facts)] == [f"{name} starts at boot: DRBD connects before anybody has looked"]


@pytest.mark.parametrize("cut", ["==end", "==units", "default.target"])
def test_what_could_not_be_read_is_said_and_is_not_nothing(goal: Goal, cut: str) -> None:
    text = captured("boot/enabled.txt")
    boot = read_boot(ONE, text[:text.index(cut)] if cut == "==end" else text.replace(cut, "==gone" if cut == "==units" else "gone"))
    assert not boot.read
    assert [(one.weight, one.where) for one in said(goal, boot)] == [(PROBLEM, ONE)]


# -- System V ----------------------------------------------------------------------------------------------------------

def test_numbers_of_system_v_are_wrong_both_ways(goal: Goal) -> None:
    """The links are those of RHEL 6's scripts, made by hand on a lab node without systemd in sight."""
    found = {(one.what, one.weight): one for one in said(goal, seen("sysv"))}
    assert set(found) == {
        ("cman starts before DRBD: with two_node it is quorate by itself, and fences a node that boots more slowly", PROBLEM),
        ("clvmd starts before DRBD", DANGER),
        ("gfs2 starts before DRBD", DANGER),
        ("lvm2-monitor starts before DRBD", PROBLEM),
        *((f"DRBD is stopped while {name} still stands on it", PROBLEM) for name in ("cman", "clvmd", "gfs2", "smb")),
        ("a boot script starts DRBD or LVM by itself", DANGER),
        ("numbers of the run levels, found and right", NOTE),
    }
    table = found["numbers of the run levels, found and right", NOTE].evidence
    assert table == "drbd S70 K08 (right: S20 K80); cman S21 K79; clvmd S24 K76; gfs2 S26 K74; smb S91 K35"
    assert found["clvmd starts before DRBD", DANGER].evidence == "rc3.d/S24clvmd before rc3.d/S70drbd, rc5.d/S24clvmd before rc5.d/S70drbd"
    late = found["DRBD is stopped while gfs2 still stands on it", PROBLEM]
    assert late.evidence.startswith("rc0.d/K08drbd before rc0.d/K74gfs2")
    assert found["a boot script starts DRBD or LVM by itself", DANGER].evidence == "/etc/rc.local:vgchange -ay"
    assert found["clvmd starts before DRBD", DANGER].remedy == "update-rc.d clvmd disable"


def links(*names: str) -> tuple[Link, ...]:
    return tuple(Link(level, name[0] == "S", int(name[1:3]), name[3:]) for level, _, name in (one.partition("/") for one in names))


STOCK = links("3/S21cman", "3/S24clvmd", "3/S26gfs2", "3/S70drbd", "3/S91smb", "3/S99rgmanager", "0/K01rgmanager", "0/K08drbd", "0/K35smb",
              "0/K74gfs2", "0/K76clvmd", "0/K79cman")
RIGHT = tuple(evolve(one, number=20 if one.starts else 80) if one.service == "drbd" else one for one in STOCK)


def test_the_right_numbers_are_in_the_right_order(goal: Goal) -> None:
    """No service starts before what it stands on, or outlives it; that a boot starts them at all is still said."""
    boot = BootFacts(ONE, read=True, init="sysv", chkconfig=True, links=RIGHT)
    assert [*crossed(boot)] == []
    assert all(place.right for place in places(boot))
    assert not [one.what for one in said(goal, boot) if "before DRBD" in one.what or "stopped while" in one.what or "numbers" in one.what]
    assert [place.service for place in places(boot)] == ["drbd", "cman", "clvmd", "gfs2", "smb", "rgmanager"]


@pytest.mark.parametrize(("service", "number", "upper", "lower"), [
    ("clvmd", 20, "clvmd", "cman"), ("gfs2", 22, "gfs2", "clvmd"), ("smb", 25, "smb", "gfs2"), ("rgmanager", 23, "rgmanager", "clvmd"),
])  # fmt: skip
def test_what_starts_before_what_it_stands_on(service: str, number: int, upper: str, lower: str) -> None:
    moved = tuple(evolve(one, number=number) if (one.service, one.starts) == (service, True) else one for one in RIGHT)
    found = {(one, other): words for one, other, words in crossed(BootFacts(ONE, read=True, init="sysv", links=moved))}
    assert (upper, lower) in found
    assert found[upper, lower].startswith(f"rc3.d/S{number:02}{service} before rc3.d/S")


def test_what_is_stopped_under_what_stands_on_it() -> None:
    moved = tuple(evolve(one, number=10) if (one.service, one.starts) == ("cman", False) else one for one in RIGHT)
    found = {(one, other): words for one, other, words in crossed(BootFacts(ONE, read=True, init="sysv", links=moved))}
    assert found["smb", "cman"] == "rc0.d/K10cman before rc0.d/K35smb"
    assert ("rgmanager", "cman") not in found


def test_the_stock_numbers_cross_only_at_drbd(goal: Goal) -> None:
    boot = BootFacts(ONE, read=True, init="sysv", chkconfig=True, links=STOCK)
    assert [*crossed(boot)] == []
    assert [place.service for place in places(boot) if not place.right] == ["drbd"]
    assert "rgmanager" in {one.what.split()[0] for one in said(goal, evolve(boot, links=links("3/S24rgmanager", "3/S70drbd")))}


def test_red_hat_stops_only_what_a_script_has_started(goal: Goal) -> None:
    """/etc/rc.d/rc skips a K link whose service has no lock file; Debian's runs them all."""
    off = tuple(link for link in STOCK if not link.starts)
    for chkconfig, said_so in ((True, False), (False, True)):
        found = said(goal, BootFacts(ONE, read=True, init="sysv", chkconfig=chkconfig, links=off))
        assert any("DRBD is stopped while" in one.what for one in found) is said_so


def test_a_service_in_a_run_level_without_drbd(goal: Goal) -> None:
    facts = seen("sysv")
    facts = evolve(facts, chkconfig=True, links=tuple(link for link in facts.links if str(link) != "rc2.d/S70drbd"))
    found = next(one for one in said(goal, facts) if one.what == "lvm2-monitor starts where DRBD does not")
    assert (found.weight, found.evidence) == (PROBLEM, "rc2.d/S02lvm2-monitor")
    assert found.remedy.startswith("hide the disk below DRBD from LVM")
    assert found.remedy.endswith("chkconfig lvm2-monitor off")


def test_links_mean_nothing_to_systemd(goal: Goal) -> None:
    assert [link for link in seen("fresh").links if link.starts and link.service == "smbd"]
    assert said(goal, seen("fresh")) == []


# -- LVM and /etc/fstab ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "what", "remedy"), [
    ("lvm-local", "any `vgchange -ay` takes it from DRBD, and a boot may", "vgchange --setautoactivation n vgl"),
    ("lvm-local-quiet", "any `vgchange -ay` takes it from DRBD", '"r|^/dev/ubdb$|"'),
])  # fmt: skip
def test_a_group_that_is_seen_on_the_backing_disk(goal: Goal, drbd_only: Goal, name: str, what: str, remedy: str) -> None:
    for wanted, writes in ((goal, "`orchestrate up` writes"), (drbd_only, "devices { global_filter")):
        (found,) = said(wanted, seen(name))
        assert found.weight is DANGER
        assert found.what.endswith(what)
        assert found.evidence == "/dev/ubdb: volume group vgl (lock type none)"
        assert found.remedy.startswith(writes)
        assert remedy in found.remedy


def test_a_disk_that_is_hidden_from_lvm_is_no_finding(goal: Goal) -> None:
    assert "rejected by filter" in captured("boot/lvm-hidden.txt")
    assert said(goal, seen("lvm-hidden")) == []


def test_a_shared_group_guards_itself(goal: Goal) -> None:
    text = captured("boot/lvm-local.txt").replace("/dev/ubdb|vgl||enabled", "/dev/ubdb|vgl|dlm|enabled")
    (found,) = said(goal, read_boot(ONE, text))
    assert (found.weight, found.evidence) == (PROBLEM, "/dev/ubdb: volume group vgl (lock type dlm)")


@pytest.mark.parametrize("words", ["suspended", "disk /dev/ubdb\n", "disk /dev/ubdb\n  /dev/mapper/control: open failed"])
def test_where_lvm_does_not_answer_the_disk_is_not_taken_for_hidden(goal: Goal, words: str) -> None:
    text = captured("boot/lvm-hidden.txt")
    start, end = text.index("==lvm r0\n") + len("==lvm r0\n"), text.index("\n==end")
    (found,) = said(goal, read_boot(ONE, text[:start] + words + text[end:]))
    assert (found.weight, found.what) == (PROBLEM, "whether LVM sees the disk below r0 could not be read")
    assert found.evidence == " ".join(words.split())


def test_a_machine_without_lvm_has_no_finding(goal: Goal) -> None:
    text = captured("boot/lvm-hidden.txt")
    start, end = text.index("disk /dev/ubdb"), text.index("\n==end")
    assert said(goal, read_boot(ONE, text[:start] + "no LVM" + text[end:])) == []


def test_an_lvm_that_knows_no_autoactivation_is_not_taken_for_one_that_has_it_off(goal: Goal) -> None:
    boot = read_boot(ONE, captured("boot/lvm-local.txt").replace("/dev/ubdb|vgl||enabled", "/dev/ubdb|vgl||wz--n-"))
    assert boot.backing[0].activates is None
    assert said(goal, boot)[0].weight is DANGER


@pytest.mark.parametrize(("where", "unit"), [
    ("/srv/share0", "srv-share0.mount"), ("/opt/", "opt.mount"), ("/srv/my-data", r"srv-my\x2ddata.mount"),
    ("/srv/ü", r"srv-\xc3\xbc.mount"),
])  # fmt: skip
def test_a_mount_point_is_named_as_systemd_names_it(where: str, unit: str) -> None:
    assert mount_unit(FstabLine("x", where, "gfs2", ())) == unit


@pytest.mark.parametrize(("options", "at_boot"), [
    (("noatime",), True), (("noauto", "noatime"), False), (("noauto", "x-systemd.automount"), True),
])  # fmt: skip
def test_which_lines_a_boot_mounts(options: tuple[str, ...], at_boot: bool) -> None:
    assert FstabLine("x", "/srv", "gfs2", options).at_boot is at_boot


SYSINIT = "/etc/rc.d/rc.sysinit:\t/sbin/lvm vgchange -a y --sysinit"


@pytest.mark.parametrize(("backing", "unread", "weight", "remedy"), [
    ((), (), NOTE, "nothing: the disks below DRBD are hidden"),
    ((BackingSeen("r0", "/dev/sdb", "vg0", "none"),), (), DANGER, 'filter = [ "r|^/dev/sdb$|" ] in /etc/lvm/lvm.conf'),
    ((), (("r0", "no answer"),), DANGER, 'filter = [ "r|^DISK$|" ]'),
])
def test_rhel_6s_own_sysinit_is_not_to_be_edited(
    drbd_only: Goal, backing: tuple[BackingSeen, ...], unread: tuple[tuple[str, str], ...], weight: Weight, remedy: str,
) -> None:
    boot = BootFacts(ONE, read=True, init="sysv", chkconfig=True, scripts=(SYSINIT,), backing=backing, unread=unread)
    (one,) = (one for one in said(drbd_only, boot) if "rc.sysinit" in one.evidence)
    assert one.weight is weight
    assert remedy in one.remedy
    assert "take that line out" not in one.remedy


def test_an_administrators_own_line_is_to_go(drbd_only: Goal) -> None:
    boot = BootFacts(ONE, read=True, init="sysv", chkconfig=True, scripts=("/etc/rc.local:vgchange -ay",))
    (one,) = said(drbd_only, boot)
    assert (one.weight, one.remedy) == (DANGER, "take that line out of /etc/rc.local")
