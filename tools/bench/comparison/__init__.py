"""What tools/bench/compare is made of; README.md of tools/bench gives the reading order."""
