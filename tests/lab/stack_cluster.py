"""The whole file server in the lab's `full` flavour: what its scenarios put in, read back and watch."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import signal
from typing import Any

from attrs import define

from fixtures.lab import LabSpec
from tests.lab.cluster import N1, N2, Cluster, Said

SPEC = LabSpec(nodes=2, memory=400, disk=256, flavour="full")
NAME = "share0"
MOUNT, VG, DEVICE = f"/srv/{NAME}", f"vg_{NAME}", f"/dev/vg_{NAME}/{NAME}"
ONCE = [(N1, "create-metadata"), (N1, "force-primary"), *((N1, f"{kind}-{NAME}") for kind in ("gfs2", "lv", "vg")), (N2, "create-metadata")]
"""What may be done once only, and on which node a blank pair has it done."""
UNHURRIED = {"token = 5000": "token = 15000", "ping_timeout = 30": "ping_timeout = 100"}
"""For a scenario in which nobody may be fenced because the machine is busy: with the lab's own times, twelve tasks to a processor
were seen to be enough for that."""
PATIENCE = 400.0
"""Seconds one run of the command line may take: two nodes on two busy cores start every service of the stack."""

SMALL_FILES = f"""
cd {MOUNT} && mkdir -p many && cd many || exit
for i in $(seq 200); do head -c $((i * 37)) /dev/urandom >file$i; done
sync .; sha256sum file* >/root/sums && sync /root/sums /root && wc -l </root/sums
"""

WATCHER = """
cat >/usr/local/sbin/watch-backing <<'END'
#!/bin/bash
# Which dm device stands on what, five times a second; the backing disk's own line is the hazard.
mkfifo /run/watch.pause; exec 9<>/run/watch.pause
declare -A told
count=0
while :; do
    for slave in /sys/block/dm-*/slaves/*; do
        [ -e "$slave" ] || continue
        dm=${slave#/sys/block/}; words="${dm%%/*} on ${slave##*/}"
        [ "${told[$words]}" ] || { told[$words]=1; echo "$words" >>/run/watch.seen; }
    done
    for holder in /sys/block/ubdb/holders/dm-*; do
        [ -e "$holder" ] || continue
        words="${holder##*/} holds ubdb"
        [ "${told[$words]}" ] || { told[$words]=1; echo "$words" >>/run/watch.seen; }
    done
    count=$((count + 1)); read -r up _ </proc/uptime; echo "$count $up" >/run/watch.count
    read -t 0.2 -u 9 _
done
END
chmod 755 /usr/local/sbin/watch-backing
cat >/etc/systemd/system/watch-backing.service <<'END'
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/usr/local/sbin/watch-backing
[Install]
WantedBy=sysinit.target
END
systemctl enable -q watch-backing.service; sync
"""

NOTHING_LEFT = f"""
for name in corosync dlm_controld lvmlockd smbd; do pidof $name >/dev/null && echo "$name runs"; done
for space in /sys/kernel/dlm/*; do [ -e $space ] && echo "lockspace ${{space##*/}}"; done
for dm in /sys/block/dm-*; do [ -e $dm ] && echo "${{dm##*/}} is there"; done
grep -q ' {MOUNT} ' /proc/mounts && echo "{MOUNT} is mounted"
grep ' 1: ' /proc/drbd
:
"""


@define
class StackCluster(Cluster):
    """Two nodes of the `full` flavour."""

    used: bool = False

    def renew(self) -> None:
        """Both nodes as they come from the shop: new disks, new roots."""
        if self.used:
            self.lab.down()
            self.lab.up(SPEC)
        self.used = True
        self.changes = {}
        for journal in self.folder.glob("*.jsonl"):
            journal.unlink()

    def run(self, *words: str, timeout: float = PATIENCE) -> Said:
        """See Cluster, with the patience the whole stack needs."""
        self.used = True
        return super().run(*words, timeout=timeout)

    def up(self, *words: str, code: int = 0, timeout: float = PATIENCE) -> Said:
        """See Cluster, with the patience the whole stack needs."""
        return super().up(*words, code=code, timeout=timeout)

    def power_cut(self) -> None:
        """Both nodes lose power in the same moment, and have it again."""
        for node in (N1, N2):
            self.lab.power_off(node)
        self.power_on()

    def power_on(self) -> None:
        """Whoever is off boots; both at once."""
        off = [node for node in (N1, N2) if not self.lab.is_on(node)]
        for node in off:
            self.lab.power_on(node, wait=False)
        for node in off:
            self.lab.wait_ready(node)

    def killed_up(self, lines: int) -> str:
        """Start `up` and SIGKILL it after so many lines told; the last of them, "" if it ended before."""
        process = self.start("up")
        assert process.stderr is not None
        assert process.stdout is not None
        told = ""
        for _ in range(lines):
            told = process.stderr.readline()
            if not told:
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        process.stdout.close()
        return told.strip()

    # -- what is served ------------------------------------------------------------------------------------------------

    def smb(self, node: str, command: str) -> str:
        """smbclient on a node, at its own smbd."""
        return self.sh(node, f"smbclient -N //localhost/{NAME} -c '{command}'")

    def put(self, node: str, name: str, seed: int, size: int = 500_000) -> str:
        """Put a file through SMB; its checksum."""
        data = random.Random(seed).randbytes(size)
        self.sh(node, f"base64 -d >/tmp/put.{name} <<'END'\n{base64.encodebytes(data).decode()}END")
        said = self.smb(node, f"put /tmp/put.{name} {name}")
        assert "putting file" in said, said
        return hashlib.sha256(data).hexdigest()

    def get(self, node: str, name: str) -> str:
        """Get a file through SMB; the checksum of what came."""
        said = self.smb(node, f"get {name} /tmp/got.{name}")
        return self.sh(node, f"sha256sum </tmp/got.{name} && rm /tmp/got.{name}").split()[0] if "getting file" in said else said

    def assert_small_files(self, node: str) -> None:
        """All 200, byte for byte."""
        said = self.sh(node, f"cd {MOUNT}/many && sha256sum -c /root/sums | grep -c ': OK$'").strip()
        assert said == "200", said

    def assert_serving(self) -> None:
        """DualPrimary, every layer Up on both nodes with storage, and each one's smbd shows the share."""
        self.assert_both_primary()
        seen: list[dict[str, Any]] = []
        try:  # a tool on a busy node may not answer within a look's limit: its layer is then shown as Starting, "does not answer"
            self.until(lambda: self._all_up(seen), "every layer Up on both")
        except AssertionError:
            raise AssertionError(f"{seen[-1]['resources']}\n{seen[-1]['nodes']}\n{self.run('status').out}") from None
        for name, shown in self.both(f"smbclient -N //localhost/{NAME} -c ls").items():
            assert "blocks available" in shown, (name, shown)

    def _all_up(self, seen: list[dict[str, Any]]) -> bool:
        seen.append(self.run("status", "--json").json())
        nodes, pair = seen[-1]["nodes"], seen[-1]["resources"]["r0"]
        return pair["state"] == "DualPrimary" and all(set(nodes[name]["layers"].values()) == {"Up"} for name in (N1, N2))

    def layers(self) -> dict[str, dict[str, str]]:
        """`orchestrate status --json`: each node's layers."""
        nodes: dict[str, dict[str, Any]] = self.run("status", "--json").json()["nodes"]
        return {name: node["layers"] for name, node in nodes.items()}

    def made_once(self) -> list[tuple[str, str]]:
        """Claims of both nodes, with what each was for. Fails where one did not end well."""
        script = (
            "for c in /var/lib/orchestrate/claims/*; do read s r _ <$c/intent &&"
            " printf '%s %s %s\\n' $s $r $(cat $c/outcome 2>/dev/null || echo open); done"
        )
        found = []
        for node, text in self.both(f"[ -d /var/lib/orchestrate/claims ] || exit 0; {script}").items():
            for line in text.splitlines():
                step, resource, outcome = line.split()
                assert outcome == "0", (node, line)
                found.append((node, resource if step == "start-layer" else step))
        return sorted(found)

    def watched(self) -> dict[str, tuple[int, set[str]]]:
        """What the watcher saw since boot: how many looks, and which dm device stood on what."""
        found = {}
        for node, text in self.both("cat /run/watch.count; cat /run/watch.seen 2>/dev/null; :").items():
            count, *seen = text.splitlines()
            found[node] = (int(count.split()[0]), set(seen))
        return found
