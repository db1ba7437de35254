"""Reports as data, and their HTML, terminal and plot renderers."""
