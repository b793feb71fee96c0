//! A request is verified before it is believed (A6 to A8, A13 to A15).
