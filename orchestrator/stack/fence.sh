#!/bin/sh
# orchestrate-fence: switches a node of the cluster off. Written by orchestrate; called by dlm_controld (fence_all; "node=ID" on
# stdin) and by DRBD (fence-peer; the peer in the environment), so that both shoot by one rule: the first node of cluster.toml
# is shot only after the others have waited fence_delay seconds, so of two nodes that lose each other the first survives.
#   orchestrate-fence                 for dlm_controld: 0 when the node is off
#   orchestrate-fence --drbd          for DRBD: 7 when the peer is off (drbd.conf(5), fence-peer)
#   orchestrate-fence --node NAME     by hand: `orchestrate fence NAME`, without a delay
#   orchestrate-fence --status NAME   by hand: `orchestrate check --test-fencing`: can the agent reach the power switch
#   orchestrate-fence --ack NAME      by hand: `orchestrate fence-ack NAME`: a human has switched it off, or seen that it is
# With a third node that only votes, DRBD's side waits for the majority: who is cut off alone shoots nobody.
# /etc/orchestrate/fence/nodes: ID NAME METHOD AGENT ACTION TIMEOUT DELAY [votes]; options of an agent: /etc/orchestrate/fence/NAME
HOME_OF=/etc/orchestrate/fence RUN=/run/orchestrate
mkdir -p $RUN

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

off_since() { # STAMP: was it seen off after that moment
	[ -r "$RUN/off.$name" ] && read -r at <"$RUN/off.$name" && [ "$at" -ge "$1" ]
}

off_since_it_joined() { # the one the lock manager lost is the one that was shot before: DRBD had noticed first
	members=$(timeout 2 dlm_tool status 2>/dev/null)
	joined=${members#*"
node $id "? add }
	[ "$joined" != "$members" ] && joined=${joined%% *} && off_since $(((joined + 1) * 100)) # dlm_controld counts whole seconds since boot
}

agent_says() { # ACTION
	{ cat "$HOME_OF/$name"; printf 'action=%s\n' "$1"; } | timeout -k 5 "$limit" "$agent" >"$RUN/agent.$name" 2>&1
}

is_off() { # keep it for those who ask later, and let the lock manager go on
	uptime_now
	echo "$uptime" >"$RUN/off.$name.new" && mv "$RUN/off.$name.new" "$RUN/off.$name" || return
	told "$name is off ($1)"
}

release_locks() { # what waits for this node's fencing waits no more; nothing waits: it says so, and that is no matter
	case $(timeout 5 dlm_tool status 2>/dev/null) in *"node $id X "*|*"fence $id "*) dlm_tool fence_ack "$id" ;; esac
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
	agent_says "$action" || { told "$name: $agent $action failed: $(tail -n 1 "$RUN/agent.$name")"; return 1; }
	is_off "$agent $action"
}

lost_for_good() { # DRBD alone lost its peer for a moment, and the cluster never did: then nobody is shot, and DRBD goes on by itself
	case $(drbdadm cstate "$DRBD_RESOURCE" 2>/dev/null) in Connected*) ;; *) return 0 ;; esac
	case $(timeout 2 dlm_tool status 2>/dev/null) in
	*"
fence $id "*) return 0 ;; # the lock manager waits for it: the link may be back, the locks are not
	esac
	return 1
}

outvoted() { # STAMP: a third node votes, and it is not yet known to be with us: no quorum, or the cluster has not lost the peer yet
	grep -q ' votes$' $HOME_OF/nodes || return 1
	case $(timeout 2 dlm_tool status 2>/dev/null) in
	*"quorate 1"*"node $id X "* | *"quorate 1"*"fence $id "*) return 1 ;;
	*"quorate 1"*) uptime_now; [ $((uptime - $1)) -lt 6000 ] ;; # DRBD's link alone is dead: after a minute by the old rule
	esac
}

fence() { # STAMP: by the rule
	[ "$method" = agent ] || { off_since "$1"; return; } # a human says so: orchestrate fence-ack
	sleep "$delay"
	shoot "$1"
}

for_drbd() {
	of_node name "${DRBD_PEER:-${DRBD_PEERS%% *}}" || exit 1
	told "DRBD ${DRBD_RESOURCE:-?} asks to fence $name"
	# promoted alone by orchestrate, which knows that the peer is off and was not seen since
	[ -r "$RUN/promoting" ] && read -r pid <"$RUN/promoting" && [ -d "/proc/$pid" ] && [ -r "$RUN/off.$name" ] && exit 7
	uptime_now
	since=$uptime
	[ "$method" = manual ] || sleep "$delay"
	delay=0 # it is waited once
	while lost_for_good; do
		outvoted "$since" || { fence "$since" && exit 7; }
		sleep 0.3
	done
	told "DRBD ${DRBD_RESOURCE:-?} has $name again: nobody is shot"
	exit 1 # the kernel asks no more: it is connected
}

uptime_now
case ${1:-} in
--drbd) for_drbd ;;
--node)
	of_node name "$2" || exit 1
	[ "$method" = agent ] || { echo "$2 has no fence agent: switch it off by hand, then: orchestrate fence-ack $2" >&2; exit 1; }
	shoot "$uptime" || { cat "$RUN/agent.$2" >&2; exit 1; }
	release_locks
	;;
--status)
	of_node name "$2" || exit 1
	[ "$method" = agent ] || exit 0
	agent_says status || grep -q "^Status: OFF" "$RUN/agent.$2" || { cat "$RUN/agent.$2" >&2; exit 1; } # 2: it is off
	;;
--ack) of_node name "$2" && is_off "a human says so" && release_locks ;;
*)
	wanted=
	while IFS='=' read -r key value; do [ "$key" = node ] && wanted=$value; done
	of_node id "$wanted" || exit 1
	told "dlm asks to fence $name"
	[ -z "$votes" ] || exit 0 # it has nothing that it could write to
	[ "$method" = agent ] || exit 1 # dlm_tool fence_ack tells dlm itself
	off_since_it_joined && { told "$name has been off since it was a member"; exit 0; }
	fence "$uptime"
	;;
esac
