//! What a core has for its connections to use one after the other, so that one that waits keeps no memory for it.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use http::HeaderMap;

/// What is read at once.
const READ_BYTES: usize = 64 << 10;

/// Maps of headers that are kept.
const MOST_MAPS: usize = 64;

/// Room for messages that is kept: so much for one, and so much in all.
const LARGEST_ROOM: usize = 64 << 10;
const MOST_ROOM: usize = 1 << 20;

thread_local! {
    static OF_THIS_CORE: Rc<Stock> = Rc::default();
}

/// A map of headers with room for what most heads have, where this core has one to spare.
pub fn spare_headers() -> HeaderMap {
    OF_THIS_CORE.with(|stock| stock.headers())
}

/// One core's: what its callers' connections use, and its own to others.
pub(crate) struct Stock {
    read: RefCell<Box<[u8]>>,
    maps: RefCell<Vec<HeaderMap>>,
    rooms: RefCell<Rooms>,
}

#[derive(Default)]
struct Rooms {
    spare: Vec<Vec<u8>>,
    /// What they have in all.
    bytes: usize,
}

impl Default for Stock {
    fn default() -> Self {
        let read = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
        Self { read, maps: RefCell::default(), rooms: RefCell::default() }
    }
}

impl Stock {
    /// That of the core whose thread this is.
    pub(crate) fn of_this_core() -> Rc<Self> {
        OF_THIS_CORE.with(Rc::clone)
    }

    /// What is read into it is taken before anything else is.
    pub(crate) fn to_read_into(&self) -> RefMut<'_, Box<[u8]>> {
        self.read.borrow_mut()
    }

    /// A map with room for what most heads have.
    pub(crate) fn headers(&self) -> HeaderMap {
        self.maps.borrow_mut().pop().unwrap_or_default()
    }

    /// Nothing of what was in it stays.
    pub(crate) fn take_back(&self, mut headers: HeaderMap) {
        let mut maps = self.maps.borrow_mut();
        if maps.len() < MOST_MAPS {
            headers.clear();
            maps.push(headers);
        }
    }

    /// Room to write a message into.
    pub(crate) fn room(&self) -> Vec<u8> {
        let mut rooms = self.rooms.borrow_mut();
        let room = rooms.spare.pop().unwrap_or_default();
        rooms.bytes = rooms.bytes.saturating_sub(room.capacity());
        room
    }

    /// Nothing of what was in it stays.
    pub(crate) fn take_room_back(&self, mut room: Vec<u8>) {
        let mut rooms = self.rooms.borrow_mut();
        let bytes = room.capacity();
        if (1..=LARGEST_ROOM).contains(&bytes) && rooms.bytes + bytes <= MOST_ROOM {
            room.clear();
            rooms.bytes += bytes;
            rooms.spare.push(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

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

    #[test]
    fn what_one_head_said_is_not_in_the_room_for_the_next() {
        let mut headers = HeaderMap::with_capacity(24);
        let key = HeaderValue::from_static("Bearer one-tenant");
        headers.append(header::AUTHORIZATION, key.clone());
        headers.append(header::AUTHORIZATION, key);
        Stock::of_this_core().take_back(headers);
        let next = spare_headers();
        assert!(next.is_empty() && next.get_all(header::AUTHORIZATION).iter().next().is_none());
        assert!(next.capacity() >= 24, "the room is used again");
        assert_eq!(spare_headers().capacity(), 0, "and by one at a time");
    }
}
