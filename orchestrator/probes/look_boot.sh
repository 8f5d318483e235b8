# What a boot of this node would start, and in which order: for `check` only, so it may take a second. Reads only. Sent after
# look.sh and look_stack.sh, whose `say`, `have`, `resolve` and `is_suspended` it uses.
# Arguments: MOUNT... -- then for each resource NAME MINOR DISK.
look_boot() {
	say init
	if [ -d /run/systemd/system ]; then printf 'systemd\n'; else printf 'sysv\n'; fi
	have chkconfig && printf 'chkconfig\n'
	say units
	if [ -d /run/systemd/system ]; then
		all=$(timeout -k 1 10 systemctl list-dependencies --plain --all --no-pager default.target | while read -r unit; do
			case $unit in *.service | *.target | *.mount | *.automount) printf '%s\n' "$unit" ;; esac
		done)
		timeout -k 1 10 systemctl show --no-pager -p Id -p Names -p Wants -p Requires -p After -- $all
	fi
	say links
	for link in /etc/rc[S0-6].d/[SK][0-9][0-9]*; do [ -L "$link" ] && printf '%s\n' "${link#/etc/}"; done
	say fstab
	mounts=' '
	while [ $# -gt 0 ] && [ "$1" != -- ]; do mounts="$mounts$1 "; shift; done
	shift
	[ -r /etc/fstab ] && while read -r what where type how _; do # only what is ours: other lines may hold passwords
		case "$what $type $mounts" in
		'#'*) ;;
		*" gfs "* | *" gfs2 "* | *" ocfs2 "* | /dev/drbd* | *" $where "*) printf '%s %s %s %s\n' "$what" "$where" "$type" "$how" ;;
		esac
	done </etc/fstab
	say scripts
	for script in /etc/rc.local /etc/rc.d/rc.local /etc/rc.d/rc.sysinit; do
		[ -x "$script" ] && [ ! -L "$script" ] && grep -HE '^[^#]*\<(drbdadm|drbdsetup|vgchange|lvchange)\>' "$script" </dev/null
	done
	while [ $# -ge 3 ]; do sees_backing "$1" "$2" "$3"; shift 3; done
	read -r uptime _ </proc/uptime
	say end "$uptime"
}

sees_backing() { # NAME MINOR DISK: what LVM knows of the disk below DRBD; nothing, if it is hidden from it
	say lvm "$1"
	have pvs || { printf 'no LVM\n'; return; }
	is_suspended "$2" && { printf 'suspended\n'; return; }
	resolve "$3"
	printf 'disk %s\n' "$disk"
	seen=$(pvs_of vg_autoactivation "$disk") # a name that LVM has known since 2.03.12
	case $seen in *nrecognised*) seen=$(pvs_of vg_attr "$disk") ;; esac
	printf '%s\n' "$seen"
}

pvs_of() { # FIELD DISK; a shared group is shown only where the lock daemon is configured
	timeout -k 1 5 pvs --config global/use_lvmlockd=1 --nolocking --noheadings --separator '|' -o "pv_name,vg_name,vg_lock_type,$1" "$2" 2>&1
}
