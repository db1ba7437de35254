"""Networks we breed: forward and spec side by side, one file each."""
