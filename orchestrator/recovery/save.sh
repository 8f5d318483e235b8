# Saving one side of a split brain: which blocks a node changed alone, and those blocks read as one stream. Comes after look.sh
# and act.sh. Codes: 75 somebody else is at it or the lease was lost, 76 the node is not what was looked at.
RUN=/run/orchestrate # gone after a reboot, as it has to be, and never on a file system that we freeze

leased() { # HOLDER EPOCH: ours still, where the caller has one ("" where not)
	[ -z "$1" ] || lease_mine "$1" "$2" || { printf 'the lease was lost\n'; return 75; }
}

not_so() { printf 'not what was looked at: %s\n' "$*"; return 76; }

same() { # NAME MINOR DISK IDENTIFIERS: as `still`, but for the lowest bit of each, which says who was Primary
	gi_of "$1" "$2" "$3"
	even "$4"; wanted=$evened
	even "$gi"
	[ "$evened" = "$wanted" ] || { printf 'identifiers are %s, were %s\n' "$gi" "$4"; return 76; }
}

even() { # WORD:WORD...
	evened=''
	set -- $(printf '%s' "$1" | tr : ' ')
	for word; do
		last=${word#"${word%?}"}
		case $last in 1) last=0 ;; 3) last=2 ;; 5) last=4 ;; 7) last=6 ;; 9) last=8 ;; B) last=A ;; D) last=C ;; F) last=E ;; esac
		evened=$evened:${word%?}$last
	done
}

connection_now() { # NAME MINOR: into $link: Down, StandAlone or what it is; $role; $oos (KiB); $seen is what they were read from
	link=Down role=Unknown oos=0 seen=''
	[ -r /proc/drbd ] && link_now "$1" "$2" 2>/dev/null
	if [ $generation = 9 ]; then
		case $seen in
		*connection:StandAlone*) link=StandAlone ;;
		*connection:*) link=${seen#*connection:}; link=${link%%[!A-Za-z]*} ;;
		*"exists device"*) link=StandAlone ;; # no connection object at all
		esac
		case $seen in *role:Primary*) role=Primary ;; *role:*) role=Secondary ;; esac
		case $seen in *out-of-sync:*) oos=${seen##*out-of-sync:}; oos=${oos%%[!0-9]*} ;; esac
	else
		case $seen in
		""|cs:Unconfigured*) return ;;
		cs:*) link=${seen#cs:}; link=${link%% *} ;;
		esac
		case $seen in *ro:Primary*) role=Primary ;; *) role=Secondary ;; esac
		while read -r minor line; do # the counters are on the line after it
			[ "$minor" = "$2:" ] || continue
			read -r line; oos=${line##*oos:}; oos=${oos%%[!0-9]*}
			break
		done </proc/drbd
	fi
}

no_view() { # NAME: a view that is just being left by its last reader goes by itself; one without a reader does not
	tries=0
	while dmsetup info "orchestrate-save-$1" >/dev/null 2>&1; do
		dmsetup remove "orchestrate-save-$1" >/dev/null 2>&1
		tries=$((tries + 1))
		[ $tries -lt 50 ] || { printf 'orchestrate-save-%s is in use\n' "$1"; return 75; }
		sleep 0.1
	done
}

down_now() { # NAME MINOR DISK IDENTIFIERS: DRBD does not have it, nobody else has its disk, and it is the side that was looked at
	no_view "$1" || return
	connection_now "$1" "$2"
	[ $link = Down ] || { not_so "$1 is $link here: $seen"; return 76; }
	resolve "$3"
	for holder in "$sys"/holders/*; do [ ! -e "$holder" ] || { not_so "$3 is in use by ${holder##*/}"; return 76; }; done
	same "$@"
}

versions() {
	read -r system _ <<-END
	$(uname -r)
	END
	printf 'versions drbd %s, %s, Linux %s\n' "$version" "$(drbdadm --version 2>/dev/null | sed -n 's/^DRBDADM_VERSION=/drbd-utils /p')" "$system"
}

dump() { # NAME WORD...: `drbdadm WORD... dump-md NAME`, kept for the caller to fetch
	dumped=$1; shift
	mkdir -p $RUN || return
	{ $adm "$@" dump-md "$dumped" </dev/null; printf '%s\n' $? >"$RUN/dump-$dumped.code"; } 2>"$RUN/dump-$dumped.said" | gzip -1 >"$RUN/dump-$dumped.gz"
	read -r code <"$RUN/dump-$dumped.code"
	[ "$code" = 0 ] || { while IFS= read -r line; do printf '%s\n' "$line"; done <"$RUN/dump-$dumped.said"; return "$code"; }
}

own() { # NAME MINOR DISK IDENTIFIERS HOLDER EPOCH: what a side that is Down changed alone
	down_now "$1" "$2" "$3" "$4" && leased "$5" "$6" || return
	mkdir -p $RUN || return
	apply_log "$1" "$2" >>"$RUN/dump-$1.al" 2>&1 # "Marked additional 12 MB as out-of-sync based on AL." after a crash, the first time
	code=$?
	while IFS= read -r line; do printf '%s\n' "$line"; done <"$RUN/dump-$1.al"
	[ $code = 0 ] || return $code
	dump "$1" && same "$1" "$2" "$3" "$4" || return
	versions
	printf 'own\n'
}

apply_log() { # NAME MINOR: what the activity log names counts as changed
	if [ $old = no ]; then $adm apply-al "$1"; return; fi
	$adm attach "$1" || return # 8.3 has no apply-al: its kernel does that when it attaches, and writes the bitmap (drbd_nl.c, 8.3.16)
	take_down "$1" "$2"
}

# -- the flush: a Primary keeps its bitmap in memory; it writes it down when it disconnects from Connecting ----------------

flush() { # NAME MINOR DISK IDENTIFIERS HOLDER EPOCH PORT FAMILY MOUNT: $text and $timer are set by who started us
	connection_now "$1" "$2"
	if [ $link = Down ]; then own "$1" "$2" "$3" "$4" "$5" "$6"; return; fi
	release "$1" "$2" || return # what a flush that was killed left behind, if its timer was killed too
	[ $link = StandAlone ] || connection_now "$1" "$2"
	case $link in StandAlone|WFConnection|Connecting) ;; *) not_so "$1 is $link here: $seen"; return 76 ;; esac # the victim is Down: nobody is there
	same "$1" "$2" "$3" "$4" && leased "$5" "$6" || return
	before=$oos kept=$gi
	if [ $role = Primary ]; then
		trap 'release "$flushed" "$minor_of"' EXIT
		trap 'exit 143' TERM INT
		flushed=$1 minor_of=$2
		mkdir -p $RUN && printf '%s\n' $$ >"$RUN/flush-$1.armed" || return
		setsid sh -c "$text
$timer $$" </dev/null >/dev/null 2>&1 & # keeps our lock as long as it lives
		close_port "$1" "$7" "$8" || return
		if [ -n "$9" ]; then freeze "$1" "$9" || return; fi
		write_bitmap "$1" "$2" || return
	elif [ $link != StandAlone ]; then
		$adm disconnect "$1" || return
	fi
	dump "$1" -- --force
	code=$?
	connection_now "$1" "$2"
	after=$oos
	release "$1" "$2" || return
	[ $code = 0 ] || return $code
	[ $link = StandAlone ] || { not_so "$1 is $link after the flush: $seen"; return 76; }
	gi_of "$1" "$2" "$3"
	[ "$gi" = "$kept" ] || { printf 'identifiers were %s, the flush made them %s\n' "$kept" "$gi"; return 4; }
	versions
	printf 'flushed %s %s\n' "$before" "$after"
}

write_bitmap() { # NAME MINOR: identifiers do not change by it (seen, 8.4.11); they are compared afterwards
	connection_now "$1" "$2"
	: >"$RUN/flush-$1.connecting"
	case $link in
	StandAlone) $adm connect "$1" || return ;;
	WFConnection|Connecting) ;; # since the link was lost
	*) not_so "$1 is $link here: $seen"; return 76 ;;
	esac
	tries=0
	until connection_now "$1" "$2"; [ $link = WFConnection ] || [ $link = Connecting ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || { printf '%s does not begin to connect: %s\n' "$1" "$seen"; return 4; }
		sleep 0.1
	done
	$adm disconnect "$1" || return
	rm -f "$RUN/flush-$1.connecting"
}

freeze() { # NAME MOUNT: noted before it is done, so that it is undone whoever is killed
	rm -rf "$RUN/flush-$1.turn" "$RUN/flush-$1.froze" # of one that was killed: we have the lock, so nobody is at it any more
	printf '%s\n' "$2" >"$RUN/flush-$1.frozen"
	setsid sh -c "$freezer" sh "$RUN/flush-$1" "$2" </dev/null >/dev/null 2>&1 & # has our lock until it has ended
	tries=0
	until [ -d "$RUN/flush-$1.turn" ] || [ $tries -ge 100 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	if mkdir "$RUN/flush-$1.turn" 2>/dev/null; then
		rm -f "$RUN/flush-$1.frozen"
		printf 'fsfreeze -f %s did not end in 10 s; when it does, it is undone\n' "$2"
		return 4
	fi
	{ read -r code; read -r words; } <"$RUN/flush-$1.froze"
	[ "$code" = 0 ] && return
	printf '%s\n' "$words" # it is frozen by somebody else, or cannot be
	rm -rf "$RUN/flush-$1.frozen" "$RUN/flush-$1.froze" "$RUN/flush-$1.turn"
	return 4
}

# fsfreeze waits in the kernel, deaf to kill, and may freeze long after everybody has given up. Whoever makes the folder "turn" first
# decides: this process, and the file system is the flush's to thaw; or who gave up, and then this process thaws it by itself.
freezer='
trap "" TERM INT HUP
words=$(fsfreeze -f "$2" 2>&1)
code=$?
printf "%s\n%s\n" $code "$words" >"$1.froze"
mkdir "$1.turn" 2>/dev/null && exit
case $code in 0|1[2-9][0-9]) fsfreeze -u "$2" ;; esac # killed: it may have frozen all the same
rm -rf "$1.froze" "$1.turn"
'

close_port() { # NAME PORT FAMILY: nothing in or out on the replication port, in front of every other rule; each undoing is noted first
	case $3 in 6) tools='ip6tables-legacy ip6tables' ;; *) tools='iptables-legacy iptables' ;; esac
	for tool in $tools nft; do
		have $tool && rules_of $tool "$1" "$2" && return
		open_port_again "$1"
	done
	printf 'port %s could not be closed: neither %s nor nft would do it\n' "$2" "$tools"
	return 76
}

rules_of() { # TOOL NAME PORT
	if [ "$1" = nft ]; then
		printf 'nft delete table inet orchestrate_flush_%s\n' "$3" >>"$RUN/flush-$2.port"
		nft "add table inet orchestrate_flush_$3" || return
		for way in input output; do
			nft "add chain inet orchestrate_flush_$3 $way { type filter hook $way priority -400; }" || return
			for end in dport sport; do nft "add rule inet orchestrate_flush_$3 $way tcp $end $3 drop" || return; done
		done
		return
	fi
	for chain in INPUT OUTPUT; do
		for end in dport sport; do
			rule="-p tcp --$end $3 -m comment --comment orchestrate-flush -j DROP"
			printf '%s -w 5 -D %s %s\n' "$1" $chain "$rule" >>"$RUN/flush-$2.port"
			"$1" -w 5 -I $chain 1 $rule || return
		done
	done
}

open_port_again() { # NAME
	[ -e "$RUN/flush-$1.port" ] || return 0
	while IFS= read -r undo; do sh -c "$undo" >/dev/null 2>&1 </dev/null; done <"$RUN/flush-$1.port" # those that were never made fail
	rm -f "$RUN/flush-$1.port"
}

release() { # NAME MINOR: whatever a flush has done to this node is undone; more than once does no harm
	if [ -e "$RUN/flush-$1.frozen" ]; then
		read -r mount <"$RUN/flush-$1.frozen"
		if mkdir "$RUN/flush-$1.turn" 2>/dev/null; then # it has not frozen yet, and will thaw by itself, unless that was killed, too
			fsfreeze -u "$mount" </dev/null >/dev/null 2>&1 & # waits, perhaps, as the freeze does
		else
			fsfreeze -u "$mount"
			rm -rf "$RUN/flush-$1.froze" "$RUN/flush-$1.turn"
		fi
		rm -f "$RUN/flush-$1.frozen"
	fi
	if [ -e "$RUN/flush-$1.connecting" ]; then
		tries=0
		while connection_now "$1" "$2"; [ $link = StandAlone ] && [ $tries -lt 30 ]; do # a connect that was under way may come yet
			tries=$((tries + 1))
			sleep 0.1
		done
		case $link in Down|StandAlone) ;; *) $adm disconnect "$1" || return ;; esac # with the port still closed
		rm -f "$RUN/flush-$1.connecting"
	fi
	open_port_again "$1"
	rm -f "$RUN/flush-$1.armed"
}

release_after() { # NAME MINOR SECONDS PID: the timer; it ends when the flush of that pid has
	passed=0
	while [ $passed -lt "$3" ]; do
		sleep 1
		read -r pid 2>/dev/null <"$RUN/flush-$1.armed" && [ "$pid" = "$4" ] || return 0
		[ -d "/proc/$4" ] || break
		passed=$((passed + 1))
	done
	until release "$1" "$2"; do sleep 1; done
}

# -- the blocks ----------------------------------------------------------------------------------------------------------

keep_list() { # NAME SUM: a list of runs from stdin, named by its sha256; no resource's name has a colon
	mkdir -p $RUN && cat >"$RUN/extents-$1:$2.$$" || return
	read -r sum _ <<-END
	$(sha256sum <"$RUN/extents-$1:$2.$$")
	END
	[ "$sum" = "$2" ] || { rm -f "$RUN/extents-$1:$2.$$"; printf 'the list of blocks came damaged\n'; return 4; }
	mv "$RUN/extents-$1:$2.$$" "$RUN/extents-$1:$2"
}

view() { # NAME MINOR DISK IDENTIFIERS SUM SECTORS: the listed runs of a side that is Down as one read-only device, into $view
	alone "$1" && down_now "$1" "$2" "$3" "$4" && make_view "$1" "$5" "$6"
}

lent_view() { # the same arguments: of a side that DRBD has; nobody else can open its disk but through a loop device
	alone "$1" && no_view "$1" || return
	connection_now "$1" "$2"
	same "$1" "$2" "$3" "$4" || return
	resolve "$3"
	loop=''
	if [ $link != Down ]; then loop=$(losetup -f) && losetup -r --direct-io=on "$loop" "$disk" && disk=$loop || return; fi
	make_view "$1" "$5" "$6"
	set -- $?
	[ -z "$loop" ] || losetup -d "$loop" # it goes with the view that stands on it
	return "$1"
}

alone() { # NAME: one view at a time; the lock goes with the last process that has it
	mkdir -p $RUN && exec 8>"$RUN/save-$1.lock" || return
	flock -w 20 8 || { printf 'another save of %s is running\n' "$1"; return 75; }
}

make_view() { # NAME SUM SECTORS, on $disk
	[ -e /sys/module/dm_mod ] || modprobe dm-mod
	volume=orchestrate-save-$1
	# Before the runs, 1 MiB of nothing: whatever looks for signatures (udev, LVM) finds none of the victim's there.
	for head in zero error; do
		awk -v head=$head -v disk="$disk" -v size="$3" '
			BEGIN { print "0 2048 " head; at = 2048 }
			{ n = $2 * 8; if ($1 * 8 + n > size) n = size - $1 * 8; printf "%.0f %.0f linear %s %.0f\n", at, n, disk, $1 * 8; at += n }
		' "$RUN/extents-$1:$2" | dmsetup create --readonly --noudevsync "$volume" && break
	done
	number=$(dmsetup info -c --noheadings -o minor "$volume") || return
	view=/dev/dm-${number# }
	[ -b "$view" ] && read -r ro <"/sys/class/block/${view#/dev/}/ro" && [ "$ro" = 1 ] || { printf '%s is not a read-only device\n' "$view"; return 4; }
	exec 7<"$view" || return
	dmsetup remove --deferred "$volume" 2>/dev/null && return # the kernel removes it when nobody reads any more, also if we are killed
	trap 'exec 7<&-; no_view "'"$1"'"' EXIT
	trap 'exit 143' TERM INT
}

read_view() { # NAME MINOR DISK IDENTIFIERS SUM SECTORS SKIP COUNT: MiB of the view to stdout
	view "$1" "$2" "$3" "$4" "$5" "$6" >&2 || return
	dd if="$view" bs=1048576 skip=$(($7 + 1)) count="$8" iflag=direct 7<&- 8>&-
}

hash_view() { # VIEW NAME MINOR DISK IDENTIFIERS SUM SECTORS: sha256 of all of a view; "at BYTES" while it is read
	"$@" >&2 || return
	shift
	pipe=$RUN/hash-$1
	rm -f "$pipe"
	mkfifo "$pipe" || return
	# Both ends open first: who opens a pipe that nobody else has waits, and a child that TERM met between its fork and its
	# reset of our trap was seen to wait so for ever, with our lock.
	exec 6<>"$pipe" || return
	sha256sum <"$pipe" >"$pipe.sum" 6<&- &
	dd if="$view" bs=1048576 skip=1 iflag=direct >"$pipe" 2>"$pipe.said" 6<&- &
	reader=$!
	exec 6<&-
	while sed -n 's/^pos:[[:space:]]*/at /p' "/proc/$reader/fdinfo/0" 2>/dev/null; do sleep 0.5; done
	wait $reader
	code=$?
	wait
	rm -f "$pipe"
	[ $code = 0 ] || { while IFS= read -r line; do printf '%s\n' "$line" >&2; done <"$pipe.said"; return $code; }
	read -r sum _ <"$pipe.sum"
	printf 'sha256 %s\n' "$sum"
}

tidy() { # NAME: its lists and dumps, and no other resource's
	no_view "$1"
	for kind in gz code said al; do rm -f "$RUN/dump-$1.$kind"; done
	rm -f "$RUN/extents-$1":* "$RUN/hash-$1.sum" "$RUN/hash-$1.said" "$RUN/save-$1.lock"
}
