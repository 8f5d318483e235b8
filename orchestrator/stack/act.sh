# Starting and stopping the layers above DRBD. Each function ends when its layer is up, or says why it is not; what it says is
# never believed, a look follows. Commands that may touch a GFS2 whose locks are stopped do so in a child whose output is a file:
# a process in D state that holds our stdout would keep the session for ever.
export LVM_SUPPRESS_FD_WARNINGS=1 # a claimed step has its lock file open

await() { # SECONDS COMMAND...: until it succeeds
	read -r begin _ </proc/uptime
	wait_until=$((${begin%.*} + $1)); shift
	until "$@" >/dev/null 2>&1; do
		now
		[ "${uptime%.*}" -lt $wait_until ] || { printf 'waited in vain for: %s\n' "$*"; "$@"; return 1; }
		sleep 0.1
	done
}

service() { # start|stop UNIT
	systemctl "$1" "$2" && return
	code=$?
	systemctl status --no-pager -n 15 "$2" 2>&1
	return $code
}

write_files() { # PATH MODE CONTENT...
	while [ $# -ge 3 ]; do
		mkdir -p "${1%/*}" && (umask 077 && write_file "$1" "$3") && chmod "$2" "$1" || { unwritten "$1"; return 1; }
		shift 3
	done
}

unwritten() { # PATH: dash's printf says "I/O error" for whatever it was
	rm -f "$1.new"
	printf '%s could not be written; there: %s\n' "$1" "$(df -P "${1%/*}" | tail -n 1)"
}

write_authkey() { # BASE64: made once, the same on every node; "" makes it here
	(mkdir -p /etc/corosync && umask 077 && new_authkey "$1" >/etc/corosync/authkey.new && chmod 0400 /etc/corosync/authkey.new &&
		sync /etc/corosync/authkey.new && mv /etc/corosync/authkey.new /etc/corosync/authkey && sync /etc/corosync) ||
		{ unwritten /etc/corosync/authkey; return 1; }
}

new_authkey() { if [ -n "$1" ]; then printf '%s' "$1" | base64 -d; else dd if=/dev/urandom bs=256 count=1 status=none; fi; }

include_shares() { # SMB_CONF: one line at its end, the rest is the user's
	mkdir -p "${1%/*}" && [ -e "$1" ] || : >"$1"
	grep -q '^[[:space:]]*include = /etc/samba/orchestrate.conf' "$1" || {
		{ cat "$1" && printf '\n[global]\n\tinclude = /etc/samba/orchestrate.conf\n'; } >"$1.new" && sync "$1.new" || return
		cp -p "$1" "$1.before" && mv "$1.new" "$1" && sync "${1%/*}" || return
	}
	testparm -s "$1" 2>&1 >/dev/null | grep -iE '^(error|unknown|ignoring unknown|.*missing)' >/run/orchestrate.testparm
	! [ -s /run/orchestrate.testparm ] || { cat /run/orchestrate.testparm; return 1; }
}

no_lockspace() {
	for space in /sys/kernel/dlm/*; do [ ! -d "$space" ] || { printf 'lockspace %s is in use\n' "${space##*/}"; return 76; }; done
}

# IDS of nodes that are known to be off: two_node waits for all once, and for them it must not (votequorum(5)). What runs with
# an older configuration is started anew; nothing may hold a lock then.
start_corosync() {
	if running corosync; then no_lockspace && service stop corosync || return; fi
	service start corosync || return
	[ $# = 0 ] || corosync-cmapctl -s quorum.cancel_wait_for_all u8 1 || return
	await 25 corosync-quorumtool -s
}
stop_corosync() { service stop corosync; }
# IDS of nodes that are known to be off, or have no lock manager: without a word it would wait post_join_delay for each node of
# corosync.conf that does not join it, and then have it fenced (dlm 4.2.0, daemon_cpg.c, startup_nodes).
start_dlm() {
	service start dlm && await 10 dlm_answers || return
	for id; do dlm_tool fence_ack "$id" || return; done
}
dlm_answers() { case $(dlm_tool status 2>&1) in *"quorate 1"*) ;; *) return 1 ;; esac; }
stop_dlm() { no_lockspace && service stop dlm; } # with one in use it stays, and only its fencing dies (seen: dlm 4.2.0)
start_lvmlockd() { service start lvmlockd && await 10 test -S /run/lvm/lvmlockd.socket; }
stop_lvmlockd() { service stop lvmlockd; }

at_primary() { is_primary "$1" || { printf 'drbd%s is not Primary here any more\n' "$1"; return 76; }; }

create_vg() { # VG MINOR: only over nothing
	at_primary "$2" || return
	label "/dev/drbd$2" >/dev/null
	[ "$held" = blank ] || [ "$held" = bare ] || { # bare: an earlier one was cut short
		printf '/dev/drbd%s is no longer blank: %s\n' "$2" "$(label "/dev/drbd$2")"; return 76; }
	vgcreate --shared -y "$1" "/dev/drbd$2"
}

start_lockspace() { at_primary "$2" && vgchange --lock-start "$1" && await 20 test -d "/sys/kernel/dlm/lvm_$1"; } # VG MINOR
stop_lockspace() { vgchange --lock-stop "$1"; } # VG

create_lv() { # VG LV SIZE MINOR
	at_primary "$4" || return
	case $3 in *%*) how=-l ;; *) how=-L ;; esac
	lvcreate -an -Wn -Zn $how "$3" -n "$2" "$1"
}

start_active() { at_primary "$3" && lvchange -asy "$1/$2"; } # VG LV MINOR
stop_active() { lvchange -an "$1/$2"; } # VG LV

make_gfs2() { # VG LV CLUSTER:NAME JOURNALS MIB MINOR; -K: discarding the whole device takes longest, and it is blank
	at_primary "$6" || return
	seen=$(blkid -p -o export "/dev/$1/$2" 2>&1; first_mib "/dev/$1/$2")
	[ "$seen" = blank ] || { printf '/dev/%s/%s is no longer blank: %s\n' "$1" "$2" "$seen"; return 76; }
	mkfs.gfs2 -q -O -K -p lock_dlm -t "$3" -j "$4" -J "$5" "/dev/$1/$2"
}

# VG LV MOUNT OPTIONS MINOR NODES MIB: a GFS2 that was not made here may have fewer journals than nodes that mount it. Only who has
# it mounted can add some: the first one does, and who finds none free tries again meanwhile.
start_mount() {
	at_primary "$5" && mkdir -p "$3" && in_fstab "$1" "$2" "$3" "$4" || return
	there=$(journals "/dev/$1/$2")
	if [ "$there" -ge "$6" ] || [ "$there" -eq 0 ]; then # 0: it cannot be counted; mount says what is wrong
		mount_gfs2 "$@"
		return
	fi
	await 100 mount_gfs2 "$@" || {
		printf 'it has %s journals for %s nodes; where it is mounted: gfs2_jadd -j %s -J %s %s\n' "$there" "$6" $(($6 - there)) "$7" "$3"
		return 1
	}
	there=$(journals "/dev/$1/$2") # another node may have added them
	[ "$there" -ge "$6" ] || detached 100 gfs2_jadd -j $(($6 - there)) -J "$7" "$3"
}

mount_gfs2() { (detached 50 mount -t gfs2 -o "$4" "/dev/$1/$2" "$3"); } # a shell of its own: both it and its caller wait

journals() { gfs2_edit -p journals "$1" 2>/dev/null | grep -c '^journal[0-9]'; } # DEVICE: read from the disk, without a lock

stop_mount() { detached 50 umount "$1"; } # MOUNT

# VG LV SIZE BYTES MINOR: -L is the whole size, and never a smaller one. lvextend takes a shared lock as it is; the other nodes'
# kernels keep the old size until a refresh (seen: LVM 2.03.16), so who comes second only reads the new one.
start_extended() {
	at_primary "$5" || return
	there=$(lvs --noheadings --nosuffix --units b -o lv_size "$1/$2") || return
	if [ "$((there))" -lt "$4" ]; then
		lvextend -L "$3" "$1/$2" || { code=$?; no_room "$1" "$there"; return $code; }
	fi
	lvchange --refresh "$1/$2"
}

no_room() { # VG BYTES
	room=$(vgs --noheadings --nosuffix --units b -o vg_free "$1") || return
	printf 'group %s has room for %s MiB in all: write that or less as `size`\n' "$1" $((($2 + room) / 1048576))
}

start_grown() { at_primary "$2" && detached 250 gfs2_grow "$1"; } # MOUNT MINOR

in_fstab() { # VG LV MOUNT OPTIONS: for people and tools that look there; noauto: only orchestrate mounts it
	grep -q "^[^#]*[[:space:]]$3[[:space:]]" /etc/fstab 2>/dev/null && return
	uuid=$(blkid -p -o value -s UUID "/dev/$1/$2") || return
	{ [ ! -e /etc/fstab ] || cat /etc/fstab; printf 'UUID=%s %s gfs2 noauto,_netdev,%s 0 0\n' "$uuid" "$3" "$4"; } >/etc/fstab.new &&
		sync /etc/fstab.new && mv /etc/fstab.new /etc/fstab && sync /etc
}

detached() { # SECONDS COMMAND...: what may hang in the kernel gets no file of ours but its own
	limit=$1; shift
	words=/run/orchestrate.$$.words code=/run/orchestrate.$$.code
	rm -f $code
	("$@" >$words 2>&1 </dev/null; echo $? >$code.new; mv $code.new $code) >/dev/null 2>&1 </dev/null &
	await "$limit" test -e $code || { printf '%s has not ended after %s s: something below it hangs\n' "$*" "$limit"; return 1; }
	cat $words
	read -r done_code <$code
	rm -f $words $code
	return "$done_code"
}

start_ctdb() { mkdir -p "${1%/*}" && service start ctdb && await 110 ctdb_healthy; } # RECOVERY-LOCK
ctdb_healthy() { ctdb nodestatus >/dev/null 2>&1; } # 0: this node is OK
stop_ctdb() { service stop ctdb; }
start_samba() { include_shares "$1" && service start smbd && await 20 test -s /run/samba/smbd.pid; } # SMB_CONF
stop_samba() { service stop smbd; }
start_nfs() { service start nfs-server; }
stop_nfs() { service stop nfs-server; }
