#!/bin/bash
# A file server from blank disks over ssh, as a careful person would script it: one step after the other, and in each step one node
# after the other. What each step does is in at_a_node.sh: it may be run again, and waits for conditions, never for a time.
#   sequential.sh SSH_CONFIG FILES [--at-once]     FILES/NODE.tgz: files of the cluster; --at-once: each step on both nodes at once
set -euo pipefail
config=$1 files=$2 at_once=${3:-}
first=linux-nas01 second=linux-nas02
steps=$(cat "$(dirname "$0")/at_a_node.sh")

on() { ssh -F "$config" "$1" "$steps"$'\n'"$2" </dev/null; } # NODE WORDS

both() { # WORDS
	if [ -n "$at_once" ]; then
		on $first "$1" &
		other=$!
		on $second "$1"
		wait $other
	else
		on $first "$1"
		on $second "$1"
	fi
}

for node in $first $second; do ssh -F "$config" $node 'tar xz -C /' <"$files/$node.tgz"; done
both drbd_up
on $first first_copy
both 'running corosync'
both 'await corosync-quorumtool -s'
both 'running dlm; await quorate'
both 'running lvmlockd'
on $first group
on $second promote
both locks
on $first volume
both active
on $first file_system
both mounted
both 'shares; running smbd'
