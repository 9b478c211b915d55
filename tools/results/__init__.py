"""`make results`: the demo's numbers and pictures in README.md, RESULTS.md and docs/, made anew."""
