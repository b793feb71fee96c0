//! The field cases of safety: each test repeats one input that made version 1 lose an image or
//! obey a stranger. The letter and number before each test name the case.

mod accepted_tags;
mod pushes;
mod replication;
mod requests;
mod tag_times;
mod units;
