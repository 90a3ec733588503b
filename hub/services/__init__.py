"""What the hub does for people and products, over ports, with time as an argument."""
