# Carrying out steps on a node. Every step prints "==step KEY UPTIME" before and "==result KEY CODE UPTIME" after itself.
# Codes of our own: 75 not ours to do (lease lost, or this very operation was claimed before), 76 the node is no longer
# what was looked at. Anything else is the tool's own code; none of them is believed, a look follows.
STATE=/var/lib/orchestrate
trap '' PIPE HUP # a client that goes away must not stop a step half-way

now() { read -r uptime _ </proc/uptime; }

# -- the lease: one orchestrator at a time, by the node's own clock ---------------------------------------------------
lease_take() { # HOLDER TTL OVER: take or renew; OVER names a holder that is known to be dead, or is "-"
	now; read -r boot </proc/sys/kernel/random/boot_id
	lease_read
	lease_wanted "$1"
	if [ "$holder" = "$1" ] && [ "$leased" = "$boot" ] && [ $left -gt $(($2 * 3 / 4)) ]; then say lease-taken "$epoch"; return; fi
	[ -d $STATE ] || mkdir -p $STATE
	exec 8>$STATE/lease.lock && flock 8
	lease_read
	if [ "$holder" != "$1" ] && [ "$holder" != "$3" ] && [ -n "$holder" ] && [ "$holder" != - ] && [ $left -gt 0 ]; then
		say lease-held "$epoch" "$holder" "$left"
		case $1:$holder in *:supervise:*) ;; *:supervise) # a supervisor yields to a command; two of them do not to each other
			printf '%s %s %s\n' "$1" "$boot" "$((${uptime%.*} + 10))" >$STATE/wanted.new && mv $STATE/wanted.new $STATE/wanted ;; esac
		exec 8>&-; return 75
	fi
	[ "$holder" = "$1" ] || epoch=$((epoch + 1))
	printf '%s %s %s %s\n' "$epoch" "$1" "$boot" "$((${uptime%.*} + $2))" >$STATE/lease.new && mv $STATE/lease.new $STATE/lease
	say lease-taken "$epoch"
	exec 8>&-
}

lease_read() { # the file is only ever replaced whole
	epoch=0 holder='' leased='' until=0
	[ -r $STATE/lease ] && read -r epoch holder leased until <$STATE/lease
	case $epoch$until in *[!0-9]*) epoch=0 holder='' until=0 ;; esac # a damaged file is nobody's lease
	left=$((${until%.*} - ${uptime%.*}))
	[ "$leased" = "$boot" ] || left=$((20 - ${uptime%.*})) # a reboot of the node does not end a lease at once
}

lease_wanted() { # HOLDER: says who has asked for a supervisor's lease in the last seconds
	case $1 in *:supervise) ;; *) return 0 ;; esac
	[ -r $STATE/wanted ] && read -r by when until_then <$STATE/wanted || return 0
	case $until_then in ''|*[!0-9]*) return 0 ;; esac
	[ "$when" = "$boot" ] && [ "$until_then" -gt "${uptime%.*}" ] && say lease-wanted "$by"
	return 0
}

lease_mine() { # HOLDER EPOCH
	now; read -r boot </proc/sys/kernel/random/boot_id
	lease_read
	[ "$holder" = "$1" ] && [ "$epoch" = "$2" ] && [ "$leased" = "$boot" ] && [ $left -gt 0 ]
}

lease_drop() { # HOLDER
	exec 8>$STATE/lease.lock && flock 8
	read -r epoch holder _ <$STATE/lease && [ "$holder" = "$1" ] && printf '%s - - 0\n' "$epoch" >$STATE/lease.new && mv $STATE/lease.new $STATE/lease
	exec 8>&-
}

# -- what a human wants of this node: kept until another human's command, over reboots ----------------------------------
stand() { # WORDS: it is left alone by whom nobody asked, for this reason; "-": that is over
	which_generation # an old userland's `sync` is ours
	[ -d $STATE ] || mkdir -p $STATE
	if [ "$1" = - ]; then rm -f $STATE/maintenance; else
		printf '%s\n' "$1" >$STATE/maintenance.new && sync $STATE/maintenance.new && mv $STATE/maintenance.new $STATE/maintenance
	fi
	sync $STATE ${STATE%/*}
}

stand_down() { # a human takes it down; what was said before stays
	[ -r $STATE/maintenance ] || stand down
}

stand_up() { # ... and up again; maintenance stays
	[ -r $STATE/maintenance ] && read -r words <$STATE/maintenance && [ "$words" = down ] && stand -
	return 0
}

# -- claims: a DESTRUCTIVE operation runs at most once, whatever happens to the connection or the power ----------------
claim() { # OP STEP RESOURCE
	[ -d $STATE/claims ] || mkdir -p $STATE/claims
	mkdir "$STATE/claims/$1" 2>/dev/null || return 75
	read -r boot </proc/sys/kernel/random/boot_id
	read -r stat </proc/$$/stat
	stat=${stat##*) }
	printf '%s %s %s %s %s\n' "$2" "$3" "$boot" $$ "$(started $stat)" >"$STATE/claims/$1/intent"
	sync "$STATE/claims/$1/intent" "$STATE/claims/$1" "$STATE/claims" $STATE ${STATE%/*} # each folder is an entry in the next
}

started() { shift 19; printf '%s' "$1"; } # of /proc/PID/stat behind the name: field 22, clock ticks since boot

outcome() { # OP CODE
	printf '%s\n' "$2" >"$STATE/claims/$1/outcome" && sync "$STATE/claims/$1/outcome" "$STATE/claims/$1"
}

act() { # KEY HOLDER EPOCH FUNCTION ARGS...: one step under the lease
	key=$1 holds=$2 at=$3; shift 3
	now; say step "$key" "$uptime"
	if lease_mine "$holds" "$at"; then "$@" 2>&1 </dev/null; code=$?; else printf 'the lease was lost\n'; code=75; fi
	now; say result "$key" $code "$uptime"
	return $code
}

once() { # OP STEP RESOURCE FUNCTION ARGS...: a destructive step, alone on this node, claimed before it runs
	op=$1 step=$2 resource=$3; shift 3
	exec 9>$STATE/destructive.lock
	flock -n 9 || { printf 'another destructive step is running\n'; return 75; }
	claim "$op" "$step" "$resource" || { printf 'claimed before: %s\n' "$op"; return 75; }
	"$@"
	set -- "$op" $?
	outcome "$1" "$2"
	exec 9>&-
	return "$2"
}

# -- what must still be true, asked in the same shell right before the step ---------------------------------------------
gi_of() { # NAME MINOR DISK: into $gi, without the flags
	if [ $generation = 9 ]; then gi=$($adm get-gi "$1" 2>/dev/null) # asked only where a resource file is in place
	elif [ -r /proc/drbd ] && gi=$(gi_of_kernel "$1" "$2" 2>/dev/null); then :
	else gi=$(gi_of_disk "$2" "$3" 2>/dev/null); fi
	IFS=: read -r current bitmap newer older _ <<-END
	$gi
	END
	gi=$current:$bitmap:$newer:$older
}

still() { # NAME MINOR DISK IDENTIFIERS
	gi_of "$1" "$2" "$3"
	[ "$gi" = "$4" ] || { printf 'identifiers are %s, were %s\n' "$gi" "$4"; return 76; }
}

link_now() { # NAME MINOR: into $seen, as the kernel has it now
	seen=''
	if [ $generation = 9 ]; then seen=$($setup events2 --now --statistics "$1"); else
		while read -r minor seen; do [ "$minor" = "$2:" ] && return; done </proc/drbd
	fi
}

never_good() { # NAME MINOR DISK: connected, nobody Primary, neither disk was ever good, and nothing is on ours
	link_now "$1" "$2"
	case $seen in
	*Primary*|*UpToDate*|*Outdated*|*[:/]Consistent*) ;; # "Inconsistent" is what both have to be
	*cs:Connected*ds:Inconsistent/Inconsistent*|*connection:Connected*peer-disk:Inconsistent*)
		resolve "$3"
		holds=$(look_contents "$disk" 0 "$sys" head)
		case $holds in *"zeros sampled"*) return 0 ;; esac
		seen="$seen; the disk is not empty: $holds" ;;
	esac
	printf 'not what was looked at: %s\n' "$seen"
	return 76
}

blank() { # DISK MINOR NAME: the same eyes as the look's
	seen=$(look_disk "$1" "$2" 0 no "$3")
	case $seen in
	*"holder "*|*nodevice*|*TYPE=*|*"zeros not"*) ;;
	*"metadata missing"*"zeros sampled"*) return 0 ;;
	esac
	printf 'no longer blank: %s\n' "$seen"
	return 76
}

# -- the steps ----------------------------------------------------------------------------------------------------------
write_file() { # PATH CONTENT: whole or not at all; what was there is kept beside it
	mkdir -p "${1%/*}" && printf '%s' "$2" >"$1.new" && sync "$1.new" || return
	[ -e "$1" ] && { cp -p "$1" "$1.before" && sync "$1.before" || return; }
	mv "$1.new" "$1" && sync "${1%/*}"
}

quiet_boot() { # UNIT-OR-LINK...: nothing but orchestrate may connect DRBD
	units=''
	for unit; do
		case $unit in
		/etc/rc*)
			service=${unit##*/S[0-9][0-9]}
			if command -v chkconfig >/dev/null; then chkconfig "$service" off; else update-rc.d "$service" disable; fi || return ;;
		*) units="$units ${unit##*/}" ;;
		esac
	done
	[ -z "$units" ] || systemctl disable $units # all in one: it reads every unit anew each time
}

open_port() { # COMMAND...: each argument is one whole command that was shown in the plan
	for command; do sh -c "$command" || return; done
}

create_metadata() { # NAME MINOR DISK
	blank "$3" "$2" "$1" || return
	adm_with --force create-md "$1"
}

adm_with() { # OPTION COMMAND NAME: 8.3's drbdadm hands on what stands before the command, behind "--"
	if [ $old = yes ]; then $adm -- "$1" "$2" "$3"; else $adm "$2" "$1" "$3"; fi
}

attach() { # NAME MINOR CONFIGURED LINKED: disk up, not connected; `up` and `adjust` would connect
	link_now "$1" "$2"
	case $4$seen in # a link that came up since would shake hands at once, and nobody foresaw what comes of it
	no*cs:WF*|no*cs:Connected*|no*connection:Connect*) printf 'not what was looked at: %s\n' "$seen"; return 76 ;;
	esac
	case $seen in # a Primary without a disk: its own goes first, for what it wrote alone may be on no other
	*"ro:Secondary/Primary ds:Diskless/Diskless"*|*role:Secondary*role:Primary*peer-disk:Diskless*) printf 'the disk of the Primary goes first: %s\n' "$seen"; return 76 ;;
	esac
	if [ $generation = 9 ]; then # a killed attach may have left any of these
		case $seen in *"exists resource"*) ;; *) $adm new-resource "$1" || return ;; esac
		peer_known "$1" || return
		case $seen in *"exists device"*) ;; *) $adm new-minor "$1" || return ;; esac
	elif [ $old = yes ]; then # 8.3 makes the minor with its disk, and takes the rate of copying from a command of its own
		$adm attach "$1" && $adm syncer "$1"
		return
	elif [ "$3" = no ]; then
		$setup new-resource "$1" || : # it may be there without its minor, and /proc/drbd lists minors
		$setup new-minor "$1" "$2" 0 || return
	fi
	$adm attach "$1"
}

demote() { # NAME: a look of ours or udev may just be reading the device; who holds it for three seconds is somebody (-12)
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		refused=$($adm secondary "$1" 2>&1); code=$?
		case $code$refused in 11*'(-12)'*) sleep 0.3 ;; *) break ;; esac
	done
	[ -z "$refused" ] || printf '%s\n' "$refused"
	return $code
}

promote() { # NAME MINOR: only what is connected and UpToDate on both sides at this moment
	link_now "$1" "$2"
	case $seen in
	*cs:Connected*ds:UpToDate/UpToDate*) $adm primary "$1"; return ;;
	*connection:Connected*peer-disk:UpToDate*) case $seen in *" disk:UpToDate"*) $adm primary "$1"; return ;; esac ;;
	esac
	printf 'not what was looked at: %s\n' "$seen"
	return 76
}

release_backing() { # DISK: volumes that stand on it and that nobody uses; device mapper itself refuses for one that is open
	resolve "$1"
	for holder in "$sys"/holders/*; do
		[ -r "$holder/dm/name" ] || continue
		read -r volume <"$holder/dm/name"
		dmsetup remove --retry "$volume" || return
	done
	for holder in "$sys"/holders/*; do [ ! -e "$holder" ] || { printf 'still in use by %s\n' "${holder##*/}"; return 76; }; done
}

distrust() { # NAME MINOR DISK IDENTIFIERS: what is on this disk counts as old, all of it; the other side has what DRBD knows of
	still "$@" || return
	resolve "$3"
	for holder in "$sys"/holders/*; do [ ! -e "$holder" ] || { printf 'still in use by %s\n' "${holder##*/}"; return 76; }; done
	link_now "$1" "$2"
	case $seen in ""|cs:Unconfigured*|*ds:Diskless*) ;; *) printf 'not what was looked at: %s\n' "$seen"; return 76 ;; esac
	$adm invalidate "$1" || return
	rm -f "/var/lib/orchestrate/touched/$1" && sync /var/lib/orchestrate/touched
}

promote_alone() { # NAME MINOR DISK IDENTIFIERS: the peer is known to be off; DRBD's fence-peer handler may believe that, this once
	still "$@" || return
	link_now "$1" "$2"
	case $seen in *cs:Connected*|*connection:Connected*) printf 'not what was looked at: %s\n' "$seen"; return 76 ;; esac
	mkdir -p /run/orchestrate && printf '%s\n' $$ >/run/orchestrate/promoting
	$adm primary "$1"
	set -- $?
	rm -f /run/orchestrate/promoting
	return "$1"
}

take_down() { # NAME MINOR: one thing after the other; 8.4.11 was seen to panic when a Primary that lost its peer is downed in one go
	demote "$1" || return
	$adm disconnect "$1" # 10: there was no connection
	$adm down "$1"
}

peer_known() { # NAME: DRBD 9 connects to a peer that was made known; $seen is what there is
	case $seen in *"exists connection"*) ;; *) $adm new-peer "$1" || return ;; esac
	case $seen in *"exists path"*) ;; *) $adm new-path "$1" ;; esac
}

connect() { # NAME MINOR DISK IDENTIFIERS UNMARKED: "yes" if no block was marked; the line in the kernel log is where the search for a reason starts
	still "$@" || return
	link_now "$1" "$2"
	case $seen in # identifiers are read from a disk that failed, too
	*ds:Diskless/*|*ds:Failed/*|*" disk:Diskless"*|*" disk:Failed"*|*" disk:Detaching"*) gone=yes ;;
	*out-of-sync:[1-9]*) gone=$5 ;; # DRBD 9 forgets marked blocks where it copies none
	*) gone=no ;;
	esac
	[ "$gone" = no ] || { printf 'not what was looked at: %s\n' "$seen"; return 76; }
	if [ $generation = 9 ]; then peer_known "$1" || return; fi
	printf 'orchestrate: drbd %s: connecting\n' "$1" >/dev/kmsg
	$adm connect "$1"
}

verify() { # NAME MINOR: DRBD reads and compares every block by itself; the mark is where its words about it begin
	link_now "$1" "$2"
	case $seen in
	*cs:Connected*ds:UpToDate/UpToDate*|*connection:Connected*replication:Established*peer-disk:UpToDate*) ;;
	*) printf 'not what was looked at: %s\n' "$seen"; return 76 ;;
	esac
	printf 'orchestrate: drbd %s: verifying\n' "$1" >/dev/kmsg
	$adm verify "$1"
}

power_cycle() { # NAME: another node, which hangs: off by its fence agent, seen to be off, and on again
	/usr/local/sbin/orchestrate-fence --cycle "$1"
}

force_primary() { # NAME MINOR DISK IDENTIFIERS STAYS: "no" where no Primary is wanted: the copying needs none
	still "$@" && never_good "$1" "$2" "$3" || return
	if [ $old = yes ]; then adm_with --overwrite-data-of-peer primary "$1"; else $adm primary --force "$1"; fi || return
	[ "$5" = yes ] || demote "$1"
}

clear_bitmap() { # NAME MINOR DISK IDENTIFIERS
	still "$@" && never_good "$1" "$2" "$3" || return
	if [ $old = yes ]; then adm_with --clear-bitmap new-current-uuid "$1"; else $adm new-current-uuid --clear-bitmap "$1/0"; fi
}

# -- a split brain's end ------------------------------------------------------------------------------------------------
record() { # NAME LINE: what was agreed about a resource and where its archive is; durable before anything is done
	mkdir -p $STATE/recovery && printf '%s\n' "$2" >"$STATE/recovery/$1.new" && sync "$STATE/recovery/$1.new" || return
	mv "$STATE/recovery/$1.new" "$STATE/recovery/$1" && sync "$STATE/recovery/$1" $STATE/recovery $STATE ${STATE%/*}
}

forget() { # NAME: kept beside, for people
	[ -e "$STATE/recovery/$1" ] || return 0
	mkdir -p $STATE/recovered && mv "$STATE/recovery/$1" "$STATE/recovered/$1" && sync $STATE/recovered $STATE/recovery
}

written() { # NAME MINOR: KiB that were written to the disk since it was attached, into $kib
	kib=unknown
	if [ $generation = 9 ]; then
		for word in $($setup events2 --now --statistics "$1"); do case $word in written:*) kib=${word#written:} ;; esac; done
		return
	fi
	found=no
	while read -r minor rest; do
		case $minor in
		"$2:") found=yes ;;
		ns:*) [ $found = yes ] && for word in $rest; do case $word in dw:*) kib=${word#dw:} ;; esac; done; found=no ;;
		*:) found=no ;;
		esac
	done </proc/drbd
}

discard() { # NAME MINOR DISK IDENTIFIERS CLEAN: this side's changes go. CLEAN "yes": it has none; else they were saved, and nothing was written since it was attached
	still "$1" "$2" "$3" "$4" || return
	link_now "$1" "$2"
	case $seen in
	*cs:Connected*|*connection:Connected*|*ro:Primary/*|*" role:Primary"*|*ds:Diskless/*|*" disk:Diskless"*) printf 'not what was looked at: %s\n' "$seen"; return 76 ;;
	*cs:*Sync*|*cs:WFBit*|*cs:Verify*|*cs:Ahead*|*cs:Behind*) printf 'they talk already: %s\n' "$seen"; return 76 ;; # 8.4 has other words then
	esac
	case $5$seen in
	yes*) marked "$1" "$2" || return ;;
	*ds:Inconsistent/*|*" disk:Inconsistent"*) ;; # an earlier discard was broken off: what was written since is the survivor's
	*)
		written "$1" "$2"
		[ "$kib" = 0 ] || { printf 'not what was saved: %s KiB were written since\n' "$kib"; return 76; }
	esac
	case $seen in *cs:WF*|*cs:Unconnected*|*connection:Connecting*|*connection:Unconnected*) $adm disconnect "$1" || return ;; esac # it tried without the flag
	if [ $generation = 9 ]; then link_now "$1" "$2"; peer_known "$1" || return; fi
	printf 'orchestrate: drbd %s: connecting\n' "$1" >/dev/kmsg
	adm_with --discard-my-data connect "$1"
}

marked() { # NAME MINOR: 76 if a block of this side is marked as changed
	if [ $generation = 9 ]; then
		case $seen in *out-of-sync:[1-9]*) ;; *out-of-sync:0*) return 0 ;; esac
		printf 'it has changes, or nobody counts them: %s\n' "$seen"; return 76
	fi
	found=no
	while read -r minor rest; do
		case $minor in
		"$2:") found=yes ;;
		ns:*) if [ $found = yes ]; then case " $rest " in *" oos:0 "*) return 0 ;; esac; printf 'it has changes: %s\n' "$rest"; return 76; fi ;;
		esac
	done </proc/drbd
	return 76
}
