# The layers of Fedora 14 and RHEL 6, in the same shell as look_stack.sh and after it: what is asked another way there is replaced.
# No `service NAME status`: processes, cman_tool and fence_tool, /sys and /proc/mounts are asked instead.
all_processes() { # into $processes: the names of all that runs, as the kernel has them
	processes=' '
	for stat in /proc/[0-9]*/stat; do
		read -r line 2>/dev/null <"$stat" || continue # it has ended meanwhile
		line=${line#*(}
		processes="$processes${line%%)*} "
	done
}

running() { # NAME, after all_processes
	case ${processes:-} in *" $1 "*) return 0 ;; esac
	return 1
}

look_stack() { # PROGRAMS SERVICES NODES
	all_processes
	say packages
	for tool in $1; do have "${tool%%=*}" || printf 'missing %s\n' "${tool#*=}"; done
	say services
	for service in $2; do running "$service" && printf 'running %s\n' "$service"; done
	members=''
	if running corosync; then
		say cman; timeout -k 1 5 cman_tool status 2>&1; printf 'code %s\n' $?
		say members; nodes=$(timeout -k 1 5 cman_tool nodes -F id,type 2>&1); printf '%s\n' "$nodes"
		while read -r id type _; do members="$members node $id $type "; done <<-END
		$nodes
		END
	fi
	if running fenced; then say domain; timeout -k 1 5 fence_tool ls 2>&1; printf 'code %s\n' $?; fi
	if running rgmanager; then say clustat; timeout -k 1 5 clustat 2>&1; printf 'code %s\n' $?; fi
	if running smbd; then say sessions; sessions 445; fi
	say hosts
	for node in $3; do printf '%s ' "$node"; getent hosts "$node" || printf '\n'; done
	say lvmconf
	[ -r /etc/lvm/lvm.conf ] && while IFS= read -r line; do
		case ${line%%#*} in *locking_type*=* | *filter*=*) printf '%s\n' "$line" ;; esac
	done </etc/lvm/lvm.conf
	say_off
	say_fencing
	say_locks
}

unlocked='global { locking_type = 0 }' # LVM of that time reads clustered groups so, and asks nobody
pv_rows() { # [DISK]: clvm: its locks are clvmd's
	timeout -k 1 5 pvs --config "$unlocked" --noheadings --separator '|' -o pv_name,vg_name,vg_attr "$@" 2>&1 | while IFS='|' read -r pv vg attr; do
		case $attr in '') lock= ;; ?????c*) lock=clvm ;; *) lock=none ;; esac
		printf '%s|%s|%s\n' "$pv" "$vg" "$lock"
	done
}
pvs_of() { pv_rows "$2" | while read -r line; do printf '%s|------\n' "$line"; done; } # as look_boot.sh asks; this LVM has no autoactivation
lv_rows() { timeout -k 1 5 lvs --config "$unlocked" --noheadings --separator '|' -o vg_name,lv_name 2>&1; }
