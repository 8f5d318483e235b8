"""From a look's sections to the facts of the layers of Fedora 14 and RHEL 6. Pure: the far-side script is `look.sh` beside this file.

Nothing is Up by the word of an init script: a process has to run, and cman, fenced and the kernel have to say that it is of use.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources

from orchestrator.probes.rhcs.clustat import read_clustat
from orchestrator.probes.rhcs.cluster_conf import problems, read_conf, version_of, with_version
from orchestrator.probes.rhcs.cman import CmanStatus, read_domain, read_status
from orchestrator.probes.sections import Sections
from orchestrator.probes.stack import SILENT, ExpectedFile, ExpectedStack, Readers, difference, is_running, left_behind, packages, smbd
from orchestrator.probes.volumes import Fact, spaces, stopped_spaces
from states.vocabulary import Layer

SCRIPT = resources.files(__package__).joinpath("look.sh").read_text()
UP, DOWN, FAILED, HUNG, STARTING, UNKNOWN = Layer.UP, Layer.DOWN, Layer.FAILED, Layer.HUNG, Layer.STARTING, Layer.UNKNOWN
PROCESSES = {"cman": "corosync", "fenced": "fenced", "clvmd": "clvmd", "rgmanager": "rgmanager", "samba": "smbd"}
"""The process of each layer that is a daemon."""
BOOT_LINKS = ("cman", "clvmd", "gfs2", "rgmanager", "smb", "nmb")
"""Services that no boot may start; DRBD's own is looked for anyhow."""


def _hosts(sections: Sections, expected: ExpectedStack) -> Fact:
    """cman looks its own address up by its name; 127.0.0.1, or a router's, is the classic."""
    text = sections.get("hosts")
    if text is None:
        return UNKNOWN, "not seen"
    seen = {line.split()[0]: line.split()[1:2] for line in text.splitlines() if line.strip()}
    for name, address in expected.addresses:
        found = " ".join(seen.get(name, ()))
        if found != address:
            says = f"{name} leads to {found}" if found else f"{name} leads nowhere"
            return FAILED, f"{says} here, cluster.toml says {address}: mend /etc/hosts"
    return UP, "every node's name leads to its address"


def _files(sections: Sections, expected: ExpectedStack) -> Fact:
    absent, differ, version = [], [], ""
    for file in expected.files:
        if sections.get(f"absent {file.path}") is not None:
            absent.append(file.path)
            continue
        text = sections.get(f"at {file.path}")
        if text is None:
            return UNKNOWN, "not seen"
        wrong = _wrong(file, text)
        if file.path.endswith("/cluster.conf"):
            version = f"config_version {version_of(text) or 0}; "
            wrong += _unheard(sections, text) if wrong else ""
        if wrong and file.ours:
            absent.append(file.path)
        elif wrong:
            differ.append(f"{file.path}: {wrong}")
    if differ:
        return FAILED, version + "; ".join(differ)
    return (DOWN, f"{version}missing or older: {' '.join(absent)}") if absent else (UP, f"{version}as cluster.toml says")


def _unheard(sections: Sections, text: str) -> str:
    """Who edits cluster.conf has to raise its version: cman takes no other, and says nothing."""
    running = _status(sections)
    same = running is not None and running.version == version_of(text)
    return "; config_version was not raised: cman runs that number already, and will not read it" if same else ""


def _wrong(file: ExpectedFile, text: str) -> str:
    """How a node's file differs from what it is to be; its version is the cluster's to count."""
    wanted = file.text
    if file.path.endswith("/cluster.conf"):
        conf = read_conf(text)
        broken = ["it is no cluster.conf"] if conf is None else [*problems(conf)]
        if broken:
            return "; ".join(broken)
        wanted = with_version(wanted, version_of(text) or 0)
    if text.strip() == wanted.strip():
        return ""
    return "it differs" if file.secret else difference(text, wanted)


FILTER = re.compile(r"^\s*(?:global_)?filter\s*=\s*(\[.*\])\s*$", re.MULTILINE)
PLAIN_FILTERS = (r'["a/.*/"]', r'["a|.*/|"]', r'["a|.*|"]')
"""What the packages' lvm.conf has: everything may be seen. Nobody's word is lost with it."""


def _lvmconf(sections: Sections, expected: ExpectedStack) -> Fact:
    text = sections.get("lvmconf")
    if text is None:
        return UNKNOWN, "not seen"
    locking = re.search(r"^\s*locking_type\s*=\s*([0-9]+)", text, re.MULTILINE)
    filters = ["".join(one.split()) for one in FILTER.findall(text)]
    wanted = "".join(expected.filter.split())
    if locking is not None and locking[1] == "3" and filters == [wanted]:
        return UP, "LVM locks through the cluster, and does not see DRBD's disks"
    strange = [one for one in filters if one != wanted and one not in PLAIN_FILTERS]
    if strange:
        return FAILED, f"filter = {strange[0]}, cluster.toml wants {expected.filter}"
    seen = f"locking_type is {locking[1] if locking is not None else 'not set'}"
    return DOWN, f"{seen}; {'LVM sees the disks below DRBD' if wanted not in filters else 'they are hidden'}"


ASKED = {
    # layer       section    who answers     what it is if that is silent
    "cman":      ("cman",    "cman_tool",    STARTING),  # a busy node's is slow; the wait has its limit
    "fenced":    ("domain",  "fence_tool",   HUNG),
    "rgmanager": ("clustat", "clustat",      HUNG),
}
"""Daemons that are asked through a tool, which may hang."""


def _daemon(layer: str, ready: Callable[[Sections, ExpectedStack], Fact]) -> Callable[[Sections, ExpectedStack], Fact]:
    """A daemon: its process is there or not; and where it is, what it and the kernel say."""
    section, tool, silent = ASKED.get(layer, ("", "", UNKNOWN))

    def read(sections: Sections, expected: ExpectedStack) -> Fact:
        running = is_running(sections, PROCESSES[layer])
        if running is None:
            return UNKNOWN, "not seen"
        if not running and layer in ("cman", "fenced") and spaces(sections):
            return left_behind(sections)
        if not running:
            return DOWN, f"{PROCESSES[layer]} does not run"
        return (silent, f"{tool} does not answer") if SILENT.search(sections.get(section) or "") else ready(sections, expected)
    return read


def _status(sections: Sections) -> CmanStatus | None:
    return read_status(sections.get("cman") or "")


def _cman(sections: Sections, expected: ExpectedStack) -> Fact:
    status = _status(sections)
    if status is None or not status.member:
        return STARTING, "corosync runs, and cman is no member of a cluster"
    if status.cluster != expected.cluster:
        return FAILED, f"it is a member of cluster {status.cluster}, cluster.toml says {expected.cluster}"
    if status.disallowed:
        return HUNG, "a node came back with the state it had when it was lost (disallowed): restart cman there, or power-cycle it"
    if status.blocked:
        return STARTING, f"not quorate: {status.votes} of {status.quorum} votes"
    return UP, f"quorate, config_version {status.version}"


def _version(sections: Sections, expected: ExpectedStack) -> Fact:
    """What runs, and what the file has."""
    if is_running(sections, PROCESSES["cman"]) is False:
        return UP, "cman does not run: it will read the file that is there"
    running, text = _status(sections), sections.get("at /etc/cluster/cluster.conf")
    there = None if text is None else version_of(text)
    if running is None or there is None:
        return UNKNOWN, "the version that runs, or that of the file, could not be read"
    if running.version >= there:
        return UP, f"the cluster runs config_version {running.version}"
    return DOWN, f"the cluster runs config_version {running.version}, the file has {there}"


def _fenced(sections: Sections, expected: ExpectedStack) -> Fact:
    text = sections.get("domain") or ""
    domain, status = read_domain(text.partition("\ncode ")[0] + "\n"), _status(sections)
    if domain is None:
        return DOWN, "fenced runs, and is in no fence domain"
    if domain.waits == "fencing" or domain.victim:
        return HUNG, f"it waits until node {domain.victim or '?'} is fenced"
    if domain.waits != "none":
        return STARTING, f"it waits for {domain.waits}"
    if status is None or status.node_id not in domain.members:
        return STARTING, "this node is no member of the fence domain yet"
    stopped = stopped_spaces(sections)
    if stopped:
        return HUNG, f"lockspaces stopped: {', '.join(stopped)}"
    return UP, f"members {' '.join(map(str, domain.members))}, nobody to be fenced"


def _clvmd(sections: Sections, expected: ExpectedStack) -> Fact:
    """It is of use once its lockspace runs."""
    if "clvmd" not in spaces(sections):
        return STARTING, "it runs, and has no lockspace"
    return (HUNG, "its lockspace is stopped") if "clvmd" in stopped_spaces(sections) else (UP, "it runs, and its lockspace does")


def _rgmanager(sections: Sections, expected: ExpectedStack) -> Fact:
    seen = read_clustat(sections.get("clustat") or "")
    if seen is None or not seen.managed:
        return STARTING, "it runs, and has not joined"
    return UP, f"{len(seen.services)} services, {sum(one.state == 'failed' for one in seen.services)} of them failed"


def _samba(sections: Sections, expected: ExpectedStack) -> Fact:
    return smbd(sections)


READERS: Readers = {
    "packages": packages("; yum install them"),
    "hosts": _hosts,
    "files": _files,
    "lvmconf": _lvmconf,
    "cman": _daemon("cman", _cman),
    "version": _version,
    "fenced": _daemon("fenced", _fenced),
    "clvmd": _daemon("clvmd", _clvmd),
    "rgmanager": _daemon("rgmanager", _rgmanager),
    "samba": _daemon("samba", _samba),
}
