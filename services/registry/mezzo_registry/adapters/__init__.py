"""Where the registry meets the world: SQLite, ZooKeeper, a file. Nothing here decides anything."""
