"""What is read off a node, per layer: the far-side script, and pure parsers from its bytes to facts."""
