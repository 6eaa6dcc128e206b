pub mod data;
pub mod schedule;
