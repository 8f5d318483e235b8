"""What the tools of Fedora 14 and RHEL 6 print: cman, fenced, rgmanager, init scripts, run levels. Pure functions."""
