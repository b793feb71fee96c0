//! Enforcement and the sweep share one meaning of an accepted tag (A3 to A5, A9, A11).
