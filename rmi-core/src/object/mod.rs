//! Layer 2, state: what a node knows of its objects, whoever holds them.

mod interfaces;
mod lease;
mod table;
mod whereabouts;

pub use interfaces::InterfaceSet;
pub(crate) use interfaces::STREAM;
pub use lease::Leases;
pub use table::ObjectTable;
pub use whereabouts::Whereabouts;
