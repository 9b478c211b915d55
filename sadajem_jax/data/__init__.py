"""Named data sets and people's own files in; uint8 arrays and one spec out."""
