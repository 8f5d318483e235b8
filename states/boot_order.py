"""What is wrong with what a boot starts: `orchestrate check`'s findings about units, init scripts, /etc/fstab and LVM. Pure.

Nothing but `orchestrate up` may connect DRBD, so nothing that stands on DRBD may start at boot either: it would find no DRBD, or
the disk below it. The numbers of the System V scripts are those of RHEL 6; they were read, not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from states.boot import BackingSeen, BootFacts, FstabLine, Link, Unit
from states.finding import Finding, Weight
from states.goal import Goal
from states.sysv_order import crossed, places

DRBD = re.compile(r"drbd(@.+)?\.(service|target)|drbd-(promote|services|lvchange)@.+|drbd-reactor\.service|linstor-satellite\.service")
"""Units that attach, connect or promote. Not those of drbd-utils that only wait, or shut down."""
ON_VOLUMES = frozenset({"clvmd", "lvmlocks", "lvm2-activation", "lvm2-activation-early", "lvm2-activation-net", "gfs", "gfs2", "ocfs2"})
"""Services that activate volumes or mount what is on them, in the words of systemd and of System V."""
SERVERS = frozenset({"ctdb", "smb", "smbd", "samba", "nmb", "nmbd", "winbind", "samba-ad-dc", "nfs", "nfs-server", "nfs-kernel-server"})
"""Services that serve what is mounted; ours only where there is a stack."""
MEMBERS = frozenset({"cman", "corosync", "openais", "dlm", "rgmanager", "pacemaker"})
"""Services that make a node a member: started alone at boot, they may fence a node that only boots more slowly."""
MONITOR = "lvm2-monitor"
"""On System V it opens the volumes it monitors. systemd's, seen on Debian 12, activates nothing."""


def order_findings(goal: Goal, boots: tuple[BootFacts, ...]) -> Iterator[Finding]:
    """Everything there is to say of the nodes' boot."""
    for boot in boots:
        if not boot.read:
            yield Finding(Weight.PROBLEM, boot.node, "what a boot starts there could not be read",
                          "the look was cut off, or systemd did not answer", "look there: systemctl list-dependencies default.target")
            continue
        if boot.init == "systemd":
            yield from _units(goal, boot)
        else:
            yield from _links(goal, boot)
        yield from _fstab(boot)
        for line in boot.scripts:
            yield _script(boot, line)
        for seen in boot.backing:
            yield _seen_by_lvm(goal, boot, seen)
        for resource, words in boot.unread:
            yield Finding(Weight.PROBLEM, boot.node, f"whether LVM sees the disk below {resource} could not be read", words,
                          "pvs there has to show /dev/drbdN, never the disk")


def _ours(goal: Goal, service: str) -> bool:
    return service in ON_VOLUMES or (goal.stack is not None and service in SERVERS)


# -- systemd -----------------------------------------------------------------------------------------------------------

def _units(goal: Goal, boot: BootFacts) -> Iterator[Finding]:
    drbd = [unit for unit in boot.units if DRBD.fullmatch(unit.name)]
    for unit in drbd:
        yield Finding(Weight.DANGER, boot.node, f"{unit.name} starts at boot: DRBD connects before anybody has looked", _pulled(unit),
                      f"`orchestrate up` takes drbd.service out of the boot; or: systemctl disable {unit.name}")
    for unit in boot.units:
        if _ours(goal, unit.name.removesuffix(".service")):
            yield Finding(Weight.DANGER, boot.node, f"{unit.name} starts at boot{_place(unit, drbd)}", _pulled(unit),
                          f"systemctl disable {unit.name}")
        if unit.name == "pacemaker.service":
            yield Finding(Weight.PROBLEM, boot.node, "Pacemaker starts at boot, and may start DRBD and all above it by itself",
                          _pulled(unit), "one of the two only: systemctl disable pacemaker.service, or leave this cluster to Pacemaker")


def _pulled(unit: Unit) -> str:
    return f"{unit.name} is pulled in by {unit.pulled_by}"


def _place(unit: Unit, drbd: list[Unit]) -> str:
    """Where it comes in the order, seen from DRBD."""
    if not drbd:
        return ", and DRBD is not there: it finds no data, or the disk below DRBD"
    for one in drbd:
        if unit.name in one.after:
            return f" before {one.name}"
    loose = [one.name for one in drbd if one.name not in unit.after]
    return f" beside {', '.join(loose)}, in no order" if loose else ", after DRBD, whether that is UpToDate and Primary or not"


# -- System V ----------------------------------------------------------------------------------------------------------

def _links(goal: Goal, boot: BootFacts) -> Iterator[Finding]:
    named = {link.service for link in boot.links}
    for service in sorted(one for one in named if _ours(goal, one) or one in MEMBERS or one == MONITOR):
        yield from _started_early(boot, service)
        yield from _stopped_late(boot, service)
    for upper, lower, words in crossed(boot):
        yield Finding(Weight.PROBLEM, boot.node, f"{upper} and {lower}, on which it stands, are in the wrong order", words,
                      _off(boot, upper))
    table = places(boot)
    if any(place.starts for place in table) and not all(place.right for place in table):
        yield Finding(Weight.NOTE, boot.node, "numbers of the run levels, found and right", "; ".join(map(str, table)),
                      "`orchestrate up` takes the stack out of the boot; a boot that is to do it needs the right ones in each script's "
                      "`# chkconfig:` line, then `chkconfig SERVICE resetpriorities`")


def _drbd(boot: BootFacts, level: str, starts: bool) -> Link | None:
    return next((link for link in boot.links if (link.level, link.starts, link.service) == (level, starts, "drbd")), None)


def _started_early(boot: BootFacts, service: str) -> Iterator[Finding]:
    """rc runs the links of a level in the order of their names."""
    early, alone = [], []
    for link in (link for link in boot.links if link.service == service and link.starts):
        drbd = _drbd(boot, link.level, starts=True)
        if drbd is None:
            alone.append(str(link))
        elif (link.number, service) < (drbd.number, "drbd"):
            early.append(f"{link} before {drbd}")
    alone_there = ": with two_node it is quorate by itself, and fences a node that boots more slowly" if service == "cman" else ""
    weight = Weight.PROBLEM if service == MONITOR or service in MEMBERS else Weight.DANGER
    if early:
        yield Finding(weight, boot.node, f"{service} starts before DRBD{alone_there}", ", ".join(early), _off(boot, service))
    if alone:
        yield Finding(weight, boot.node, f"{service} starts where DRBD does not{alone_there}", ", ".join(alone), _off(boot, service))


def _stopped_late(boot: BootFacts, service: str) -> Iterator[Finding]:
    """Red Hat's rc stops only what a script has started (/var/lock/subsys), and `up` starts DRBD without its script."""
    if boot.chkconfig and not any(link.starts and link.service == "drbd" for link in boot.links):
        return
    late = []
    for link in (link for link in boot.links if link.service == service and not link.starts):
        drbd = _drbd(boot, link.level, starts=False)
        if drbd is not None and (drbd.number, "drbd") < (link.number, service):
            late.append(f"{drbd} before {link}")
    if late:
        yield Finding(Weight.PROBLEM, boot.node, f"DRBD is stopped while {service} still stands on it", ", ".join(late),
                      "`orchestrate down` before every shutdown; " + _off(boot, service))


def _off(boot: BootFacts, service: str) -> str:
    typed = f"chkconfig {service} off" if boot.chkconfig else f"update-rc.d {service} disable"
    return f"hide the disk below DRBD from LVM (global_filter), then, if no other volume needs it: {typed}" if service == MONITOR else typed


def _script(boot: BootFacts, line: str) -> Finding:
    """rc.sysinit is the distribution's own: its vgchange has to be there for the system's volumes, and takes what LVM can see."""
    script = line.partition(":")[0]
    if not (script.endswith("/rc.sysinit") and "--sysinit" in line):
        return Finding(Weight.DANGER, boot.node, "a boot script starts DRBD or LVM by itself", line.strip(),
                       f"take that line out of {script}")
    what = "the boot activates every volume group that LVM sees, before DRBD is there"
    if not boot.backing and not boot.unread:
        return Finding(Weight.NOTE, boot.node, what, line.strip(),
                       "nothing: the disks below DRBD are hidden from LVM; leave that filter, and the line")
    disks = ", ".join(f'"r|^{seen.disk}$|"' for seen in boot.backing) or '"r|^DISK$|"'
    return Finding(Weight.DANGER, boot.node, what, line.strip(),
                   f"leave the line, the system's own volumes need it; hide the disk below DRBD: filter = [ {disks} ] in /etc/lvm/lvm.conf")


# -- both --------------------------------------------------------------------------------------------------------------

def _fstab(boot: BootFacts) -> Iterator[Finding]:
    for line in boot.fstab:
        if line.at_boot:
            drbd = [unit for unit in boot.units if DRBD.fullmatch(unit.name)]
            unit = next((unit for unit in boot.units if unit.name == mount_unit(line)), None)
            place = "" if unit is None else _place(unit, drbd)
            yield Finding(Weight.DANGER, boot.node, f"{line.where} is mounted at boot{place}", f"/etc/fstab: {line}",
                          f"put noauto in place of auto or x-systemd.automount in the options of {line.where}")


def mount_unit(line: FstabLine) -> str:
    """systemd's name of a mount point (systemd.unit(5)): slashes become dashes, and what is no letter or digit is written as \\xNN."""
    path = "/".join(part for part in line.where.split("/") if part)
    words = "".join(one if re.match(r"[A-Za-z0-9:_./]", one) else "".join(f"\\x{byte:02x}" for byte in one.encode()) for one in path)
    return words.replace("/", "-") + ".mount"


def _seen_by_lvm(goal: Goal, boot: BootFacts, seen: BackingSeen) -> Finding:
    """A shared group cannot be activated without its locks; anything else can, and that writes past DRBD."""
    group = f"volume group {seen.vg} (lock type {seen.lock})" if seen.vg else "a physical volume of no group"
    old = goal.stack is not None and goal.stack.profile == "rhcs"
    name, file = ("filter", "lvm.conf") if old else ("global_filter", "lvmlocal.conf")
    filtered = f'devices {{ {name} = [ "r|^{seen.disk}$|" ] }} in /etc/lvm/{file}'
    remedy = f"`orchestrate up` writes {filtered}" if goal.stack is not None else filtered
    if seen.vg and seen.lock == "none":
        at_boot = ", and a boot may" if seen.activates else ""
        also = f"; also: vgchange --setautoactivation n {seen.vg}" if seen.activates else ""
        what = f"LVM sees the disk below {seen.resource}: any `vgchange -ay` takes it from DRBD{at_boot}"
        return Finding(Weight.DANGER, boot.node, what, f"{seen.disk}: {group}", remedy + also)
    return Finding(Weight.PROBLEM, boot.node, f"LVM sees the disk below {seen.resource}", f"{seen.disk}: {group}", remedy)
