"""Programs that `wsjax bench` runs in processes of their own."""
