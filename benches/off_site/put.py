"""Uploads one file with paramiko: known hosts, key, user, port, file, where to."""

import sys

import paramiko

known_hosts, key, user, port, source, target = sys.argv[1:]
client = paramiko.SSHClient()
client.load_host_keys(known_hosts)
client.connect("127.0.0.1", int(port), user, key_filename=key, allow_agent=False, look_for_keys=False)
client.open_sftp().put(source, target, confirm=True)
client.close()
