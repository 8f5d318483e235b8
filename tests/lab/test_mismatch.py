"""Settings that differ, and everything else DRBD refuses or never notices: `up` names the setting and both values.

`drbdadm adjust` and `connect` return 0 in nearly all of these (captures `wrong_*`).
"""

from __future__ import annotations

import pytest

from tests.lab.cluster import DISK, N1, N2, Cluster

RUN_OTHERWISE = """
drbdadm down r0 2>/dev/null; modprobe drbd
cp /etc/drbd.d/r0.res /root/ours
sed -i '{change}' /etc/drbd.d/r0.res && drbdadm up r0; code=$?
cp /root/ours /etc/drbd.d/r0.res
exit $code
"""
"""The kernel runs something else than the file says: somebody edited, adjusted, and put the file back."""

DIFFERENCES = {
    # setting             sed on the other node's file                                         ours          theirs
    "after-sb-0pri":      ("s/after-sb-0pri disconnect/after-sb-0pri discard-zero-changes/",   "disconnect", "discard-zero-changes"),
    "after-sb-1pri":      ("s/after-sb-1pri disconnect/after-sb-1pri discard-secondary/",      "disconnect", "discard-secondary"),
    "allow-two-primaries": ("s/allow-two-primaries yes/allow-two-primaries no/",               "yes",        "no"),
    "verify-alg":         ("s/protocol C;/protocol C; verify-alg md5;/",                       "",           "md5"),
    "shared-secret":      ('s/protocol C;/protocol C; shared-secret "x"; cram-hmac-alg sha1;/', "none",      "set"),
    "protocol":           ("s/protocol C;/protocol A;/; s/allow-two-primaries yes/allow-two-primaries no/", "C", "A"),
}


def went_down(cluster: Cluster) -> None:
    """A pair with data, down on both."""
    cluster.up()
    assert cluster.run("down").code == 0


@pytest.mark.long
def test_what_one_kernel_runs_differs(cluster: Cluster) -> None:
    """One pair for all settings: nothing ever connects, so each starts from the same place."""
    went_down(cluster)
    for setting, (change, ours, theirs) in DIFFERENCES.items():
        cluster.sh(N2, RUN_OTHERWISE.replace("{change}", change))
        assert "WFConnection" in cluster.proc(N2), setting
        assert cluster.state()["diagnosis"]["kind"] == "peer down", setting
        said = cluster.up(code=3)
        for words in (setting, repr(ours), repr(theirs), N2):
            assert words in said.err, said.err
        cluster.both("drbdadm down r0")
    cluster.up()
    cluster.assert_dual_primary()


def test_what_one_file_says_differs(cluster: Cluster) -> None:
    """Drift is shown statement by statement, and mended only when asked to."""
    went_down(cluster)
    cluster.sh(N2, "sed -i 's/after-sb-0pri disconnect/after-sb-0pri discard-zero-changes/' /etc/drbd.d/r0.res; sync /etc/drbd.d/r0.res")
    said = cluster.up(code=3)
    for words in ("config-drift", "after-sb-0pri", "discard-zero-changes", "wants disconnect", "--apply-config"):
        assert words in said.err, said.err
    assert "config-drift" in cluster.run("plan").err
    cluster.up("--apply-config")
    cluster.assert_dual_primary()
    assert "discard-zero-changes" in cluster.sh(N2, "cat /etc/drbd.d/r0.res.before")


@pytest.mark.long
def test_a_discarding_policy_has_to_be_accepted(cluster: Cluster) -> None:
    cluster.resource('after_sb_0pri = "discard-zero-changes"')
    assert cluster.up(code=2).err.count("\n") == 1
    cluster.resource('after_sb_0pri = "discard-zero-changes"', "accept_auto_discard = true")
    said = cluster.up()
    assert "may discard data by itself" in said.err


def test_data_under_new_metadata_is_not_overwritten(cluster: Cluster) -> None:
    """Somebody made metadata by hand, on both, over data: "just created" does not mean that nothing is there."""
    went_down(cluster)
    cluster.sh(N2, f"printf precious | dd of={DISK} bs=4096 seek=10 conv=notrunc,fsync 2>/dev/null")
    cluster.both("drbdadm create-md --force r0")
    said = cluster.up(code=3)
    assert "look-before-connect" in said.err
    assert f"{N2} holds something under its new metadata" in said.err
    assert cluster.sh(N2, f"dd if={DISK} bs=4096 skip=10 count=1 2>/dev/null | head -c 8") == "precious"


@pytest.mark.long
def test_a_pair_that_runs_discarding_policies_is_not_already_there(cluster: Cluster) -> None:
    cluster.up()
    cluster.both("drbdadm net-options --after-sb-0pri=discard-zero-changes r0")
    said = cluster.up(code=3)
    assert "after-sb-0pri" in said.err
    assert "discard-zero-changes" in said.err


@pytest.mark.long
def test_unrelated_data(cluster: Cluster) -> None:
    went_down(cluster)
    for node, identifier in ((N1, "1111111111111110"), (N2, "2222222222222220")):
        history = "3333333333333330:4444444444444440" if node == N1 else "5555555555555550:6666666666666660"
        cluster.sh(node, f"drbdmeta --force 1 v08 {DISK} internal set-gi {identifier}:0000000000000000:{history}:1:1:0:0:0:0:0")
    said = cluster.up(code=3)
    assert "Unrelated" in said.err
    assert [cluster.proc(node)[:13] for node in (N1, N2)] == ["cs:StandAlone", "cs:StandAlone"]
    assert cluster.state()["diagnosis"]["kind"] == "unrelated data"
    cluster.both("drbdadm connect r0")
    said_so = "Unrelated data, aborting!"  # by whoever compares first: it hangs up, and the other may not come to compare at all
    cluster.until(lambda: any(said_so in log for log in cluster.both("dmesg").values()), "a kernel refused")
    assert cluster.state()["diagnosis"]["kind"] == "unrelated data"


def test_the_port_is_opened_where_iptables_blocks_it(cluster: Cluster) -> None:
    cluster.sh(N2, "iptables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT; iptables-legacy -A INPUT -i vec1 -p tcp -j DROP")
    said = cluster.up()
    assert "open the replication port" in said.err
    cluster.assert_dual_primary()
    rules = cluster.sh(N2, "iptables-legacy -S INPUT")
    assert "-s 10.98.0.11/32 -p tcp -m tcp --dport 7789" in rules
    assert "DROP" in rules


@pytest.mark.long
def test_a_port_blocked_where_we_do_not_open_ends_at_the_deadline(cluster: Cluster) -> None:
    cluster.resource("connect_deadline = 8")
    for node in (N1, N2):
        cluster.sh(node, "iptables-legacy -A OUTPUT -o vec1 -p tcp -j DROP")
    said = cluster.up(code=5)
    assert "firewall" in said.err
    assert "Connecting" in said.err


@pytest.mark.long
def test_too_small_a_disk(cluster: Cluster) -> None:
    cluster.sh(N2, "truncate -s 200K /run/small; losetup /dev/loop0 /run/small")
    cluster.changes[f'disk = "{DISK}"'] = f'disks = {{ {N1} = "{DISK}", {N2} = "/dev/loop0" }}'
    said = cluster.up(code=4)
    cluster.sh(N2, "drbdadm down r0; losetup -d /dev/loop0")
    assert "/dev/loop0" in said.err or "too small" in said.err, said.err


def test_a_volume_group_on_the_backing_disk(cluster: Cluster) -> None:
    """The how-to's first trap: something has the partition before DRBD."""
    went_down(cluster)
    cluster.sh(N2, f"modprobe dm-mod; echo '0 2048 linear {DISK} 0' | dmsetup create grabbed")
    said = cluster.up(code=3)
    cluster.sh(N2, "dmsetup remove grabbed")
    assert "no-lvm-under-drbd" in said.err
    assert "dm-0" in said.err
    touched = cluster.up(code=3)  # it is gone, and what it did is not known: that side is not UpToDate, whatever DRBD says
    assert "backing-touched" in touched.err
    cluster.sh(N2, "modprobe drbd; drbdadm invalidate r0; rm /var/lib/orchestrate/touched/r0")
    cluster.up()
    cluster.assert_dual_primary()
    assert "Began resync as SyncTarget" in cluster.sh(N2, "dmesg")


@pytest.mark.long
def test_a_boot_unit_that_connects_is_taken_out_of_the_boot(cluster: Cluster) -> None:
    cluster.sh(N1, "systemctl enable drbd.service")
    assert "take DRBD's own units out of the boot" in cluster.run("plan").out
    cluster.up()
    assert "disabled" in cluster.sh(N1, "systemctl is-enabled drbd.service")


@pytest.mark.long
def test_a_changed_host_key(cluster: Cluster) -> None:
    known = cluster.lab.config_path.parent / "known_hosts.wrong"
    lines = (cluster.lab.config_path.parent / "known_hosts").read_text().splitlines()
    other = {"10.99.0.11": "10.99.0.12", "10.99.0.12": "10.99.0.11"}
    swapped = [" ".join((other.get(line.split()[0], line.split()[0]), *line.split()[1:])) for line in lines]
    known.write_text("\n".join(swapped) + "\n")
    cluster.changes['known_hosts = "known_hosts"'] = 'known_hosts = "known_hosts.wrong"'
    said = cluster.up(code=6)
    assert "known_hosts.wrong" in said.err
