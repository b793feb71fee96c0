//! Lists of images, units and groups, each with an index type of its own: the index of a unit
//! cannot be used for an image.
//!
//! An index that is out of range panics. The panic stops the run for this repository, and the
//! function answers with an error. A skipped image or an invented reason would be worse.

#![expect(clippy::indexing_slicing, reason = "an index that is out of range must stop the run")]

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use self::sealed::ArenaIndex;

/// Only this module makes an index, so that each index comes from an arena.
mod sealed {
    pub trait ArenaIndex: Copy {
        fn from_position(position: usize) -> Self;
        fn position(self) -> usize;
    }
}

macro_rules! indices {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(usize);

        impl ArenaIndex for $name {
            fn from_position(position: usize) -> Self {
                Self(position)
            }

            fn position(self) -> usize {
                self.0
            }
        }
    )*};
}

indices!(
    /// The index of an image in [`crate::graph::Inventory::images`].
    ImageId
    /// The index of a unit in [`crate::graph::Graph::units`] and [`crate::retention::RetentionPlan::units`].
    UnitId
    /// The index of a group of units that are counted together.
    GroupId
);

/// A list that only its own index type can index. Arenas that are made from each other with
/// [`Arena::map`] have the same indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arena<Id, T> {
    items: Vec<T>,
    id: PhantomData<Id>,
}

impl<Id: ArenaIndex, T> Arena<Id, T> {
    /// The number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds an item at the end, and returns its index.
    pub fn push(&mut self, item: T) -> Id {
        self.items.push(item);
        Id::from_position(self.items.len() - 1)
    }

    /// The index of each item, in order.
    pub fn ids(&self) -> impl Iterator<Item = Id> + use<Id, T> {
        (0..self.items.len()).map(Id::from_position)
    }

    /// The items, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }

    /// The items with their indices, in order.
    pub fn enumerate(&self) -> impl Iterator<Item = (Id, &T)> {
        self.ids().zip(&self.items)
    }

    /// The index of the first item that matches.
    pub fn position(&self, is_match: impl FnMut(&T) -> bool) -> Option<Id> {
        self.items.iter().position(is_match).map(Id::from_position)
    }

    /// An arena with the same indices.
    pub fn map<'a, U>(&'a self, make: impl FnMut(&'a T) -> U) -> Arena<Id, U> {
        self.items.iter().map(make).collect()
    }
}

impl<Id: ArenaIndex, T> Index<Id> for Arena<Id, T> {
    type Output = T;

    #[track_caller]
    fn index(&self, id: Id) -> &T {
        &self.items[id.position()]
    }
}

impl<Id: ArenaIndex, T> IndexMut<Id> for Arena<Id, T> {
    #[track_caller]
    fn index_mut(&mut self, id: Id) -> &mut T {
        &mut self.items[id.position()]
    }
}

impl<Id, T> Default for Arena<Id, T> {
    fn default() -> Self {
        Self::from_iter([])
    }
}

impl<Id, T> FromIterator<T> for Arena<Id, T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self { items: items.into_iter().collect(), id: PhantomData }
    }
}

impl<Id, T> IntoIterator for Arena<Id, T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a, Id, T> IntoIterator for &'a Arena<Id, T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters() -> Arena<ImageId, char> {
        "abc".chars().collect()
    }

    #[test]
    fn each_item_has_the_index_that_push_returned() {
        let mut letters = Arena::<ImageId, char>::default();
        assert!(letters.is_empty());
        let ids = ['a', 'b', 'c'].map(|letter| letters.push(letter));
        assert_eq!(letters.ids().collect::<Vec<_>>(), ids);
        assert_eq!(ids.map(|id| letters[id]), ['a', 'b', 'c']);
        assert_eq!(letters.len(), 3);
    }

    #[test]
    fn items_are_found_and_listed_with_their_indices() {
        let letters = letters();
        let b = letters.position(|letter| *letter == 'b').unwrap();
        assert_eq!(letters[b], 'b');
        assert_eq!(letters.position(|letter| *letter == 'd'), None);
        assert!(letters.enumerate().all(|(id, letter)| letters[id] == *letter));
        assert!(letters.iter().eq(&['a', 'b', 'c']));
    }

    #[test]
    fn a_mapped_arena_has_the_same_indices() {
        let letters = letters();
        let mut is_marked = letters.map(|letter| *letter == 'a');
        let last = letters.ids().last().unwrap();
        is_marked[last] = true;
        assert!(is_marked.into_iter().eq([true, false, true]));
    }

    #[test]
    #[should_panic(expected = "index out of bounds: the len is 2 but the index is 2")]
    fn reading_with_an_index_that_is_out_of_range_panics() {
        let last = letters().ids().last().unwrap();
        let shorter: Arena<ImageId, char> = "ab".chars().collect();
        let _ = shorter[last];
    }

    #[test]
    #[should_panic(expected = "index out of bounds: the len is 2 but the index is 2")]
    fn writing_with_an_index_that_is_out_of_range_panics() {
        let last = letters().ids().last().unwrap();
        let mut shorter: Arena<ImageId, char> = "ab".chars().collect();
        shorter[last] = 'c';
    }
}
