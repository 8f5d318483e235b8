#!/bin/sh
# orchestrate-fence for cman. Written by orchestrate; called by DRBD (fence-peer). fenced is the one who shoots: DRBD waits until it
# has, so a node that was lost is shot once, whoever notices first.
#   orchestrate-fence --drbd          for DRBD: 7 when the peer is off (drbd.conf(5), fence-peer)
#   orchestrate-fence --node NAME     by hand: `orchestrate fence NAME`
#   orchestrate-fence --status NAME   by hand: `orchestrate check --test-fencing`
#   orchestrate-fence --ack NAME      by hand: `orchestrate fence-ack NAME`: a human has switched it off, or seen that it is
# /etc/orchestrate/fence/nodes: ID NAME METHOD
NODES=/etc/orchestrate/fence/nodes RUN=/run/orchestrate
[ -e /run ] || RUN=/var/run/orchestrate # RHEL 6; its boot empties that
[ -d $RUN ] || mkdir -p $RUN
PATIENCE=60 # seconds DRBD waits for cman to notice what DRBD has noticed

told() { echo "orchestrate-fence: $*" >/dev/kmsg; }

of_node() { # NAME: into $id, $name and $method
	while read -r id name method; do [ "$name" = "$1" ] && return 0; done <$NODES
	echo "orchestrate-fence: no node $1 in $NODES" >&2
	return 1
}

peer() { # the one of the two that is not this one
	read -r me </proc/sys/kernel/hostname
	while read -r id name method; do [ "$name" != "$me" ] && return 0; done <$NODES
	return 1
}

stamp() { # keep it for those who ask later
	read -r uptime _ </proc/uptime
	echo "${uptime%%.*}${uptime##*.}" >"$RUN/new.$name.$$" && mv "$RUN/new.$name.$$" "$RUN/off.$name"
	rm -f "$RUN/asked.$name"
	told "$name is off ($1)"
}

letter() { # cman's for that node: M a member, X not
	timeout 5 cman_tool nodes -F id,type 2>/dev/null | while read -r number type _; do [ "$number" = "$id" ] && echo "$type"; done
}

fenced_done() { # nobody is waited for: who is no member has been fenced
	domain=$(timeout 5 fence_tool ls 2>/dev/null)
	case $domain in *"victim count  0"*"wait state    none"*) return 0 ;; esac
	return 1
}

for_drbd() {
	peer || exit 1
	# promoted alone by orchestrate, which knows that the peer is off and was not seen since
	[ -r "$RUN/promoting" ] && read -r pid <"$RUN/promoting" && [ -d "/proc/$pid" ] && [ -r "$RUN/off.$name" ] && exit 7
	read -r uptime _ </proc/uptime
	echo "${uptime%%.*}${uptime##*.} DRBD" >"$RUN/asked.$name"
	told "DRBD ${DRBD_RESOURCE:-?} asks to fence $name"
	waited=0
	while :; do
		case $(timeout 5 drbdadm cstate "$DRBD_RESOURCE" 2>/dev/null) in Connected*) rm -f "$RUN/asked.$name"; exit 1 ;; esac
		case $(letter) in
		X) fenced_done && { stamp "fenced says so"; exit 7; } ;;
		M) [ $waited -lt $PATIENCE ] || [ "$method" = manual ] || { fence_node "$name" && stamp fence_node && exit 7; } ;;
		esac
		waited=$((waited + 1))
		sleep 1
	done
}

case ${1:-} in
--drbd) for_drbd ;;
--node)
	of_node "$2" || exit 1
	[ "$method" = agent ] || { echo "$2 has no fence agent: switch it off by hand, then: orchestrate fence-ack $2" >&2; exit 1; }
	fence_node "$2" && stamp fence_node
	;;
--status) of_node "$2" && { [ "$method" = manual ] || grep -q "fence_$2" /etc/cluster/cluster.conf; } ;; # fence_node can only shoot
--ack)
	of_node "$2" || exit 1
	fenced_done || echo absolutely | fence_ack_manual "$2" || exit 1
	stamp "a human says so"
	;;
*) echo "usage: orchestrate-fence --drbd | --node NAME | --status NAME | --ack NAME" >&2; exit 2 ;;
esac
