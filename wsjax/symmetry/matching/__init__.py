"""Weight matching: alignment of networks by linear assignment."""
