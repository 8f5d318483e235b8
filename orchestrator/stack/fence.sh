#!/bin/sh
# orchestrate-fence: switches a node of the cluster off. Written by orchestrate; called by dlm_controld (fence_all; "node=ID" on
# stdin) and by DRBD (fence-peer; the peer in the environment), so that both shoot by one rule: the first node of cluster.toml
# is shot only after the others have waited fence_delay seconds, so of two nodes that lose each other the first survives.
#   orchestrate-fence                 for dlm_controld: 0 when the node is off
#   orchestrate-fence --drbd          for DRBD: 7 when the peer is off (drbd.conf(5), fence-peer)
#   orchestrate-fence --node NAME     by hand: `orchestrate fence NAME`, without a delay
#   orchestrate-fence --cycle NAME    for `orchestrate recover-splitbrain`: off, and on again: a node whose file system hangs
#   orchestrate-fence --status NAME   by hand: `orchestrate check --test-fencing`: can the agent reach the power switch
#   orchestrate-fence --ack NAME      by hand: `orchestrate fence-ack NAME`: a human has switched it off, or seen that it is
# With a third node that only votes, DRBD's side waits for the majority: who is cut off alone shoots nobody.
# /etc/orchestrate/fence/nodes: ID NAME METHOD AGENT ACTION TIMEOUT DELAY [votes]; options of an agent: /etc/orchestrate/fence/NAME
HOME_OF=/etc/orchestrate/fence RUN=/run/orchestrate
[ -d $RUN ] || mkdir -p $RUN

uptime_now() { read -r uptime _ </proc/uptime; uptime=${uptime%%.*}${uptime##*.}; } # hundredths of a second

of_node() { # FIELD VALUE: the line of that node, into its variables
	while read -r id name method agent action limit delay votes; do
		case $1 in id) key=$id ;; *) key=$name ;; esac
		[ "$key" = "$2" ] && return 0
	done <$HOME_OF/nodes
	echo "orchestrate-fence: no node $2 in $HOME_OF/nodes" >&2
	return 1
}

told() { echo "orchestrate-fence: $*" >/dev/kmsg; }

asks() { # WHO waits until this node is off: told once, and kept for `orchestrate status`, with the time of the first
	uptime_now
	first=$uptime others=
	if [ -r "$RUN/asked.$name" ]; then read -r first others <"$RUN/asked.$name"; else rm -f "$RUN/failed.$name"; fi
	case " $others " in *" $1 "*) return ;; esac # dlm asks every second
	echo "$first $others $1" >"$RUN/new.$name.$$" && mv "$RUN/new.$name.$$" "$RUN/asked.$name"
	told "$1 asks to fence $name"
}

nobody_asks() { rm -f "$RUN/asked.$name" "$RUN/failed.$name"; }

off_since() { # STAMP: was it seen off after that moment
	[ -r "$RUN/off.$name" ] && read -r at <"$RUN/off.$name" && [ "$at" -ge "$1" ]
}

off_since_it_joined() { # the one the lock manager lost is the one that was shot before: DRBD had noticed first
	members=$(timeout 2 dlm_tool status 2>/dev/null)
	joined=${members#*"
node $id "? add }
	[ "$joined" != "$members" ] || return
	lost=${joined#* fail } joined=${joined%% *}
	lost=${lost%% *}
	case $lost in ''|*[!0-9]*) return 1 ;; esac
	# dlm_controld counts whole seconds since boot. Who is off stays a member for 2.2 tokens at most: a word from long before is not about now
	off_since $(((joined + 1) * 100)) && off_since $(((lost - 150) * 100))
}

agent_says() { # ACTION
	{ cat "$HOME_OF/$name"; printf 'action=%s\n' "$1"; } |
		PYTHONWARNINGS=ignore timeout -k 5 "$limit" "$agent" >"$RUN/agent.$name" 2>&1 # its last line is told: of the switch, not of the agent's source
}

stamp() { uptime_now; echo "$uptime" >"$RUN/new.$name.$$" && mv "$RUN/new.$name.$$" "$RUN/off.$name"; }

is_off() { # keep it for those who ask later, and let the lock manager go on
	stamp || return
	nobody_asks
	told "$name is off ($1)"
}

noticed() { # what the lock manager is told before it has lost the node it asks again: wait until it has (token and 1.2 times token)
	tries=30
	while [ $tries -gt 0 ]; do
		case $(timeout 5 dlm_tool status 2>/dev/null) in *"node $id M "*) ;; *) break ;; esac
		tries=$((tries - 1))
		sleep 0.5
	done
	stamp && nobody_asks
}

release_locks() { # what waits for this node's fencing waits no more; nothing waits: it says so, and that is no matter
	case $(timeout 5 dlm_tool status 2>/dev/null) in *"node $id X "*|*"fence $id "*) timeout 5 dlm_tool fence_ack "$id" ;; esac
}

shoot() { # STAMP: the other path may be at it: who comes second takes over what came out
	exec 9>"$RUN/fence.$name.lock"
	flock 9
	shoot_once "$1"
	set -- $?
	exec 9>&- # a caller that tries again must not keep the other path out
	return "$1"
}

shoot_once() { # STAMP
	off_since "$1" && return 0
	agent_says "$action" || { failed $?; return 1; }
	is_off "$agent $action"
}

failed() { # CODE of the agent
	words=$(tail -n 1 "$RUN/agent.$name")
	case $1 in 124|137) words="no answer within $limit s; ${words:-it said nothing}" ;; esac
	echo "$agent $action failed: ${words:-exit $1}" >"$RUN/failed.$name"
	told "$name: $agent $action failed: ${words:-exit $1}"
}

lost_for_good() { # DRBD alone lost its peer for a moment, and the cluster never did: then nobody is shot, and DRBD goes on by itself
	case $(timeout 5 drbdadm cstate "$DRBD_RESOURCE" 2>/dev/null) in Connected*) ;; *) return 0 ;; esac
	case $(timeout 2 dlm_tool status 2>/dev/null) in
	*"
fence $id "*) return 0 ;; # the lock manager waits for it: the link may be back, the locks are not
	esac
	return 1
}

outvoted() { # STAMP: a third node votes, and it is not yet known to be with us: no quorum, or the cluster has not lost the peer yet
	grep -q ' votes$' $HOME_OF/nodes || return 1
	view=$(timeout 2 dlm_tool status 2>/dev/null)
	ring=${view#*ring seq } ring=${ring%%"
"*}
	[ "${ring%% *}" = "${ring##* }" ] || return 0 # quorum and members are not of one moment
	case $view in
	*"quorate 1"*"node $id X "* | *"quorate 1"*"fence $id "*) return 1 ;;
	*"quorate 1"*) uptime_now; [ $((uptime - $1)) -lt 6000 ] ;; # DRBD's link alone is dead: after a minute by the old rule
	esac
}

fence() { # STAMP: by the rule
	[ "$method" = agent ] || { off_since "$1"; return; } # a human says so: orchestrate fence-ack
	if [ "$delay" != 0 ] && [ -r "$RUN/failed.$name" ]; then answers || return 1; fi # the delay begins when the power switch is there again
	sleep "$delay"
	shoot "$1"
}

answers() { # the power switch itself: 2 says that the node is off (fence agents' status)
	agent_says status
	case $? in 0|2) ;; *) return 1 ;; esac
}

said_off() { # STAMP SECONDS: a human's word is heard at once; tools and agents are asked again only then, for the node has better to do
	tries=$(($2 * 2))
	until off_since "$1"; do
		[ $tries -gt 0 ] || return
		tries=$((tries - 1))
		sleep 0.5
	done
}

try() { # STAMP: beside the caller, who need not wait for an agent without an answer when a human has said it
	fence "$1"
	rm -f "$RUN/trying.$$"
}

for_drbd() {
	of_node name "${DRBD_PEER:-${DRBD_PEERS%% *}}" || exit 1
	# promoted alone by orchestrate, which knows that the peer is off and was not seen since
	[ -r "$RUN/promoting" ] && read -r pid <"$RUN/promoting" && [ -d "/proc/$pid" ] && [ -r "$RUN/off.$name" ] && exit 7
	asks "DRBD ${DRBD_RESOURCE:-?}"
	uptime_now
	since=$uptime
	[ "$method" = manual ] || sleep "$delay"
	again=$delay delay=0 # waited; a later try waits anew, for then both nodes may have their power switches back at once
	uptime_now
	begun=$uptime
	while lost_for_good; do
		if outvoted "$begun"; then said_off "$since" 1 && exit 7; continue; fi
		: >"$RUN/trying.$$"
		try "$since" &
		tries=600 # three minutes: longer than any agent may take
		while [ -e "$RUN/trying.$$" ] && [ $tries -gt 0 ]; do off_since "$since" && exit 7; tries=$((tries - 1)); sleep 0.3; done
		said_off "$since" 3 && exit 7
		delay=$again
	done
	nobody_asks
	told "DRBD ${DRBD_RESOURCE:-?} has $name again: nobody is shot"
	exit 1 # the kernel asks no more: it is connected
}

uptime_now
case ${1:-} in
--drbd) for_drbd ;;
--node|--cycle)
	of_node name "$2" || exit 1
	[ "$method" = agent ] || { echo "$2 has no fence agent: switch it off by hand, then: orchestrate fence-ack $2" >&2; exit 1; }
	shoot "$uptime" || { cat "$RUN/agent.$2" >&2; exit 1; }
	noticed && release_locks || exit
	[ "$1" = --cycle ] || exit 0
	rm -f "$RUN/off.$2" # from here on it may run again
	agent_says on || { cat "$RUN/agent.$2" >&2; exit 1; }
	told "$2 is on again ($agent on)"
	;;
--status)
	of_node name "$2" || exit 1
	[ "$method" = agent ] || exit 0
	agent_says status || grep -q "^Status: OFF" "$RUN/agent.$2" || { cat "$RUN/agent.$2" >&2; exit 1; } # 2: it is off
	;;
--ack) of_node name "$2" && is_off "a human says so" && noticed && release_locks ;;
*)
	wanted=
	while IFS='=' read -r key value; do [ "$key" = node ] && wanted=$value; done
	of_node id "$wanted" || exit 1
	[ -z "$votes" ] || { told "dlm asks to fence $name"; exit 0; } # it has nothing that it could write to
	asks dlm
	off_since_it_joined && { nobody_asks; told "$name has been off since it was a member"; exit 0; }
	[ "$method" = agent ] || { said_off "$uptime" 10 && nobody_asks; exit; } # and asks again; a human's word it hears itself: dlm_tool fence_ack
	fence "$uptime"
	;;
esac
