# One look at a node: everything `states` wants to know, in one shell, with as few forks as possible (a fork costs
# 20-200 ms on a small node). Prints sections, "==NAME ARGS" and then raw text; the parsing is done by the orchestrator.
# Reads only. Arguments: for each resource NAME MINOR DISK PORT ZEROS. ZEROS=1 asks to read a whole blank disk, 0 to sample
# it, - not to read it (that was done before, and creating metadata does it again).
say() { printf '\n==%s\n' "$*"; }
copy() { while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done <"$1"; }
first() { read -r line <"$1" && printf '%s\n' "$line"; }
have() { command -v "$1" >/dev/null 2>&1; }

look_node() {
	read -r uptime _ </proc/uptime
	say node
	printf 'uptime %s\n' "$uptime"
	printf 'boot_id '; first /proc/sys/kernel/random/boot_id
	printf 'hostname '; first /proc/sys/kernel/hostname
	say proc-drbd
	if [ -r /proc/drbd ]; then copy /proc/drbd; else printf 'absent %s\n' "$version"; fi
	say boot
	for unit in /etc/systemd/system/*.wants/drbd* /etc/systemd/system/*.requires/drbd* /etc/rc[2-5].d/S[0-9]*drbd $more_units; do
		[ -e "$unit" ] || [ -L "$unit" ] || continue
		[ -L /etc/systemd/system/drbd.service ] && [ "${unit##*/}" = drbd.service ] && continue # masked
		case $unit in # systemd ignores an init script that has a unit of the same name
		/etc/rc*) [ -d /run/systemd/system ] && [ -e /lib/systemd/system/drbd.service ] && continue ;;
		esac
		printf '%s\n' "$unit"
	done
	say firewall
	# Each line: which firewall has rules at all, then its rules. No table loaded: nothing filters.
	if [ -e /run/systemd/units/invocation:firewalld.service ]; then printf 'active firewalld\n'; fi
	tables=''
	[ -r /proc/net/ip_tables_names ] && read -r tables </proc/net/ip_tables_names # a file in /proc has no size
	if [ -n "$tables" ] && have iptables-legacy; then
		printf 'active iptables-legacy\n'; iptables-legacy -w 5 -S 2>&1
	elif [ -n "$tables" ] && have iptables; then
		printf 'active iptables\n'; iptables -S 2>&1
	fi
	if [ -d /sys/module/nf_tables ] && have nft; then printf 'active nft\n'; nft list ruleset 2>&1; fi
}

look_claims() {
	say claims
	for claim in /var/lib/orchestrate/claims/*; do
		[ -r "$claim/intent" ] || continue
		printf 'claim %s ' "${claim##*/}"; first "$claim/intent" # STEP RESOURCE BOOT_ID PID
		if [ -r "$claim/outcome" ]; then printf 'outcome '; first "$claim/outcome"; else
			read -r _ _ boot pid start <"$claim/intent"
			read -r now </proc/sys/kernel/random/boot_id
			[ "$boot" = "$now" ] && read -r stat <"/proc/$pid/stat" || continue
			case " ${stat##*) } " in *" $start "*) printf 'running\n' ;; esac # not another process of that number
		fi
	done
	say recovery
	for record in /var/lib/orchestrate/recovery/*; do
		case $record in *.new) continue ;; esac
		[ -e "$record" ] && { printf '%s ' "${record##*/}"; first "$record" || printf 'unread\n'; } # it is there: that must not be lost
	done
	say lease
	[ -r /var/lib/orchestrate/lease ] && first /var/lib/orchestrate/lease
	say maintenance
	[ -r /var/lib/orchestrate/maintenance ] && first /var/lib/orchestrate/maintenance
}

resolve() { # DISK: into $disk what it is a name of, into $sys where the kernel describes it
	disk=$1
	[ -L "$disk" ] && have readlink && disk=$(readlink -f "$disk")
	name=${disk#/dev/}
	case $name in */*) name=$(printf '%s' "$name" | tr / '!') ;; esac # /dev/cciss/c0d0 is cciss!c0d0 there
	sys=/sys/class/block/$name
}

look_disk() { # DISK MINOR ZEROS ATTACHED NAME
	resolve "$1"
	printf 'disk %s\n' "$disk"
	look_users "$2"
	[ -b "$disk" ] || { printf 'nodevice\n'; return; }
	printf 'sectors '; first "$sys/size"
	for holder in "$sys"/holders/*; do
		[ -e "$holder" ] && [ "${holder##*/}" != "drbd$2" ] || continue
		ours "${holder##*/}" "$5" && continue
		held "$4" "$5" "${holder##*/}"
		mounted_on "${holder##*/}" "$4" "$5"
	done
	while read -r what where _; do
		case $what in "$disk"|"$1") held "$4" "$5" "mount:$where" ;; esac
	done </proc/mounts
	if [ -e "/var/lib/orchestrate/touched/$5" ]; then
		printf 'touched\n'
		[ -s "/var/lib/orchestrate/touched/$5" ] && printf 'mounted behind\n'
	fi
	[ "$4" = yes ] && return
	printf 'gi '
	gi_of_disk "$2" "$disk" 2>&1
	case $?$old in
	0*) case $3 in -) ;; *) look_contents "$disk" 0 "$sys" head ;; esac; return ;; # just created metadata may lie over data
	1no | 255yes) printf '\nmetadata missing\n' ;; # drbdmeta: "No valid meta data found", of 8.3 without a word; 20: it could not be read
	esac
	[ "$3" = - ] || look_contents "$disk" "$3" "$sys"
}

ours() { # HOLDER RESOURCE: a read-only device through which we save the blocks (recovery/save.sh): nothing can be written through it
	[ -r "/sys/class/block/$1/dm/name" ] && read -r volume <"/sys/class/block/$1/dm/name" && [ "$volume" = "orchestrate-save-$2" ] || return
	[ -r "/sys/class/block/$1/ro" ] && read -r ro <"/sys/class/block/$1/ro" && [ "$ro" = 1 ]
}

gi_of_disk() { # MINOR DISK: "-": a minor would load the module, and so does drbdadm, which also exits 1 for a resource that no file defines
	case $generation$old in
	9*) drbdmeta - v09 "$2" internal get-gi --node-id "${peer_id:-0}" ;;
	*yes) drbdmeta "$1" v08 "$2" internal get-gi ;; # 8.3 knows no "-", and loads nothing
	*) drbdmeta - v08 "$2" internal get-gi ;;
	esac
}

gi_of_kernel() { # NAME MINOR
	case $generation$old in 9*) $adm get-gi "$1" ;; *yes) $setup "$2" get-gi ;; *) $setup get-gi "$2" ;; esac
}

look_users() { # MINOR: what stands on the DRBD device, and its mounts: it cannot become Secondary meanwhile
	for user in "/sys/class/block/drbd$1"/holders/*; do
		[ -e "$user" ] || continue
		called=''
		[ -r "$user/dm/name" ] && read -r called <"$user/dm/name"
		held user - "${user##*/}${called:+ ($called)}"
	done
	mounted_on "drbd$1" user -
}

mounted_on() { # NAME ATTACHED RESOURCE: mounts of this device, and of what stands on it
	[ -r "/sys/class/block/$1/dev" ] && read -r number <"/sys/class/block/$1/dev" || return 0
	while read -r _ _ on _ where _; do
		[ "$on" = "$number" ] && held "$2" "$3" "mount:$where"
	done </proc/self/mountinfo
	for upper in "/sys/class/block/$1"/holders/*; do
		[ -e "$upper" ] && mounted_on "${upper##*/}" "$2" "$3"
	done
}

held() { # ATTACHED|user NAME HOLDER: said, and kept on the node if DRBD does not have the disk: its data may have changed unseen
	[ "$1" = user ] && { printf 'user %s\n' "$3"; return; }
	printf 'holder %s\n' "$3"
	kept=/var/lib/orchestrate/touched
	[ "$1" = no ] && [ -n "${keep:-}" ] || return 0
	case $3 in mount:*) [ ! -s "$kept/$2" ] || return 0 ;; *) [ ! -e "$kept/$2" ] || return 0 ;; esac
	mkdir -p $kept || return 0
	case $3 in mount:*) printf '%s\n' "$3" ;; esac >"$kept/$2"
	sync "$kept/$2" $kept ${kept%/*} /var/lib # the power may go before the file system commits
}

look_contents() { # DISK ZEROS SYS [head]: what a device holds; head: but for its end, where the metadata is
	blkid -p -o export "$1" 2>/dev/null | while IFS= read -r line; do
		case $line in PART_ENTRY_*|TYPE=drbd) ;; *) printf '%s\n' "$line" ;; esac # that it is a partition says nothing of it
	done
	sectors=0
	read -r sectors <"$3/size" && [ "$sectors" -gt 0 ] || { printf 'zeros not readable\n'; return; }
	mebi=$((sectors / 2048))
	if [ "$2" = 1 ]; then
		cmp -s -n $((sectors * 512)) "$1" /dev/zero && printf 'zeros all\n' || printf 'zeros not\n'
		return
	fi
	size=4194304
	[ $((sectors * 512)) -gt $size ] || size=$((sectors * 512))
	tail=$((sectors * 512 - size))
	if [ "${4:-}" = head ]; then tail=0; [ $size = 4194304 ] || size=4096; fi
	for at in 0 $tail $((mebi / 12 * 4194304)) $((mebi / 6 * 4194304)); do # sampled at a third and two thirds: 4 MiB steps
		cmp -s -n $size -i "$at:0" "$1" /dev/zero || { printf 'zeros not at %s\n' "$at"; return; }
	done
	printf 'zeros sampled\n'
}

look_resource() { # NAME MINOR DISK PORT ZEROS
	say resource "$1"
	if [ -r "/etc/drbd.d/$1.res" ]; then say file "$1"; copy "/etc/drbd.d/$1.res"; fi
	known=no attached=no linked=no gi=''
	if [ -r /proc/drbd ]; then if [ $generation = 8 ]; then resource_84 "$2" "$1"; else resource_9 "$1"; fi; fi
	if [ $known$old = yesyes ]; then say show "$1"; $setup "$2" show 2>&1
	elif [ $known = yes ]; then say show "$1"; $setup show --show-defaults "$1" 2>&1; fi
	say disk "$1"
	if [ $attached = yes ]; then
		gi=$(gi_of_kernel "$1" "$2" 2>&1)
		printf 'gi %s\n' "$gi"
	fi
	look_disk "$3" "$2" "$5" $attached "$1"
	case $attached$5$gi in yes[01]000000000000000[45]*) look_contents "$disk" 0 "$sys" head ;; esac
	[ "$attached$5" = yes1 ] && zeros_below_metadata "$3" "$2"
	if [ $known = yes ] && [ $linked = no ] && [ -z "${brief:-}" ]; then # brief: right after a step of ours, nothing new is in there
		say kernel "$1"
		dmesg | grep -E "drbd $1([ /:]|\$)|drbd$2: " | tail -n 80
	fi
}

zeros_below_metadata() { # DISK MINOR: does all that DRBD would replicate read as zeros
	read -r sectors <"/sys/class/block/drbd$2/size" || return
	cmp -s -n $((sectors * 512)) "$1" /dev/zero && printf 'zeros all\n'
}

resource_84() { # MINOR NAME: known, attached, linked as /proc/drbd has them; the section was printed already
	while read -r minor state _ disks _; do
		[ "$minor" = "$1:" ] || continue
		[ $state$old != cs:Unconfiguredyes ] || continue # up to 8.3 a minor that was configured once is listed for ever
		known=yes
		case $disks in ""|ds:Diskless/*|ds:Failed/*) ;; *) attached=yes ;; esac
		case $state in cs:Unconfigured) ;; cs:StandAlone|cs:WF[CR]*|cs:Unconnected|cs:[TBNPD]*) ;; *) linked=yes ;; esac
		[ -r "/sys/class/block/drbd$1/size" ] && { say size "$2"; first "/sys/class/block/drbd$1/size"; }
	done </proc/drbd
}

resource_9() { # NAME
	say events "$1"
	events=$($setup events2 --now --statistics "$1" 2>&1) || printf 'failed %s\n' $?
	printf '%s\n' "$events"
	case $events in *"exists resource"*) known=yes ;; esac
	case $events in
	*" disk:Diskless"*|*" disk:Failed"*|*" disk:Detaching"*) ;; # ours, not a peer-disk
	*"exists device"*) attached=yes ;;
	esac
	case $events in *connection:Connected*) linked=yes ;; esac
}

which_generation() { # and the tools that speak it: for an 8.4 kernel, drbd-utils 9 only passes on to these
	generation=8 old=no setup=drbdsetup adm=drbdadm
	if [ -r /proc/drbd ]; then read -r _ version _ </proc/drbd; else version=$(modinfo -F version drbd 2>&1) || version=none; fi
	case $version in 9*) generation=9 ;; 8.[0-3].*) old=yes; old_userland ;; esac # old: 8.3, whose tools take other words
	if [ $generation = 8 ] && [ -x /lib/drbd/drbdsetup-84 ]; then setup=/lib/drbd/drbdsetup-84 adm=/lib/drbd/drbdadm-84; fi
}

old_userland() { # coreutils before 8.24: `sync FILE` writes out everything there is, and hangs on frozen IO; before 8.5: no `timeout -k`
	sync() { for path; do [ -d "$path" ] || dd if=/dev/null of="$path" conv=notrunc,fsync 2>/dev/null || return; done; }
	timeout -k 1 1 true 2>/dev/null || timeout() { shift 2; /usr/bin/timeout "$@"; }
}

glance() { # NAME...: just the counters, for a resync that is being watched
	which_generation
	if [ $generation = 8 ]; then say proc-drbd; copy /proc/drbd; else
		for name; do say events "$name"; $setup events2 --now --statistics "$name" 2>&1; done
	fi
	read -r uptime _ </proc/uptime
	say end "$uptime"
}

above() { :; } # what stands on DRBD: written anew by the caller where there is a stack, for it knows what is wanted

look() {
	which_generation
	look_node
	look_claims
	while [ $# -ge 5 ]; do look_resource "$1" "$2" "$3" "$4" "$5"; shift 5; done
	above
	read -r uptime _ </proc/uptime
	say end "$uptime"
}
