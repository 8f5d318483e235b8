"""The move of a pair from profile `rhcs` to `modern`, as data: what becomes of what, and the steps that a person types. Pure.

Nothing here is carried out by a program. The cut is one for the whole pair: cman's nodes and corosync's do not see each other's
locks, so the two clusters must never have one GFS2 mounted. The second node stays as it was, switched off: it is the way back,
until somebody writes. Sources: lvmlockd(8) of LVM 2.03 (a clustered group becomes a shared one while no volume is active);
DRBD 8.4's drbd_md_read (8.3's metadata are taken as they are, once `apply-al` has read the activity log); tunegfs2(8).
"""

from __future__ import annotations

from enum import Enum
from itertools import product

from attrs import asdict, evolve, field, frozen

from states.facts import ClusterFacts
from states.goal import Ledger, Refused, Wanted
from states.pair import Pair
from states.vocabulary import DiskState

TARGETS = ("modern",)
"""Profiles a pair can be moved to."""


class Where(Enum):
    """Which nodes a step is about."""

    HERE = "here"       # the machine where orchestrate is typed
    BOTH = "both"
    FIRST = "first"     # moved first, serves alone for a while
    SECOND = "second"   # the way back, until somebody writes


class Still(Enum):
    """What stands still while a step is carried out."""

    NOTHING = "nothing"
    ALL = "everything"          # nobody is served
    SPARE = "nothing; no spare"  # one node serves alone


@frozen
class Change:
    """One part of the old system: layers of `rhcs` (or other words), what it becomes, and by what."""

    was: str
    becomes: str
    by: str


@frozen
class MoveStep:
    """One step of the move. `needs`: names of earlier ones. `lasts`: what its duration rests on. `back`: the way back, once it is done.

    `typed`: lines a person types; fields of Site are filled in, and a line with {verified}, {first_disk},
    {second_disk}, {vg} or {mount} is there once for each of them; a step without any line is left out. `stops`, `starts`: layers of
    the two profiles, in order; `drbd` is the resources, `supervise` the supervisor. `no_return`: from here on going back loses data.
    """

    name: str
    where: Where
    still: Still
    needs: tuple[str, ...]
    what: str
    lasts: str
    back: str
    typed: tuple[str, ...]
    stops: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    no_return: bool = False


@frozen
class Site:
    """What of one cluster.toml the move is about. `old`, `new`: names of the files that describe it before and after.

    `volumes`: (volume group, mount point) of each file system. `disks`: of each resource, on the first and on the second node.
    `first_ssh`, `second_ssh`: USER@ADDRESS. `verified`: resources that `verify` can compare. `services`: how many layers of a node stop.
    `name`: what clients call the pair, or "".
    """

    first: str
    second: str
    first_ssh: str
    second_ssh: str
    resources: tuple[str, ...]
    volumes: tuple[tuple[str, str], ...]
    disks: tuple[tuple[str, str], ...]
    verified: tuple[str, ...] = ()
    services: int = 0
    old: str = "cluster.toml"
    new: str = "modern.toml"
    known_hosts: str = "~/.ssh/known_hosts"
    name: str = ""


NAME = "the name in DNS"

BECOMES: dict[str, tuple[str, ...]] = {
    # layer of rhcs: layers of modern. (): gone for good
    "packages": ("packages",),
    "hosts": (),
    "files": ("files",),
    "lvmconf": ("files",),
    "cman": ("authkey", "corosync"),
    "version": (),
    "fenced": ("dlm",),
    "clvmd": ("lvmlockd", "lockspace"),
    "vg": ("vg",),
    "lv": ("lv",),
    "active": ("active",),
    "gfs2": ("gfs2",),
    "mount": ("mount",),
    "rgmanager": (),
    "samba": ("samba",),
    "drbd": ("drbd",),
    "supervise": ("supervise",),
}

CHANGES = (
    #      was, becomes, by what
    Change("DRBD 8.3", "DRBD 8.4",
           "8.3's metadata are taken as they are (both are v08): never `create-md`. The resource file is written anew, in 8.4's words"),
    Change("cman, cluster.conf", "corosync, corosync.conf, authkey",
           "written from the new cluster.toml. Keep the cluster's name: it is in each GFS2's label"),
    Change("fenced", "dlm_controld",
           "the same [node.NAME.fence]; by hand: `orchestrate fence-ack NODE` as before, without fence_ack_manual below it"),
    Change("clvmd, locking_type 3", "lvmlockd, a shared volume group",
           "`vgchange --lock-type`, while no volume is active; lvmlocal.conf in place of lvm.conf's lines"),
    Change("GFS2", "the same GFS2", "nothing. Only under another cluster name: `tunegfs2 -o locktable=NEW:FS DEVICE`, mounted nowhere"),
    Change("rgmanager", "gone", "what it looked after is the supervisor's: `orchestrate supervise`"),
    Change("Samba", "Samba", "smb.conf is written anew; users and passwords are yours to bring along. `ctdb` becomes possible, later"),
    Change("init scripts, chkconfig", "systemd units", "`up` takes the stack's out of the boot, as before"),
    Change("iptables rules", "the new system's packet filter",
           "`up` lets the other node in where one is at work; `check` names what it keeps out"),
    Change("/etc/hosts for cman", "addresses in corosync.conf", "nothing"),
    Change(NAME, "the same",
           "nobody keeps it until the supervisor is back: until then it leads where it led, also to the node that does not serve"),
    Change("legacy = true (SSH)", "gone", "take it out of the new cluster.toml; the nodes have new host keys"),
)

DRBD = ("config", "module", "boot", "port", "drbd")
BELOW = ("packages", "files", "authkey", "corosync", "dlm", "lvmlockd")
ABOVE = ("lockspace", "lv", "active", "gfs2", "mount", "extended", "grown", "samba")

LOOK_AGAIN = ("orchestrate -c {new} status", "orchestrate -c {new} check")
OLD_SECOND = "{first} off, {second} on, `orchestrate -c {old} fence-ack {first}`, `orchestrate -c {old} up --degraded`: nothing is lost"
ASIDE = "the same, and the journal put aside first: {first} was Primary since (rule no-start-alone-on-stale)"
NO_WAY = "none"

STEPS = (
    MoveStep("look", Where.BOTH, Still.NOTHING, (),
             what="is the pair whole? both sides UpToDate, nothing dangerous left", lasts="one look", back="nothing was done",
             typed=("orchestrate -c {old} status", "orchestrate -c {old} check")),
    MoveStep("compare", Where.BOTH, Still.NOTHING, ("look",),
             what="compare every block: one side alone is the truth for a while, later", lasts="as long as reading both disks takes",
             back="nothing was done", typed=("orchestrate -c {old} verify {verified}",)),
    MoveStep("copy", Where.HERE, Still.NOTHING, ("look",),
             what="a copy of the files, on disks that are no part of this", lasts="as long as reading every file takes",
             back="nothing was done", typed=("rsync -aHAX {first_ssh}:{mount}/ ELSEWHERE{mount}/",)),
    MoveStep("describe", Where.HERE, Still.NOTHING, (),
             what="the new cluster.toml: profile = \"modern\", no legacy; names, disks, ports and volumes as they are",
             lasts="editing a file", back="remove {new}",
             typed=("cp {old} {new}   # then edit it", "orchestrate -c {new} plan --to modern --offline   # says: nothing to move")),
    MoveStep("unwatch", Where.HERE, Still.NOTHING, ("compare", "copy", "describe"),
             what="nobody repairs while this goes on (where `supervise` runs)", lasts="a moment", back="systemctl start orchestrate",
             typed=("systemctl stop orchestrate",), stops=("supervise",)),
    MoveStep("down", Where.BOTH, Still.ALL, ("look", "unwatch"),
             what="take everything down on both nodes: two clusters must never have one GFS2 mounted",
             lasts="{services} layers stop on each node, from the top; an unmount first writes out what is cached",
             back="orchestrate -c {old} up", typed=("orchestrate -c {old} down",),
             stops=("rgmanager", "samba", "mount", "active", "clvmd", "drbd", "fenced", "cman")),
    MoveStep("keep", Where.SECOND, Still.ALL, ("down",),
             what="switch {second} off and leave it as it is: it is the way back", lasts="a shutdown",
             back="{second} on, `orchestrate -c {old} up`", typed=("ssh {second_ssh} poweroff",)),
    MoveStep("install-first", Where.FIRST, Still.ALL, ("describe", "keep"),
             what="the new system on {first}", back=OLD_SECOND,
             lasts="as long as an installation takes; one restart, where it was made beforehand on a system disk of its own",
             typed=("# the system's disk only: the installer must not touch {first_disk}",
                    "ssh-keygen -f {known_hosts} -R {first_address}   # it has a new host key",
                    "ssh {first_ssh} lsblk {first_disk}   # as large as before, and nothing on it")),
    MoveStep("start-first", Where.FIRST, Still.ALL, ("install-first",),
             what="DRBD 8.4 on 8.3's metadata, {first} alone Primary; corosync, dlm, lvmlockd. There `up` ends: the group is still clvmd's",
             lasts="the layers below LVM start; the activity log is read (32 KiB by default); nothing is copied", back=ASIDE,
             typed=("orchestrate -c {new} fence-ack {second}", "orchestrate -c {new} up --degraded"), starts=(*DRBD, *BELOW)),
    MoveStep("convert", Where.FIRST, Still.ALL, ("start-first",),
             what="clvmd's group becomes a shared one: only while no node uses it, and {second} is off",
             lasts="LVM's metadata of each group are written twice", back=ASIDE,
             typed=("ssh {first_ssh} vgchange --lock-type none --lock-opt force {vg}", "ssh {first_ssh} vgchange --lock-type dlm {vg}"),
             starts=("vg",)),
    MoveStep("serve", Where.FIRST, Still.ALL, ("convert",),
             what="mount and serve, from {first} alone. {second}'s old system must not serve again", lasts="the layers from LVM up start",
             back=NO_WAY + ": what is written from here on is on {first} only", typed=("orchestrate -c {new} up --degraded",),
             starts=ABOVE, no_return=True),
    MoveStep("try", Where.FIRST, Still.SPARE, ("serve",),
             what="look; then read and write a file through each share, as a client", lasts="the longer, the more has to be copied later",
             back="as before, and what was written since {first} serves is lost", typed=LOOK_AGAIN),
    MoveStep("install-second", Where.SECOND, Still.SPARE, ("try",),
             what="the new system on {second}", lasts="as long as an installation takes", back=NO_WAY,
             typed=("# the system's disk only: the installer must not touch {second_disk}",
                    "ssh-keygen -f {known_hosts} -R {second_address}   # it has a new host key",
                    "ssh {second_ssh} lsblk {second_disk}   # as large as before, and nothing on it")),
    MoveStep("join", Where.SECOND, Still.SPARE, ("install-second",),
             what="{second} joins: connected, copied to, then Primary and serving", back=NO_WAY,
             lasts="as long as copying takes what was written since {first} serves; nothing else is copied",
             typed=("orchestrate -c {new} plan   # `create metadata` in it? stop here", "orchestrate -c {new} up"),
             starts=(*DRBD, *BELOW, "vg", *ABOVE)),
    MoveStep("compare-again", Where.BOTH, Still.NOTHING, ("join",),
             what="compare every block once more", lasts="as long as reading both disks takes", back=NO_WAY,
             typed=("orchestrate -c {new} verify {verified}",)),
    MoveStep("watch", Where.HERE, Still.NOTHING, ("join",),
             what="the new file takes the old one's place, also where `supervise` runs", lasts="a moment", back=NO_WAY,
             typed=("mv {old} {old}.rhcs; mv {new} {old}", "systemctl start orchestrate"), starts=("supervise",)),
)
"""In an order in which they may be typed."""


@frozen
class Moving:
    """The move of one pair. `still`: the numbers (from 1) of the first and the last step during which nobody is served."""

    steps: tuple[MoveStep, ...]
    changes: tuple[Change, ...] = CHANGES
    notes: tuple[str, ...] = ()
    still: tuple[int, int] = field(default=(0, 0))


def moving(site: Site) -> Moving:
    """The steps for this pair, with its names in them."""
    filled = [_filled(step, site) for step in STEPS]
    left_out = {step.name: step.needs for step in filled if not step.typed}
    steps = tuple(evolve(step, needs=_needs(step.needs, left_out)) for step in filled if step.typed)
    numbers = [number for number, step in enumerate(steps, 1) if step.still is Still.ALL]
    changes = tuple(one for one in CHANGES if site.name or one.was != NAME)
    return Moving(steps, changes, _notes(site), (numbers[0], numbers[-1]))


def _needs(needs: tuple[str, ...], left_out: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Who needed a step that is left out needs what that needed."""
    return tuple(dict.fromkeys(one for name in needs for one in (_needs(left_out[name], left_out) if name in left_out else (name,))))


def _notes(site: Site) -> tuple[str, ...]:
    blind = [name for name in site.resources if name not in site.verified]
    notes = [
        "one node at a time is not possible: cman's nodes and corosync's do not see each other's locks, and both would write to one GFS2",
        "how long nobody is served has not been measured: nobody has made this move for this project. Nothing is copied meanwhile",
        "DRBD 8.3 and 8.4 are never connected to each other on this way",
    ]
    if blind:
        notes.append(f"{', '.join(blind)}: cannot be compared before and after: no verify_alg in {site.old}")
    return tuple(notes)


def _filled(step: MoveStep, site: Site) -> MoveStep:
    typed = tuple(line for pattern in step.typed for line in _lines(pattern, site))
    return evolve(step, what=_words(step.what, site), lasts=_words(step.lasts, site), back=_words(step.back, site), typed=typed)


def _words(pattern: str, site: Site) -> str:
    addresses = {f"{key}_address": getattr(site, f"{key}_ssh").rpartition("@")[2] for key in ("first", "second")}
    return pattern.format(**asdict(site, recurse=False), **addresses)


def _lines(pattern: str, site: Site) -> list[str]:
    """One line for each of what the pattern names; none where there is none of it."""
    each = {
        "verified": site.verified,
        "first_disk": tuple(one for one, _ in site.disks), "second_disk": tuple(other for _, other in site.disks),
        "vg": tuple(dict.fromkeys(vg for vg, _ in site.volumes)), "mount": tuple(mount for _, mount in site.volumes),
    }
    used = [key for key in each if f"{{{key}}}" in pattern]
    found = []
    for values in product(*(each[key] for key in used)):
        line = pattern
        for key, value in zip(used, values, strict=True):
            line = line.replace(f"{{{key}}}", value)
        found.append(_words(line, site))
    return found


def unfit(facts: ClusterFacts, resources: tuple[Wanted, ...]) -> Refused | None:
    """Why the move must not begin now; None where nothing that was seen speaks against it. Nodes that were not seen say nothing."""
    for wanted in resources:
        pair = Pair.of(facts, wanted, Ledger())
        seen = [side for side in pair.sides if facts.node(side.node).reachable]
        bad = [f"{side.node} is {side.disk.value}{'' if side.connected else ', not connected'}" for side in seen
               if side.disk is not DiskState.UP_TO_DATE or not side.connected]
        if bad:
            return Refused("move-from-whole", f"the move, with {wanted.name} as it is", "; ".join(bad),
                           "have both sides connected and UpToDate first: orchestrate up")
    return None
