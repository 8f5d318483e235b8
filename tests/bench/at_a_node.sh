# What the shell script and the playbook do on a node, one function for each step. Each looks first, so each may be repeated; what
# has to come from elsewhere is waited for, as a condition. A step that changed something says "changed". dash, as Debian's sh.
set -e
VG=vg_share0 LV=share0 MOUNT=/srv/share0 CLUSTER=NASCluster MINOR=1
VOLUME=/dev/$VG/$LV

await() { # COMMAND...: until it succeeds, two minutes at most
	tries=0
	until "$@" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 1200 ] || { echo "waited in vain for: $*" >&2; exit 1; }
		sleep 0.1
	done
}

line_of_drbd() { grep "^ *$MINOR: " /proc/drbd; }
configured() { line_of_drbd | grep -qv cs:Unconfigured; }
connected() { line_of_drbd | grep -q 'cs:\(Connected\|Sync\|WFBit\|Paused\)'; }
up_to_date() { line_of_drbd | grep -q 'cs:Connected .*ds:UpToDate/UpToDate'; }
primary() { line_of_drbd | grep -q 'ro:Primary/'; }
quorate() { dlm_tool status | grep -q 'quorate 1'; }

drbd_up() {
	modprobe drbd
	if configured; then return; fi
	drbdadm get-gi r0 >/dev/null 2>&1 || drbdadm create-md --force r0
	drbdadm up r0
	echo changed
}

first_copy() { # on the first node: its side is the source of the first copy, where neither was ever good
	if primary; then return; fi
	await connected
	if line_of_drbd | grep -q ds:Inconsistent/Inconsistent; then drbdadm primary --force r0; else await up_to_date; drbdadm primary r0; fi
	echo changed
}

promote() { # on the second one
	if primary; then return; fi
	await up_to_date
	drbdadm primary r0
	echo changed
}

running() { # UNIT
	systemctl is-active -q "$1" || { systemctl start "$1"; echo changed; }
}

group() { # on the first node
	vgs --nolocking $VG >/dev/null 2>&1 || { vgcreate --shared -y $VG /dev/drbd$MINOR; echo changed; }
}

locks() {
	[ -d /sys/kernel/dlm/lvm_$VG ] || { vgchange --lock-start $VG; echo changed; }
	await test -d /sys/kernel/dlm/lvm_$VG
}

volume() { # on the first node
	lvs --nolocking $VG/$LV >/dev/null 2>&1 || { lvcreate -an -Wn -Zn -l 100%FREE -n $LV $VG; echo changed; }
}

active() {
	[ -b $VOLUME ] || { lvchange -asy $VG/$LV; echo changed; }
}

file_system() { # on the first node
	[ "$(blkid -p -o value -s TYPE $VOLUME)" = gfs2 ] || { mkfs.gfs2 -q -O -K -p lock_dlm -t $CLUSTER:$LV -j 2 -J 8 $VOLUME; echo changed; }
}

mounted() {
	if grep -q " $MOUNT gfs2 " /proc/mounts; then return; fi
	mkdir -p $MOUNT
	mount -t gfs2 -o noatime $VOLUME $MOUNT
	echo changed
}

shares() {
	include='include = /etc/samba/orchestrate.conf'
	grep -q "^$include" /etc/samba/smb.conf || { printf '\n[global]\n%s\n' "$include" >>/etc/samba/smb.conf; echo changed; }
}
