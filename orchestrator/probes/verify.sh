# An online verify that is being watched. After look.sh.
verify_now() { # NAME: how far it is
	which_generation
	say verify
	if [ $generation = 8 ]; then copy /proc/drbd; else $setup status "$1" 2>&1; fi
	read -r uptime _ </proc/uptime
	say end "$uptime"
}

verify_log() { # NAME MINOR: what the kernel said of this resource
	say kernel "$1"
	dmesg | grep -E "drbd $1([ /:]|\$)|drbd$2: "
	read -r uptime _ </proc/uptime
	say end "$uptime"
}
