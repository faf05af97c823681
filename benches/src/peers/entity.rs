//! The small struct of which a thousand travel.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entity {
    pub(crate) id: u64,
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) name: String,
}

/// So many different ones.
pub(crate) fn entities(count: i32) -> impl Iterator<Item = Entity> {
    (0..count).map(|number| Entity {
        id: u64::from(number.unsigned_abs()),
        x: number * 3,
        y: -number,
        name: format!("name{}", 1000 + number),
    })
}
