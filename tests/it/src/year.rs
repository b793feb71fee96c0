//! A simulated year of a busy registry.

pub mod rates;
