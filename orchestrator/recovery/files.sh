# Looking at files on a node, for a resource whose two sides differ. Reads only: nothing here writes to a DRBD device, to a disk
# or into a mounted file system; no volume group is activated. A view of a backing disk is
#   loop (read-only, direct) -> NAME:disk (read-only) -> NAME:all (a snapshot: a journal is replayed into memory) -> NAME:0, ...
# with NAME = orchestrate-view-RESOURCE. The loop devices go by themselves when the device above them goes.
# What may hang (a GFS2 whose lock manager waits) runs `detached`; the answer then is "hung".
trap '' PIPE HUP
ROOM=/run/orchestrate
GONE=1 HUNG=124

names() { # RESOURCE
	name=orchestrate-view-$1 room=$ROOM/view-$1 # a folder of its own, that goes with its view
}

detached() { # SECONDS COMMAND...: it has no file of ours open but its own; HUNG if it has not ended
	limit=$1; shift
	rm -f "$room/code" "$room/ended" && mkfifo "$room/ended" && exec 6<>"$room/ended" || return
	(	"$@" >"$room/said" 2>&1 </dev/null
		echo $? >"$room/code"
		echo ended >&6 # never waits for a reader, however late it comes
	) >/dev/null 2>&1 </dev/null &
	timeout -k 1 "$limit" head -c 1 <&6 >/dev/null
	exec 6>&-
	rm -f "$room/ended"
	[ -r "$room/code" ] && read -r code <"$room/code" && return "$code"
	return $HUNG
}

ended() { # CODE: 0, or say why not, in one line
	case $1 in
	0) return 0 ;;
	"$HUNG") printf 'hung\n' ;;
	*) printf 'failed %s\n' "$(tr '\n' ' ' <"$room/said")" ;;
	esac
	return 1
}

frame() { # NAME FILE: as a line "NAME BYTES" and the file's bytes
	printf '%s %s\n' "$1" "$(wc -c <"$2")"
	cat "$2"
}

# -- what is mounted ---------------------------------------------------------------------------------------------------
list_mounted() { # MINOR: what of the DRBD device is mounted, as mountinfo and device mapper have it; no file system is asked
	while read -r _ _ number root where rest; do
		[ "$root" = / ] || continue
		type=${rest##* - } type=${type%% *}
		if [ "$number" = "147:$1" ]; then printf 'mounted %s %s\n' "$type" "$where"; continue; fi
		[ -r "/sys/dev/block/$number/dm/name" ] && read -r volume <"/sys/dev/block/$number/dm/name" || continue
		case $volume in orchestrate-view-*) continue ;; esac
		table=$(dmsetup table "$volume") || continue
		case "$table " in *" 147:$1 "*) printf 'mounted %s %s %s\n%s\n' "$type" "$where" "$volume" "$table" ;; esac
	done </proc/self/mountinfo
}

bitmap_on_disk() { # MINOR DISK: as it was last written there, beside a running DRBD
	if [ -r /proc/drbd ]; then read -r _ version _ </proc/drbd; else version=$(modinfo -F version drbd 2>/dev/null); fi
	case $version in 9*) format=v09 ;; *) format=v08 ;; esac
	drbdmeta --force "$1" $format "$2" internal dump-md </dev/null
}

read_head() { # DISK: its first 2 MiB, where LVM keeps what its volumes are made of
	dd if="$1" bs=1048576 count=2 iflag=direct 2>/dev/null | gzip -1
}

# -- a tree ------------------------------------------------------------------------------------------------------------
walk() { # RESOURCE KEY WHERE SECONDS: every name below a mount point, and where the contents of files and folders lie
	names "$1"
	mkdir -p "$room" && detached "$4" walk_here "$2" "$3"
	ended $? || return 0
	printf 'walked\n'
	{	frame block "$room/$2.block"
		frame list "$room/$2.list"
		frame extents "$room/$2.extents"
	} | gzip -1
	rm -f "$room/$2".*
}

walk_here() { # KEY WHERE
	cd "$2" || return
	stat -f -c '%S %T' . >"$room/$1.block" || return
	find . -xdev \( \( -type f -size +0 -o -type d \) -fprint0 "$room/$1.names" -o -true \) \
		-printf '%i\t%y\t%s\t%T@\t%C@\t%m\t%U:%G\t%P\0' >"$room/$1.list"
	xargs -0 filefrag -e -b512 <"$room/$1.names" >"$room/$1.extents" 2>/dev/null
	rm -f "$room/$1.names"
	[ -s "$room/$1.list" ]
}

# -- a view of a backing disk ------------------------------------------------------------------------------------------
open_disk() { # RESOURCE DISK SKIPPED: read-only, from byte SKIPPED on: without its first block nobody takes it for a disk of LVM's
	names "$1"
	mkdir -p "$room" || return
	if ! loop=$(losetup --show -f -r -o "$3" --direct-io=on "$2" 2>/dev/null); then
		blockdev --flushbufs "$2" # what is read through the page cache must not be older than what DRBD wrote
		loop=$(losetup --show -f -r -o "$3" "$2") || return
	fi
	over "$loop" disk --readonly "linear $loop 0"
}

over() { # LOOP PART MODE TARGET: a device all over a loop device, which goes with it
	printf '0 %s %s\n' "$(blockdev --getsz "$1")" "$4" | dmsetup create $3 "$name:$2"
	set -- $? "$1"
	losetup -d "$2" # as soon as nothing uses it
	return "$1"
}

view() { # RESOURCE DISK SKIPPED [KEY TABLE FOLDER]...: every volume of a disk that DRBD does not write to, mounted read-only
	close "$1" "$2" && open_disk "$1" "$2" "$3" || return
	shift 3
	dd if=/dev/zero of="$room/cow" bs=1048576 count=0 seek=1024 2>/dev/null || return # takes what a journal's replay writes
	loop=$(losetup --show -f "$room/cow") || return
	rm -f "$room/cow"
	size=$(blockdev --getsz "/dev/mapper/$name:disk")
	printf '0 %s snapshot /dev/mapper/%s %s N 8\n' "$size" "$name:disk" "$loop" | dmsetup create "$name:all"
	made=$?
	losetup -d "$loop"
	[ $made = 0 ] || return
	while [ $# -gt 2 ]; do
		printf 'volume %s ' "$1"
		view_volume "$1" "$2" "$3"
		shift 3
	done
}

view_volume() { # KEY TABLE FOLDER: says "TYPE WHERE", or "hung" or "failed WORDS"
	table=$2
	[ "$2" = whole ] && table="0 $size linear /dev/mapper/$name:all 0"
	printf '%s\n' "$table" | dmsetup create "$name:$1" >"$room/said" 2>&1 || { ended $GONE; return; }
	type=$(blkid -p -n gfs2,xfs,ext4,ext3,ext2 -o value -s TYPE "/dev/mapper/$name:$1") # not the metadata of DRBD at the end
	case $type in
	gfs2) options=ro,lockproto=lock_nolock,locktable=orchestrate:view$1 ;;
	xfs) options=ro,nouuid ;;
	ext[234]) options=ro ;;
	*) printf 'failed there is no file system that is known: %s\n' "${type:-nothing}"; return ;;
	esac
	mkdir -p "$room/mnt/$3"
	detached 60 mount -t "$type" -o "$options" "/dev/mapper/$name:$1" "$room/mnt/$3"
	ended $? && printf '%s %s\n' "$type" "$room/mnt/$3"
}

below() { # PREFIX: mount points that begin with it
	while read -r _ _ _ _ where _; do case $where in "$1"*) printf '%s\n' "$where" ;; esac; done </proc/self/mountinfo
}

close() { # RESOURCE DISK: take down a view, whole or what was left of one
	names "$1"
	mkdir -p "$room"
	for where in $(below "$room/mnt/"); do
		detached 30 umount "$where"
		ended $? || return
	done
	for part in blocks volumes all disk; do
		for dm in /sys/block/dm-*; do
			[ -r "$dm/dm/name" ] && read -r there <"$dm/dm/name" || continue
			case $part,$there in
			volumes,"$name:"[0-9]*|"$part,$name:$part") dmsetup remove --retry "$there" || return ;;
			esac
		done
	done
	losetup -j "$2" -o 4096 2>/dev/null | while IFS=: read -r loop _; do losetup -d "$loop"; done # killed before anything stood on it
	rm -rf --one-file-system "$room"
}

# -- what blocks hold --------------------------------------------------------------------------------------------------
digest() { # RESOURCE BLOCKS UNIT, a device-mapper table on stdin: of each UNIT bytes in its order, half a SHA-256
	names "$1"
	dmsetup create --readonly "$name:blocks" || return
	mkdir -p "$room/blocks" && cd "$room/blocks" || return
	at=0
	while [ $((at * 256)) -lt "$2" ]; do # 8 MiB at a time, in memory
		dd if="/dev/mapper/$name:blocks" bs=1048576 skip=$at count=8 iflag=direct 2>/dev/null | split -b "$3" -a 4 -d
		sha256sum x* | cut -c1-32
		rm -f x*
		at=$((at + 8))
	done | gzip -1
	cd / && dmsetup remove --retry "$name:blocks"
}

# -- saving ------------------------------------------------------------------------------------------------------------
keep_names() { # RESOURCE, names on stdin, each ended by a zero byte: kept for `sums` and `pack`
	names "$1"
	cat >"$room/chosen"
}

sums() { # RESOURCE SECONDS, the names of files kept: the SHA-256 of each, in their order
	names "$1"
	detached "$2" sums_here
	ended $? || return
	gzip -1 <"$room/sums"
}

sums_here() { # a name with a backslash or a newline has a backslash before its sum
	cd "$room/mnt" && xargs -0 sha256sum <"$room/chosen" >"$room/sums.all" || return
	sed 's/^\\//' "$room/sums.all" | cut -c1-64 >"$room/sums"
}

pack() { # RESOURCE, names kept: a compressed tar archive of just these
	names "$1"
	cd "$room/mnt" || return
	more=''
	tar --help | grep -q -e --xattrs && more='--acls --xattrs'
	tar --null --no-unquote --no-recursion --format=posix -S $more -czf - -T "$room/chosen"
}
