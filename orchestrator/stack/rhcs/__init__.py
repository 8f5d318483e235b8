"""The layers of Fedora 14 and RHEL 6, as `orchestrator/stack` has those of today: files, and calls into far-side scripts.

The scripts come after those of the other layers and replace what is another thing there: how a service is started, what LVM is asked.
"""
