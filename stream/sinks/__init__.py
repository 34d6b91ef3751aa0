"""Where finished pictures go: files, network streams, a page, a window."""
