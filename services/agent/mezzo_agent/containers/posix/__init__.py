"""How plain processes become containers: the launcher, its monitors, the runtime folder between them."""
