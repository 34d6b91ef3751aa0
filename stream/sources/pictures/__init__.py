"""Pictures as a source of frames: numbered files in a folder, one file of many, FLIR's own files."""
