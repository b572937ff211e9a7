//! Pages by key: a token is the last row's key, so that a page costs the same wherever it is, and rows that come or go
//! meanwhile neither shift nor repeat others.

use std::str::FromStr;

use bailiwick_core::{
    ports::store::StoreError,
    records::{Page, PageOf},
};
use bailiwick_domain::jurisdiction::{Jurisdiction, Regional};

const MAX_SIZE: u32 = 1000;

/// The identifier after which the page starts; empty, which sorts before all, for the first.
pub(crate) fn after_id<T: FromStr + Regional>(
    home: &Jurisdiction,
    page: &Page,
) -> Result<String, StoreError> {
    let Some(token) = &page.token else { return Ok(String::new()) };
    let id = token.parse::<T>().map_err(|_| StoreError::PageToken)?;
    home.admit(id).map_err(|_| StoreError::PageToken)?;
    Ok(token.clone())
}

/// The key after which the page starts, of lists that are not by identifier.
pub(crate) fn after<T: FromStr>(page: &Page) -> Result<Option<T>, StoreError> {
    page.token.as_deref().map(str::parse).transpose().map_err(|_| StoreError::PageToken)
}

/// How many rows to read: one more than the page has, to know whether it is the last.
pub(crate) fn limit(page: &Page) -> i64 {
    i64::from(size(page)) + 1
}

/// The page that was read, and where the next one starts.
pub(crate) fn of<T>(mut rows: Vec<T>, page: &Page, key: impl FnOnce(&T) -> String) -> PageOf<T> {
    let size = usize::try_from(size(page)).unwrap_or(usize::MAX);
    let more = rows.len() > size;
    rows.truncate(size);
    let next = rows.last().filter(|_| more).map(key);
    PageOf { rows, next }
}

fn size(page: &Page) -> u32 {
    page.size.clamp(1, MAX_SIZE)
}
