"""`orchestrate verify` on real kernels: what differs behind DRBD's back is found, and nothing is repaired unless told to."""

from __future__ import annotations

import json

from tests.lab.cluster import DISK, N1, N2, Cluster

WRONG = {300: 2, 5000: 1}
"""Blocks of 4 KiB that the second node's disk is made to have otherwise: first and count."""


def test_what_differs_is_found_kept_and_mended_when_told(cluster: Cluster) -> None:
    cluster.up()
    refused = cluster.run("verify", "r0")
    assert (refused.code, "verify-at-rest" in refused.err, "no verify-alg runs" in refused.err) == (3, True, True), refused
    cluster.resource('verify_alg = "crc32c"')
    assert cluster.run("down").code == 0
    cluster.up("--apply-config")
    cluster.sh(N1, "head -c 40960000 /dev/urandom | dd of=/dev/drbd1 bs=4096 conv=fsync 2>/dev/null")
    clean = cluster.run("verify", "r0", "--json")
    assert (clean.code, clean.json()["blocks"], clean.json()["out_of_sync_kib"]) == (0, 0, 0), clean
    behind(cluster)
    found = cluster.run("verify", "r0", "--json")
    assert (found.code, found.json()["blocks"], found.json()["complete"]) == (10, 3, True), found
    assert found.json()["runs"] == [[first, count] for first, count in WRONG.items()]
    assert found.json()["out_of_sync_kib"] == 12
    assert cluster.state()["state"] == "Suspect"
    repair(cluster)


def behind(cluster: Cluster) -> None:
    """Both down, and blocks of one disk are written; DRBD cannot know, and connects them as equal."""
    assert cluster.run("down").code == 0
    for first, count in WRONG.items():
        cluster.sh(N2, f"yes wrong | head -c {count * 4096} | dd of={DISK} bs=4096 seek={first} conv=notrunc,fsync 2>/dev/null")
    cluster.up()
    cluster.assert_dual_primary()


def repair(cluster: Cluster) -> None:
    """The side that is said to be wrong is taken down, its blocks are kept, and the other's are copied to it."""
    said = cluster.run("verify", "r0", "--repair", N2, "--json", timeout=400)
    assert (said.code, said.json()["blocks"], said.json()["out_of_sync_kib"]) == (0, 0, 0), said
    cluster.assert_dual_primary()
    (blocks,) = (cluster.folder / "archives").glob("r0-linux-nas02-*.blocks")
    assert blocks.read_bytes() == b"".join((b"wrong\n" * 4096)[:count * 4096] for count in WRONG.values())
    assert json.loads(blocks.with_name(f"{blocks.name}.json").read_text())["runs"] == [[first, count] for first, count in WRONG.items()]
    for first, count in WRONG.items():
        read = f"dd if={DISK} bs=4096 skip={first} count={count} iflag=direct 2>/dev/null | sha256sum"
        sums = cluster.both(read)
        assert sums[N1] == sums[N2]
