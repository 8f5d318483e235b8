# One long-lived shell on a node that says what happens there, until nobody listens any more. Behind sweep.sh in one script.
# What begins with "==" is ours; DRBD's events begin with a time or with what happened, lines of logs with "[".
# Arguments: HOLDER OVER SWEEP BEAT SERVICES [UNIT...]. HOLDER "-": somebody who only looks; OVER names one that is dead.
trap '' PIPE # a write that fails tells us; children get it back
events='' kernel='' journal=''
alive() { # PID: it is a child of ours (numbers come again), runs, and is not only waiting to be buried
	[ -n "$1" ] && [ -r "/proc/$1/stat" ] && read -r stat <"/proc/$1/stat" || return 1
	case ${stat##*) } in Z*) return 1 ;; [A-Z]" $$ "*) ;; *) return 1 ;; esac
}

leave() { for pid in $events $kernel $journal $!; do ! alive "$pid" || kill -9 "$pid" 2>/dev/null; done; } # $!: begun this very moment
trap leave EXIT
trap 'exit 143' TERM HUP INT

watching() { # HOLDER OVER: one supervisor at a time; a flock goes with the process, whatever ends it
	[ "$1" != - ] || return 0
	mkdir -p /run/orchestrate && exec 8>>/run/orchestrate/watching || return 0
	tries=0
	until flock -n 8; do
		other='' pid=''
		read -r other pid _ </run/orchestrate/watching
		case $other in
		"$1"|"$2") [ $tries -lt 20 ] && kill "$pid" 2>/dev/null || kill -9 "$pid" 2>/dev/null ;; # its connection broke, or it is dead
		*) [ $tries -lt 2 ] || { told watching-held "${other:-?}"; exit 75; } ;; # whoever has just taken it may not have written yet
		esac
		tries=$((tries + 1))
		sleep 0.1
	done
	printf '%s %s\n' "$1" $$ >/run/orchestrate/watching
}

child() { # COMMAND...: writes straight to our stdout, holds nothing of ours, and dies with us, be it by kill -9
	trap - PIPE
	exec 8>&- 9>&-
	exec $bound "$@" </dev/null 2>/dev/null
}

follow_events() { # drbdsetup would load the module: only where it is there. It ends with the module, and is begun again
	[ "$drbd" != absent ] || return 0
	if alive "$events"; then quiet=0; return 0; fi
	[ -z "$events" ] || { [ $quiet -ge 3 ] || told events-ended; }
	quiet=$((quiet + 1))
	[ $quiet -le 3 ] || [ $((quiet % 30)) = 0 ] || return 0 # an old drbdsetup has no events2: then /proc/drbd is what there is
	child drbdsetup events2 --timestamps --statistics &
	events=$!
}

follow_logs() { # UNIT...: the kernel's errors, and what systemd and the cluster's daemons say
	if have dmesg; then child dmesg -w -l emerg,alert,crit,err & kernel=$!; fi
	if [ $# -gt 0 ] && have journalctl; then
		for unit; do shift; set -- "$@" -u "$unit"; done
		child journalctl -f -q -n 0 -o short-monotonic "$@" & journal=$!
	fi
}

have() { command -v "$1" >/dev/null 2>&1; }

if [ -n "${BASH_VERSION:-}" ]; then # a pipe in which nothing ever comes is a clock that needs no process
	eval 'exec 9<> <(:)'
	rest() { read -r -t "$1" _ <&9 || :; }
	case $BASH_VERSION in [123].*) hurry=1 ;; *) hurry=0.2 ;; esac
else
	rest() { sleep "$1" 8>&-; }
	hurry=0.5
fi

bound='' quiet=0 cores=0 busy=''
have setpriv && setpriv --pdeathsig KILL true 2>/dev/null && bound='setpriv --pdeathsig KILL'
holder=$1 over=$2 every=$3 beat=$4 services=$5
shift 5
watching "$holder" "$over"
read -r boot_id </proc/sys/kernel/random/boot_id
read -r uptime _ </proc/uptime
while read -r word _; do case $word in cpu[0-9]*) cores=$((cores + 1)) ;; esac; done </proc/stat
told following "$uptime" "$boot_id" "$cores"
forget
follow_logs "$@"
while :; do
	busy=''
	sweep
	follow_events
	heartbeat "$beat"
	if [ -n "$busy" ] && [ $quiet -gt 0 ]; then rest $hurry; else rest "$every"; fi
done
