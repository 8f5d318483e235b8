"""From blank disks to Primary/Primary, again from there, and back down."""

from __future__ import annotations

import pytest

from tests.lab.cluster import DISK, N1, N2, Cluster


def test_blank_to_dual_primary_and_then_silence(cluster: Cluster) -> None:
    planned = cluster.run("plan")
    assert planned.code == 10, planned.err
    for words in ("create metadata", "attach", "connect", "force primary", "promote", "(at most once)", "the handshake discards nothing"):
        assert words in planned.out

    first = cluster.up()
    assert "DualPrimary" in first.out
    cluster.assert_dual_primary()
    assert cluster.claims() == [(N1, "create-metadata", "0"), (N1, "force-primary", "0"), (N2, "create-metadata", "0")]
    found = [record for record in cluster.records() if record.get("surprise")]
    assert not found, found

    before = cluster.both("dmesg | tail -n 1; ls -l --time-style=full-iso /etc/drbd.d; ls /var/lib/orchestrate/claims")
    again = cluster.up()
    assert "already there: nothing was changed" in again.out
    assert len([record for record in cluster.records() if record["kind"] == "intent"]) == len(first_intents(cluster))
    assert cluster.both("dmesg | tail -n 1; ls -l --time-style=full-iso /etc/drbd.d; ls /var/lib/orchestrate/claims") == before

    nothing = cluster.run("plan")
    assert (nothing.code, "nothing to do" in nothing.out) == (0, True)


def first_intents(cluster: Cluster) -> list[str]:
    """Intents of the journal's first run."""
    records = cluster.records()
    return [record["key"] for record in records if record["kind"] == "intent" and record["run"] == records[0]["run"]]


@pytest.mark.long
def test_plan_is_what_up_does(cluster: Cluster) -> None:
    items = cluster.run("plan", "--json").json()["items"]
    planned = [item["key"] for item in items if item["node"]]
    cluster.up()
    assert sorted(first_intents(cluster)) == sorted(planned)
    done: set[str] = set()
    for record in cluster.records():
        if record["kind"] == "intent":
            needs = next(item["needs"] for item in items if item["key"] == record["key"])
            assert {need for need in needs if need in planned} <= done, f"{record['key']} went before what it needs"
        if record["kind"] == "outcome":
            done.add(record["key"])


def test_down_and_up_keeps_the_data(pair: Cluster) -> None:
    pair.sh(N1, "printf precious | dd of=/dev/drbd1 bs=4096 seek=100 conv=fsync 2>/dev/null")
    down = pair.run("down")
    assert down.code == 0, down.err
    assert pair.proc(N1) == pair.proc(N2) == ""
    assert pair.run("down").code == 0
    pair.up()
    pair.assert_dual_primary()
    assert pair.sh(N2, "dd if=/dev/drbd1 bs=4096 skip=100 count=1 2>/dev/null | head -c 8") == "precious"
    assert [claim for claim in pair.claims() if claim[1] == "force-primary"] == [(N1, "force-primary", "0")]


def test_skip_initial_sync_on_zeros(cluster: Cluster) -> None:
    cluster.resource("skip_initial_sync = true")
    said = cluster.up()
    assert "copying" not in said.err
    cluster.assert_dual_primary()
    assert (N1, "clear-bitmap", "0") in cluster.claims()
    assert not [claim for claim in cluster.claims() if claim[1] == "force-primary"]


@pytest.mark.long
def test_one_primary_only(cluster: Cluster) -> None:
    cluster.resource("primaries = 1")
    cluster.up()
    assert "ro:Primary/Secondary ds:UpToDate/UpToDate" in cluster.proc(N1)
    assert "already there" in cluster.up().out


@pytest.mark.long
def test_starts_from_every_half_way(cluster: Cluster) -> None:
    """What a person may have typed before: metadata on one node, one side up, both connected and Inconsistent."""
    cluster.up()
    file = cluster.sh(N1, "cat /etc/drbd.d/r0.res")
    halves = {
        "metadata on one": {N1: "drbdadm create-md --force r0"},
        "one side up": {N1: "drbdadm create-md --force r0; drbdadm up r0", N2: "drbdadm create-md --force r0"},
        "both up": {N1: "drbdadm create-md --force r0; drbdadm up r0", N2: "drbdadm create-md --force r0; drbdadm up r0"},
    }
    for name, typed in halves.items():
        cluster.reset()
        for node in (N1, N2):
            cluster.sh(node, f"modprobe drbd; cat > /etc/drbd.d/r0.res <<'END'\n{file}\nEND\n{typed.get(node, '')}")
        cluster.up()
        cluster.assert_dual_primary()
        assert [claim for claim in cluster.claims() if claim[1] == "force-primary"] == [(N1, "force-primary", "0")], name


def test_a_file_system_is_never_written_over(cluster: Cluster) -> None:
    cluster.sh(N2, f"mkfs.ext4 -q {DISK}; sync {DISK}")
    before = cluster.both(f"sha256sum {DISK}")
    said = cluster.up(code=3)
    assert "no-create-md" in said.err
    assert "ext4" in said.err
    assert cluster.both(f"sha256sum {DISK}") == before
    assert cluster.run("plan").code == 3


@pytest.mark.long
def test_bytes_without_a_signature_are_data_too(cluster: Cluster) -> None:
    cluster.sh(N1, f"printf x | dd of={DISK} bs=1 seek=4096 conv=notrunc,fsync 2>/dev/null")
    said = cluster.up(code=3)
    assert "no-create-md" in said.err
    assert "does not read as zeros" in said.err
