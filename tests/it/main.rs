//! The integration tests of rmi: whole nodes, whole processes.

mod smoke;
