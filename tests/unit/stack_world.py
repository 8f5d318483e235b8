"""A captured node as files and tools in a temporary folder, so that the very script that looks at real nodes can look at it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

from orchestrator.probes import look, stack
from orchestrator.probes.sections import Sections
from orchestrator.probes.stack import ExpectedStack
from orchestrator.stack.steps import look_calls
from tests.unit.captures import CAPTURES

TOOLS = {"dlm_tool status": "dlm_status", "dlm_tool ls": "dlm_ls", "corosync-quorumtool -s": "quorumtool", "ctdb nodestatus": "ctdb_status"}
"""What the script calls, and the captured output of it."""
MOVED = ("/sys/", "/proc/", "/run/corosync", "/run/orchestrate", "/etc/ctdb", "/etc/corosync", "/etc/lvm", "/etc/dlm", "/etc/samba",
         "/etc/orchestrate", "/usr/local/sbin", "/dev/drbd", "/dev/ubdb", "/dev/$2", "/opt/")
"""Paths of a node that are below `root` here."""
SYSTEM = ("base64", "cat", "cmp", "dd", "grep", "mv", "rm", "sed", "sleep", "tail", "timeout", "tr")
"""Of this machine's own programs, nothing else is there."""


class World:
    """One captured node. `root` stands for its `/`."""

    def __init__(self, root: Path, case: str, node: str) -> None:
        self.root = root
        self._at = CAPTURES / "stack" / case / node
        self._tools = root / "bin"
        self._tools.mkdir()
        (root / "run").mkdir()
        for name in SYSTEM:
            (self._tools / name).symlink_to(shutil.which(name) or name)
        self._kernel()
        self._daemons()
        self._programs()

    def text(self, probe: str) -> str:
        """One captured output."""
        return Path(f"{self._at}-{probe}.txt").read_text()

    def write(self, path: str, text: str) -> Path:
        """A file of the node."""
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    def tool(self, name: str, script: str) -> None:
        """A program of the node, as /bin/sh runs it."""
        path = self._tools / name
        path.unlink(missing_ok=True)  # it may be a link to this machine's own: nothing may be written through that
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def _kernel(self) -> None:
        text = self.text("kernel")
        parts = r"^== (/\S+)[^\n]*\n(.*?)(?=^== |^slaves:|^/sys/block/\S+/holders:|^uptime=)"
        for path, body in re.findall(parts, text, re.MULTILINE | re.DOTALL):
            self.write(path, body)
        for dm, below in re.findall(r"^== /sys/block/(dm-\d+)/size\n\d+\nslaves: (\S+)", text, re.MULTILINE):
            self.write(f"/sys/block/{dm}/slaves/{below}", "")
        self.write("/sys/block/drbd1/ro", "0\n" if "ro:Primary/" in text else "1\n")
        if not (self.root / "proc/mounts").exists():
            self.write("/proc/mounts", "")

    def _daemons(self) -> None:
        for unit, pids in re.findall(r"^(\w[\w-]*)\.service cgroup\.events: .*procs: ([\d ]+)$", self.text("units"), re.MULTILINE):
            self.write(f"/sys/fs/cgroup/system.slice/{unit}.service/cgroup.procs", pids.strip().replace(" ", "\n") + "\n")

    def _programs(self) -> None:
        for call, probe in TOOLS.items():
            name, _, option = call.partition(" ")
            self._captured(name, option, probe)
        for name in ("pvs", "lvs"):
            lines = self.text(f"{name}_nolocking").splitlines()[1:]
            rows = [line.split() for line in lines if not line.startswith(("rc=", "  VG ", "  PV "))]
            wide = 3 if name == "pvs" else 2
            self.tool(name, "\n".join(f"echo '  {'|'.join(row[:wide])}'" for row in rows))
        for name in ("corosync", "dlm_controld", "lvmlockd", "vgs", "mkfs.gfs2", "smbd", "ctdbd", "fence_ipmilan"):
            self.tool(name, "exit 1")
        log = self.write("/captured/dmesg", self.text("dmesg"))
        self.tool("dmesg", f"cat {shlex.quote(str(log))}")

    def _captured(self, name: str, option: str, probe: str) -> None:
        body = self.text(probe).split("\n", 1)[1]
        words, _, end = body.rpartition("rc=")
        output = self.write(f"/captured/{probe}", words)
        code = int(end.split()[0])
        old = (self._tools / name).read_text() if (self._tools / name).exists() else "#!/bin/sh\n"
        script = old.removeprefix("#!/bin/sh\n") + f'[ "$1" = {option} ] && {{ cat {shlex.quote(str(output))}; exit {code}; }}'
        self.tool(name, script)

    def device(self, name: str, head: bytes = b"", mebi: int = 2) -> None:
        """A block device, empty but for its head."""
        path = self.root / "dev" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(head)
            file.truncate(mebi << 20)

    def look(self, expected: ExpectedStack) -> str:
        """What the script prints here."""
        script = look.SCRIPT + "\n" + stack.SCRIPT
        calls = look_calls(expected)
        for path in MOVED:
            script, calls = script.replace(path, f"{self.root}{path}"), calls.replace(path, f"{self.root}{path}")
        calls = calls.replace(f"{self.root}/dev/drbd", "/dev/drbd")
        done = subprocess.run(
            ["/bin/sh", "-c", f"{script}\n{calls}\nabove"], capture_output=True, text=True, check=False, timeout=60,
            env={"PATH": str(self._tools)},
        )
        assert not done.stderr, done.stderr
        return done.stdout.replace(str(self.root), "")

    def sections(self, expected: ExpectedStack) -> Sections:
        """The same, cut."""
        return Sections.cut(self.look(expected))
