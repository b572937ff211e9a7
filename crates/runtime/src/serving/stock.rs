//! What a core has for its connections to use one after the other, so that one that waits keeps no memory for it.

use std::cell::{RefCell, RefMut};

use http::HeaderMap;

/// What is read at once.
const READ_BYTES: usize = 64 << 10;

/// Maps of headers that are kept.
const MOST_MAPS: usize = 64;

/// Room for answers that is kept.
const LARGEST_ROOM: usize = 64 << 10;

/// One core's.
pub(super) struct Stock {
    read: RefCell<Box<[u8]>>,
    maps: RefCell<Vec<HeaderMap>>,
    room: RefCell<Vec<u8>>,
}

impl Default for Stock {
    fn default() -> Self {
        let read = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
        Self { read, maps: RefCell::default(), room: RefCell::default() }
    }
}

impl Stock {
    /// What is read into it is taken before anything else is.
    pub(super) fn to_read_into(&self) -> RefMut<'_, Box<[u8]>> {
        self.read.borrow_mut()
    }

    /// A map with room for what most heads have.
    pub(super) fn headers(&self) -> HeaderMap {
        self.maps.borrow_mut().pop().unwrap_or_default()
    }

    /// Nothing of what was in it stays.
    pub(super) fn take_back(&self, mut headers: HeaderMap) {
        let mut maps = self.maps.borrow_mut();
        if maps.len() < MOST_MAPS {
            headers.clear();
            maps.push(headers);
        }
    }

    /// Room to write an answer into.
    pub(super) fn room(&self) -> Vec<u8> {
        self.room.take()
    }

    /// Nothing of what was in it stays.
    pub(super) fn take_room_back(&self, mut room: Vec<u8>) {
        if (1..=LARGEST_ROOM).contains(&room.capacity()) {
            room.clear();
            self.room.replace(room);
        }
    }
}
