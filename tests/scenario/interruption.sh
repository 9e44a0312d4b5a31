#!/usr/bin/env bash
# Computations stopped at random instants, INTERRUPTIONS (60) times in all, each time continued in a
# fresh process.
exec "$(dirname "$ATOLL")/tests/scenario/interruption" "${INTERRUPTIONS:-60}"
