"""Where frames come from: files, folders, network streams, cameras."""
