"""Where the registry meets the world: gRPC, SQLite, ZooKeeper. Nothing here decides anything."""
