//! What `#[remote]` has to accept: a module each, which has a namespace of its own. What it refuses stands in `tests/ui`.

#![allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    unused_qualifications,
    reason = "as users may write it"
)]

mod aliases;
mod attributes;
mod bodies;
mod common_names;
mod conditional_methods;
mod default_bodies;
mod inheritance;
mod local_trait;
mod options;
mod parameters;
mod renamed_crate;
