# Starting and stopping the layers of Fedora 14 and RHEL 6. Comes after orchestrator/stack/act.sh, and replaces what is another thing there.
[ -e /run ] || ln -s var/run /run # RHEL 6 has none; its boot empties /var/run

service() { /sbin/service "$2" "$1"; } # start|stop NAME: nothing it says, or exits with, is believed

write_checked() { # PATH MODE CONTENT...: if cman's own check refuses the new cluster.conf, the one before is put back
	conf=/etc/cluster/cluster.conf
	write_files "$@" || return
	ccs_config_validate && return
	set -- $?
	mv $conf $conf.refused && { [ ! -e $conf.before ] || cp -p $conf.before $conf; }
	printf 'refused by ccs_config_validate: %s.refused\n' $conf
	return "$1"
}

start_lvmconf() { # FILTER: three settings of lvm.conf; every other line stays as it is
	conf=/etc/lvm/lvm.conf locking=no filtered=no text=''
	while IFS= read -r line || [ -n "$line" ]; do
		case ${line%%#*} in
		*locking_type*=*) line='    locking_type = 3' locking=yes ;;
		*fallback_to_local_locking*=*) line='    fallback_to_local_locking = 0' ;;
		*filter*=*"["*"]"*) [ $filtered = no ] || continue; line="    filter = $1" filtered=yes ;;
		*filter*=*) printf 'a filter of more than one line: write it in one: %s\n' "$line"; return 76 ;;
		esac
		text="$text$line
"
	done <$conf
	[ $locking = yes ] || text="${text}global {
    locking_type = 3
}
"
	[ $filtered = yes ] || text="${text}devices {
    filter = $1
}
"
	write_file $conf "$text"
}

start_cman() { # NAMES of nodes that are known to be off: fenced is told so, else it waits for them, or shoots them once more
	for gone; do (acknowledged "$gone") >/dev/null 2>&1 </dev/null & done
	service start cman
	await 120 cman_quorate
}
acknowledged() { await 110 waits_for_a_victim && echo absolutely | fence_ack_manual "$1"; } # NAME: as soon as fenced waits for it
waits_for_a_victim() { case $(fence_tool ls 2>/dev/null) in *"wait state    fencing"*) ;; *) return 1 ;; esac; }
cman_quorate() {
	case $(timeout -k 1 5 cman_tool status 2>&1) in
	*"Activity blocked"*) return 1 ;;
	*"Membership state: Cluster-Member"*) ;;
	*) return 1 ;;
	esac
}
stop_cman() { no_lockspace && service stop cman; }

start_version() { cman_tool version -r -S; }
start_fenced() { fence_tool join -w 60; await 60 in_domain; }
in_domain() { case $(timeout -k 1 5 fence_tool ls 2>/dev/null) in *"wait state    none"*) ;; *) return 1 ;; esac; }
stop_fenced() { no_lockspace && fence_tool leave -w 30; }

start_clvmd() { service start clvmd; await 30 runs clvmd; } # its script also activates every clustered group that LVM sees
stop_clvmd() { service stop clvmd; }
runs() { all_processes; running "$1"; }

create_vg() { # VG MINOR: only over nothing
	at_primary "$2" || return
	label "/dev/drbd$2" >/dev/null
	[ "$held" = blank ] || [ "$held" = bare ] || {
		printf '/dev/drbd%s is no longer blank: %s\n' "$2" "$(label "/dev/drbd$2")"; return 76; }
	vgcreate -c y "$1" "/dev/drbd$2"
}

create_lv() { # VG LV SIZE MINOR; LVM of that time knows no -an here: it is active on both nodes afterwards
	at_primary "$4" || return
	case $3 in *%*) how=-l ;; *) how=-L ;; esac
	lvcreate $how "$3" -n "$2" "$1"
}

start_active() { at_primary "$3" && lvchange -aly "$1/$2"; } # VG LV MINOR; -ay would do it on every node
stop_active() { lvchange -aln "$1/$2"; } # VG LV

start_rgmanager() { service start rgmanager; await 30 runs rgmanager; }
stop_rgmanager() { service stop rgmanager; }
start_samba() { include_shares "$1" && service start smb; await 20 runs smbd; } # SMB_CONF
stop_samba() { service stop smb; }
