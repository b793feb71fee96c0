//! A unit is removed whole or not at all (A1, A2, A10, A16, A17).
