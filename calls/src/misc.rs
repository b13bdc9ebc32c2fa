//! Names, figures and switches of the system.
