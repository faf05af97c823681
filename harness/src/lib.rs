//! What the programs that measure rmi share: the processes of a run, what the system knows of them, and tables.

mod process;
mod system;
mod table;

pub use self::{
    process::{Process, say},
    system::{allow_files, forget_peak, open_files, peak, resident},
    table::{Table, grouped, number},
};
