#!/bin/sh
# As ZooKeeper's own, which in Debian reads its configuration elsewhere.
[ "$1" = start-foreground ] || exit 2
exec java "-Xmx${ZK_SERVER_HEAP}m" -XX:TieredStopAtLevel=1 -cp "$ZOOCFGDIR:/usr/share/java/*" \
    org.apache.zookeeper.server.quorum.QuorumPeerMain "$ZOOCFGDIR/zoo.cfg"
