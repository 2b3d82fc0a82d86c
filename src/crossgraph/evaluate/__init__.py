"""From a score matrix to numbers that a reviewer can trust: outcomes, metrics, intervals, cards."""
