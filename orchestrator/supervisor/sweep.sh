# What announces nothing, compared again and again with builtins alone: nothing in here forks. Each line that is said begins
# with "==", and is said when it is not what was said last. Arguments of `sweep`: none; $services are systemd's units, or where
# there is no systemd the names of processes.
STATE=/var/lib/orchestrate
told() { printf '==%s\n' "$*" || exit 0; } # whoever listened has gone

sweep() {
	read -r uptime _ </proc/uptime
	lease_now; [ "$lease" = "$lease_was" ] || { lease_was=$lease; told lease "$lease"; }
	mark_now; [ "$mark" = "$mark_was" ] || { mark_was=$mark; told maintenance "$mark"; }
	drbd_now; [ "$drbd" = "$drbd_was" ] || { drbd_was=$drbd; busy=yes; say_drbd; }
	[ -n "$services" ] || return 0
	units_now; [ "$units" = "$units_was" ] || { units_was=$units; told units "$units"; }
	mounts_now; [ "$mounts" = "$mounts_was" ] || { mounts_was=$mounts; told mounts "$mounts"; }
	locks_now; [ "$locks" = "$locks_was" ] || { locks_was=$locks; told locks "$locks"; }
	fence_now; [ "$fence" = "$fence_was" ] || { fence_was=$fence; told fence "$fence"; }
}

forget() { lease_was=. mark_was=. drbd_was=. units_was=. mounts_was=. locks_was=. fence_was=. told_beat=-1000 counted=-1000 open=-; }

lease_now() { # into $lease: HOLDER EPOCH of the acting lease (act.sh writes it); "-" holds what has run out
	epoch=0 held=- leased='' until=0
	[ -r $STATE/lease ] && read -r epoch held leased until <$STATE/lease
	case $epoch$until in *[!0-9]*) epoch=0 held=- until=0 ;; esac
	[ "$leased" = "$boot_id" ] || until=20 # a reboot of the node does not end a lease at once
	[ "${until:-0}" -gt "${uptime%.*}" ] || held=-
	lease="${held:--} ${epoch:-0}"
}

mark_now() { # into $mark: the first line of the maintenance mark, "" without
	mark=''
	[ -r $STATE/maintenance ] && { read -r mark <$STATE/maintenance; mark=${mark:-yes}; }
}

drbd_now() { # into $drbd: the version and which minors there are, then of each on an 8.x kernel its state and what is out of sync
	drbd=absent minors='' states=''
	[ -r /proc/drbd ] || return 0
	while read -r first second rest; do
		case $first in
		version:) drbd="version $second" ;;
		[0-9]*:) minors="$minors ${first%:}"; states="$states|$first $second $rest" ;;
		ns:*) for word in $rest; do case $word in oos:*) states="$states $word" ;; esac; done ;;
		esac
	done </proc/drbd
	drbd=$drbd$minors$states
}

say_drbd() {
	left=$drbd
	while [ -n "$left" ]; do
		one=${left%%"|"*}
		told drbd "$one"
		case $left in *"|"*) left=${left#*"|"} ;; *) left='' ;; esac
	done
}

units_now() { # into $units: UNIT=PID of each, the first process systemd knows of, "-" where there is none
	units=''
	for unit in $services; do
		if [ ! -d /run/systemd/system ]; then process_of "$unit"; units="$units $unit=$pid"; continue; fi
		pid=''
		for place in /sys/fs/cgroup/system.slice /sys/fs/cgroup/systemd/system.slice; do
			[ -r "$place/$unit.service/cgroup.procs" ] && read -r pid <"$place/$unit.service/cgroup.procs" && break
		done
		units="$units $unit=${pid:--}"
	done
}

process_of() { # NAME, into $pid: the process found before, if it still has that name; else the first that has; "-" without one
	pid=-
	case $units_was in *" $1="*) pid=${units_was#*" $1="}; pid=${pid%% *} ;; esac
	is_named "$pid" "$1" && return
	for each in /proc/[0-9]*; do
		pid=${each#/proc/}
		is_named "$pid" "$1" && return
	done
	pid=-
}

is_named() { # PID NAME: it has that name and is not only waiting to be buried
	[ -r "/proc/$1/stat" ] && read -r line 2>/dev/null <"/proc/$1/stat" || return 1
	case $line in *"($2) Z "*) return 1 ;; *"($2) "*) ;; *) return 1 ;; esac
}

mounts_now() {
	mounts=''
	while read -r _ where type _; do
		[ "$type" = gfs2 ] && mounts="$mounts $where"
	done </proc/mounts
	return 0
}

locks_now() { # into $locks: each lockspace of the kernel, stopped or not, and file systems that withdrew or are blocked
	locks=''
	for space in /sys/kernel/dlm/*; do
		[ -r "$space/recover_status" ] && read -r line <"$space/recover_status" || continue
		case $line in [4-7c-f]?) locks="$locks ${space##*/}=runs" ;; *) locks="$locks ${space##*/}=stopped" ;; esac
	done
	for table in /sys/fs/gfs2/*; do
		[ -r "$table/withdraw" ] || continue
		read -r line <"$table/withdraw" && [ "$line" != 0 ] && locks="$locks ${table##*/}=withdrawn"
		read -r line <"$table/lock_module/block" && [ "$line" != 0 ] && locks="$locks ${table##*/}=blocked"
	done
	return 0
}

fence_now() { # into $fence: nodes that are known to be off, that have to be, and that an agent failed on
	fence=''
	for file in /run/orchestrate/off.* /run/orchestrate/asked.* /run/orchestrate/failed.*; do
		[ -e "$file" ] && fence="$fence ${file##*/}"
	done
	return 0
}

heartbeat() { # SECONDS: how busy the node is, and that it lives. Sessions are counted five times less often: there may be many
	[ $((${uptime%.*} - told_beat)) -ge "$1" ] || return 0
	told_beat=${uptime%.*}
	read -r one five fifteen _ </proc/loadavg
	case " $services " in *" smbd "*) [ $((told_beat - counted)) -lt $(($1 * 5)) ] || sessions_now ;; esac
	told beat "$uptime" "$one" "$five" "$fifteen" "$open"
}

sessions_now() { # into $open: established connections to port 445, hexadecimal 01BD
	open=0 counted=$told_beat
	for table in /proc/net/tcp /proc/net/tcp6; do
		[ -r $table ] || continue
		while read -r _ here _ state _; do
			case $here/$state in *:01BD/01) open=$((open + 1)) ;; esac
		done <$table
	done
}
