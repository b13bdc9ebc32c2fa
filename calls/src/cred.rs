//! User and group ids, groups, capabilities.
