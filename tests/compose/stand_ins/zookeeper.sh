#!/bin/bash
# A ZooKeeper of the ensemble that ZOO_SERVERS names, as the official image makes it.
set -eu
{
    printf '%s\n' dataDir=/data dataLogDir=/datalog tickTime=2000 initLimit=5 syncLimit=2 \
        "4lw.commands.whitelist=${ZOO_4LW_COMMANDS_WHITELIST:-srvr}" \
        "standaloneEnabled=${ZOO_STANDALONE_ENABLED:-true}" \
        "admin.enableServer=${ZOO_ADMINSERVER_ENABLED:-true}"
    printf '%s\n' $ZOO_SERVERS
} > /tmp/zoo.cfg
[ -e /data/myid ] || echo "$ZOO_MY_ID" > /data/myid
exec java -Xmx128m -cp '/usr/share/java/*' org.apache.zookeeper.server.quorum.QuorumPeerMain /tmp/zoo.cfg
