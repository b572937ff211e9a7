//! What a core has for its connections to use one after the other, so that one that waits keeps no memory for it.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use super::section::Place;

/// What is read at once.
const READ_BYTES: usize = 64 << 10;

/// Room for messages that is kept: so much for one, and so much in all.
const LARGEST_ROOM: usize = 64 << 10;
const MOST_ROOM: usize = 1 << 20;

/// The same for heads. A call has some for as long as it takes, so it is given no larger one.
const LARGEST_HEAD_ROOM: usize = 8 << 10;
const MOST_HEAD_ROOM: usize = 256 << 10;

/// Lists of where fields stand that are kept, and how many places the longest has.
const MOST_PLACES: usize = 256;
const LONGEST_PLACES: usize = 64;

thread_local! {
    static OF_THIS_CORE: Rc<Stock> = Rc::default();
}

/// Room for a head, where this core has some to spare. Nothing is in it.
pub(super) fn head() -> Vec<u8> {
    OF_THIS_CORE.try_with(|stock| stock.heads.borrow_mut().take()).unwrap_or_default()
}

/// Nothing of what was in it stays. What is dropped when its thread ends is kept for nobody.
pub(super) fn take_head_back(head: Vec<u8>) {
    if head.capacity() > 0 {
        let _is_over = OF_THIS_CORE.try_with(|stock| stock.heads.borrow_mut().take_back(head));
    }
}

/// The same for a list of where its fields stand.
pub(super) fn places() -> Vec<Place> {
    OF_THIS_CORE.try_with(|stock| stock.places.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

/// The same as for heads.
pub(super) fn take_places_back(mut places: Vec<Place>) {
    if (1..=LONGEST_PLACES).contains(&places.capacity()) {
        let _is_over = OF_THIS_CORE.try_with(|stock| {
            let mut kept = stock.places.borrow_mut();
            if kept.len() < MOST_PLACES {
                places.clear();
                kept.push(places);
            }
        });
    }
}

/// One core's: what its callers' connections use, and its own to others.
pub(crate) struct Stock {
    /// `[]` where nothing is read, as on threads beside the cores.
    read: RefCell<Box<[u8]>>,
    rooms: RefCell<Rooms>,
    heads: RefCell<Rooms>,
    places: RefCell<Vec<Vec<Place>>>,
}

/// Rooms of up to a size, and of so many bytes in all.
struct Rooms {
    spare: Vec<Vec<u8>>,
    bytes: usize,
    largest: usize,
    most: usize,
}

impl Rooms {
    fn new(largest: usize, most: usize) -> Self {
        Self { spare: Vec::new(), bytes: 0, largest, most }
    }

    fn take(&mut self) -> Vec<u8> {
        let room = self.spare.pop().unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(room.capacity());
        room
    }

    fn take_back(&mut self, mut room: Vec<u8>) {
        let bytes = room.capacity();
        if (1..=self.largest).contains(&bytes) && self.bytes + bytes <= self.most {
            room.clear();
            self.bytes += bytes;
            self.spare.push(room);
        }
    }
}

impl Default for Stock {
    fn default() -> Self {
        let rooms = RefCell::new(Rooms::new(LARGEST_ROOM, MOST_ROOM));
        let heads = RefCell::new(Rooms::new(LARGEST_HEAD_ROOM, MOST_HEAD_ROOM));
        Self { read: RefCell::default(), rooms, heads, places: RefCell::default() }
    }
}

impl Stock {
    /// That of the core whose thread this is.
    pub(crate) fn of_this_core() -> Rc<Self> {
        OF_THIS_CORE.with(Rc::clone)
    }

    /// What is read into it is taken before anything else is.
    pub(crate) fn to_read_into(&self) -> RefMut<'_, Box<[u8]>> {
        let mut read = self.read.borrow_mut();
        if read.is_empty() {
            *read = vec![0; READ_BYTES].into_boxed_slice();
        }
        read
    }

    /// Room to write a message into.
    pub(crate) fn room(&self) -> Vec<u8> {
        self.rooms.borrow_mut().take()
    }

    /// Nothing of what was in it stays.
    pub(crate) fn take_room_back(&self, room: Vec<u8>) {
        self.rooms.borrow_mut().take_back(room);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::super::HeaderSection;
    use super::*;

    #[test]
    fn no_more_room_is_kept_than_its_bound() {
        let stock = Stock::default();
        let kept = || stock.rooms.borrow().spare.iter().map(Vec::capacity).sum::<usize>();
        stock.take_room_back(Vec::with_capacity(LARGEST_ROOM + 1));
        stock.take_room_back(Vec::new());
        assert!(stock.rooms.borrow().spare.is_empty(), "too large, or none");
        for _ in 0..2 * MOST_ROOM / LARGEST_ROOM {
            stock.take_room_back(Vec::with_capacity(LARGEST_ROOM));
        }
        assert_eq!(kept(), MOST_ROOM);
        // What was taken leaves its place to another.
        let mut taken = stock.room();
        taken.extend_from_slice(b"said");
        assert_eq!(kept(), MOST_ROOM - LARGEST_ROOM);
        stock.take_room_back(taken);
        assert!(kept() == MOST_ROOM && stock.room().is_empty());
    }

    fn section_of(value: usize, fields: usize) -> HeaderSection {
        let value = HeaderValue::try_from("x".repeat(value)).unwrap();
        let mut map = HeaderMap::new();
        for _ in 0..fields {
            map.append(header::AUTHORIZATION, value.clone());
        }
        HeaderSection::from(&map)
    }

    #[test]
    fn what_one_head_said_is_not_in_the_room_for_the_next() {
        drop(section_of(100, 3));
        let (next, next_places) = (head(), places());
        assert!(next.is_empty() && next_places.is_empty());
        assert!(next.capacity() >= 300 && next_places.capacity() >= 3, "the room is used again");
        assert!(head().capacity() == 0 && places().capacity() == 0, "and by one at a time");
    }

    #[test]
    fn no_more_is_kept_for_heads_than_its_bounds() {
        drop(section_of(LARGEST_HEAD_ROOM + 1, 1));
        assert_eq!(head().capacity(), 0, "too large");
        drop(section_of(0, LONGEST_PLACES + 1));
        assert!(places().capacity() <= LONGEST_PLACES, "too long");
        let many: Vec<HeaderSection> = (0..1000).map(|_| section_of(500, 1)).collect();
        drop(many);
        let heads = std::iter::repeat_with(head).map(|head| head.capacity()).take_while(|bytes| *bytes > 0);
        let kept: usize = heads.sum();
        assert!((MOST_HEAD_ROOM - 1024..=MOST_HEAD_ROOM).contains(&kept), "{kept}");
        let lists = std::iter::repeat_with(places).take_while(|places| places.capacity() > 0);
        assert_eq!(lists.count(), MOST_PLACES);
    }
}
