//! Processes: making, ending, waiting, groups and sessions, limits, usage.
