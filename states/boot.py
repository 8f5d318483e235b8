"""What a boot of one node would start, and in which order, as `orchestrate check` saw it. Frozen values; nothing else needs them."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class Unit:
    """A unit of systemd that a boot starts. `pulled_by`: the unit that wants it. `after`: the others of these that are started
    before it, by whatever chain of After= and Before=."""

    name: str
    pulled_by: str = ""
    after: frozenset[str] = frozenset()


@frozen
class Link:
    """A link of System V init: `rc3.d/S24clvmd` is level 3, starts, 24, clvmd."""

    level: str
    starts: bool
    number: int
    service: str

    def __str__(self) -> str:
        return f"rc{self.level}.d/{'S' if self.starts else 'K'}{self.number:02}{self.service}"


@frozen
class FstabLine:
    """A line of /etc/fstab that mounts something of ours, or any cluster file system."""

    what: str
    where: str
    kind: str
    options: tuple[str, ...]

    @property
    def at_boot(self) -> bool:
        """A boot mounts it, or the first who looks at it does."""
        return "noauto" not in self.options or "x-systemd.automount" in self.options

    def __str__(self) -> str:
        return f"{self.what} {self.where} {self.kind} {','.join(self.options)}"


@frozen
class BackingSeen:
    """The disk below a DRBD resource is visible to LVM, as a physical volume of `vg` ("": of none). `lock`: none, dlm, sanlock.
    `activates`: the boot may activate the group; None where this LVM does not say."""

    resource: str
    disk: str
    vg: str
    lock: str
    activates: bool | None = None


@frozen
class BootFacts:
    """One node. `read`: all of it could be seen; if not, nothing in here says that something is absent."""

    node: str
    read: bool
    init: str = ""  # systemd or sysv
    chkconfig: bool = False  # the tool that turns a System V service off is chkconfig, not update-rc.d
    units: tuple[Unit, ...] = ()
    links: tuple[Link, ...] = ()
    fstab: tuple[FstabLine, ...] = ()
    scripts: tuple[str, ...] = field(factory=tuple)  # lines of boot scripts that start DRBD or LVM
    backing: tuple[BackingSeen, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()  # resources of whose disk LVM could not be asked, each with what it said
