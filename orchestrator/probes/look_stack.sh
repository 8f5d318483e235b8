# The layers above DRBD, in the same shell as look.sh. Nothing here may hang: /proc and /sys are read with builtins, tools
# run under `timeout`, and no file of a mounted GFS2 is ever touched (its locks may be waiting for a node to be fenced).
look_stack() { # SERVICES...: what runs, and what the cluster says of itself
	say packages
	for tool in $1; do have "${tool%%=*}" || printf 'missing %s\n' "${tool#*=}"; done
	say services
	for service in $2; do running "$service" && printf 'running %s\n' "$service"; done
	[ -e /run/corosync.pid ] && [ /etc/corosync/corosync.conf -nt /run/corosync.pid ] && printf 'older corosync\n'
	if running dlm; then # it knows of quorum, too
		say dlm; members=$(timeout -k 1 2 dlm_tool status 2>&1); code=$?
		printf '%s\ncode %s\n' "$members" $code
	fi
	case ${members:-} in
	*quorate*) ;;
	*) if running corosync; then say quorum; timeout -k 1 2 corosync-quorumtool -s 2>&1; printf 'code %s\n' $?; fi ;;
	esac
	if running ctdb; then say ctdb; timeout -k 1 2 ctdb nodestatus 2>&1; printf 'code %s\n' $?; fi # `status` was seen to take 9 s
	if running smbd; then say sessions; sessions 445; fi
	say_off
	say_fencing
	say_locks
	case $stopped$withdrawn${members:-gone} in
	*yes*gone|noyes*) say hung; dmesg | grep -E 'dlm user daemon left|about to withdraw' ;; # since when; the rest dlm_tool knows
	esac
	say authkey
	if [ -r /etc/corosync/authkey ]; then base64 -w 0 /etc/corosync/authkey; printf '\n'; fi
}

say_off() { # $members has "node ID M " for each that is one
	say off
	for file in /run/orchestrate/off.*; do # written when a node was fenced or acknowledged; not true any more once it is a member
		[ -r "$file" ] || continue
		while read -r id name _; do
			[ "$name" = "${file##*/off.}" ] || continue
			case ${members:-} in
			*"node $id M "*) [ -z "${keep:-}" ] || rm -f "$file" ;;
			*) printf '%s\n' "$name" ;;
			esac
		done </etc/orchestrate/fence/nodes
	done
}

say_fencing() {
	say fencing
	for file in /run/orchestrate/asked.*; do # a node that has to be off before this one goes on, since when, and why it is not
		[ -r "$file" ] && read -r since _ <"$file" || continue
		line='' name=${file##*/asked.}
		[ -r "/run/orchestrate/failed.$name" ] && read -r line <"/run/orchestrate/failed.$name"
		printf '%s %s %s\n' "$name" "$since" "$line"
	done
}

say_locks() {
	say kernel-locks
	spaces
	case ${members:-gone} in
	gone|*"
fence "*) ;; # nobody starts them again before somebody is off
	*) for _ in 1 2 3 4; do # whoever joins or leaves a lockspace stops it on all nodes for a moment: that is not how it is
		[ $stopped = yes ] || break
		sleep 0.2
		spaces
	done ;;
	esac
	printf '%s' "$spaces"
	withdrawn=no
	for table in /sys/fs/gfs2/*; do
		[ -r "$table/withdraw" ] || continue
		read -r line <"$table/withdraw" && [ "$line" != 0 ] && withdrawn=yes && printf 'withdrawn %s\n' "${table##*/}"
		read -r line <"$table/lock_module/block" && [ "$line" != 0 ] && printf 'blocked %s\n' "${table##*/}"
	done
	if [ $stopped = yes ]; then say lockspaces; timeout -k 1 2 dlm_tool ls 2>&1; fi # its words say what it waits for
}

spaces() { # into $spaces, a line for each lockspace of the kernel; $stopped: is one of them stopped
	spaces='' stopped=no
	for space in /sys/kernel/dlm/*; do
		[ -r "$space/recover_status" ] && read -r line <"$space/recover_status" || continue
		spaces="${spaces}space ${space##*/} $line
"
		case $line in [4-7c-f]?) ;; *) stopped=yes ;; esac # 0x40: DONE, in fs/dlm/dlm_internal.h
	done
}

running() { # UNIT: a process of it is there, as systemd's own bookkeeping has it
	for place in /sys/fs/cgroup/system.slice /sys/fs/cgroup/systemd/system.slice; do
		[ -r "$place/$1.service/cgroup.procs" ] && read -r line <"$place/$1.service/cgroup.procs" && return 0
	done
	return 1
}

sessions() { # PORT: connections that are established there
	count=0 port=$(printf '%04X' "$1")
	for table in /proc/net/tcp /proc/net/tcp6; do
		[ -r $table ] || continue
		while read -r _ here _ state _; do
			case $here/$state in *:"$port"/01) count=$((count + 1)) ;; esac
		done <$table
	done
	printf '%s\n' $count
}

look_files() { # PATH...
	for path; do
		say at "$path"
		if [ -r "$path" ]; then copy "$path"; else printf '\n==absent %s\n' "$path"; fi
	done
}

look_volume() { # NAME VG LV MOUNT MINOR DISK SIZE: 0: nobody asks how large it is
	say volume "$1"
	active=no mounted=no
	while read -r what where type _; do
		[ "$where" = "$4" ] && printf 'mounted %s %s\n' "$type" "$what" && mounted=yes
	done </proc/mounts
	for dm in /sys/block/dm-*; do
		[ -r "$dm/dm/name" ] && read -r line <"$dm/dm/name" && [ "$line" = "$(mapped "$2")-$(mapped "$3")" ] || continue
		active=yes
		printf 'sectors '; first "$dm/size"
		for below in "$dm"/slaves/*; do [ -e "$below" ] && printf 'active on %s\n' "${below##*/}"; done
	done
	if [ $mounted = yes ]; then # what is mounted need not be read, and must not be where its locks are stopped
		[ "$7" = 0 ] || [ $stopped = yes ] || is_suspended "$5" || filled "$4"
		return 0
	fi
	device=/dev/drbd$5
	if is_suspended "$5"; then printf 'suspended\n'; return; fi
	if ! is_primary "$5"; then
		[ $active = no ] || return 0
		resolve "$6"
		printf 'primary no\n'; label "$disk"
		return
	fi
	printf 'primary yes\n'
	if [ $active = yes ]; then
		timeout -k 1 5 blkid -p -o export "/dev/$2/$3" 2>/dev/null
		first_mib "/dev/$2/$3"
		return
	fi
	label $device
	[ "$held" = lvm ] || return
	pv_rows | while read -r line; do printf 'pv %s\n' "$line"; done
	lv_rows | while read -r line; do printf 'lv %s\n' "$line"; done
}

pv_rows() { timeout -k 1 5 pvs --nolocking --noheadings --separator '|' -o pv_name,vg_name,vg_lock_type 2>&1; } # locks: none may be there
lv_rows() { timeout -k 1 5 lvs --nolocking --noheadings --separator '|' -o vg_name,lv_name 2>&1; }

filled() { # MOUNT: its blocks and their size. statfs(2) takes a lock where another node has just grown it: nobody waits for that
	counted=/run/orchestrate.$$.blocks
	rm -f $counted
	(stat -f -c 'blocks %b %S' "$1" >$counted.new 2>&1 </dev/null; mv $counted.new $counted) >/dev/null 2>&1 </dev/null &
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ ! -e $counted ] || { copy $counted; rm -f $counted; return; }
		sleep 0.1
	done
}

mapped() { # device mapper doubles the dashes of a name
	case $1 in *-*) printf '%s' "$1" | sed 's/-/--/g' ;; *) printf '%s' "$1" ;; esac
}

is_primary() { # MINOR: DRBD, 8.4 and 9, lets nobody write to a Secondary's device
	[ -r "/sys/block/drbd$1/ro" ] && read -r ro <"/sys/block/drbd$1/ro" && [ "$ro" = 0 ]
}

is_suspended() { # MINOR: IO is frozen: whoever reads the device waits (8.4 shows it in /proc/drbd; on 9 the limits below end it)
	[ -r /proc/drbd ] || return 1
	while read -r minor _ _ _ _ flags _; do
		[ "$minor" = "$1:" ] && case $flags in s*) return 0 ;; esac
	done </proc/drbd
	return 1
}

label() { # DEVICE: what its head says, into $held too: bare (a physical volume without a group), lvm, blank, or data
	held=data
	if [ "$(timeout -k 1 5 dd if="$1" bs=8 skip=64 count=1 2>/dev/null)" = LABELONE ]; then # LVM's tools hide a shared group when its locks are not there
		held=bare
		timeout -k 1 5 dd if="$1" bs=1048576 count=1 2>/dev/null | grep -q 'seqno = ' && held=lvm
	fi
	[ $held = data ] && timeout -k 1 5 cmp -s -n 1048576 "$1" /dev/zero && held=blank
	printf 'held %s\n' $held
	[ $held = data ] && timeout -k 1 5 blkid -p -o export "$1" 2>/dev/null
}

first_mib() { timeout -k 1 5 cmp -s -n 1048576 "$1" /dev/zero && printf 'blank\n'; }
