//! The edge: text of a request becomes domain values here, every violation is collected, and every identifier is admitted (R2).

use std::{fmt::Display, str::FromStr};

use bailiwick_core::{
    caller::Caller,
    error::{UseCaseError, Violation},
    idempotency::IdempotencyKey,
    records::{Page, Revision},
};
use bailiwick_domain::{
    address::AllowedRanges,
    guard::Guard,
    jurisdiction::{ForeignRegion, Local, Regional},
    time::Timestamp,
};
use bailiwick_proto::{admin::v1 as wire, status::Refusal};
use tonic::{Request, Response, Status};

use super::Admin;
use crate::{guard, status};

const DEFAULT_PAGE: u32 = 100;
const LARGEST_PAGE: i32 = 1000;

/// A request on its way to its use case.
pub(super) struct Edge<'a> {
    admin: &'a Admin,
    pub(super) caller: Caller,
    violations: Vec<Violation>,
    foreign: Option<(ForeignRegion, String)>,
}

impl Admin {
    /// Takes the caller whom the guard has verified. Without one there is no way on.
    pub(super) fn edge<T>(&self, request: Request<T>) -> Result<(Edge<'_>, T), Status> {
        let caller = request.extensions().get::<Caller>().cloned().ok_or_else(guard::no_certificate)?;
        Ok((Edge { admin: self, caller, violations: Vec::new(), foreign: None }, request.into_inner()))
    }

    pub(super) fn answer<T>(&self, result: Result<T, UseCaseError>) -> Result<Response<T>, Status> {
        result
            .map(Response::new)
            .map_err(|error| status::refusal(error, &self.control_plane.parts.regions).into())
    }
}

impl Edge<'_> {
    /// A field that parses.
    pub(super) fn parse<T>(&mut self, field: &str, text: &str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        text.parse().map_err(|error: T::Err| self.violation(field, error.to_string())).ok()
    }

    /// A field that parses, or is empty.
    pub(super) fn parse_optional<T>(&mut self, field: &str, text: &str) -> Option<Option<T>>
    where
        T: FromStr<Err: Display>,
    {
        if text.is_empty() { Some(None) } else { self.parse(field, text).map(Some) }
    }

    /// An identifier of this region.
    pub(super) fn id<T>(&mut self, field: &str, text: &str) -> Option<Local<T>>
    where
        T: FromStr<Err: Display> + Regional,
    {
        let id: T = self.parse(field, text)?;
        match self.admin.control_plane.parts.jurisdiction.admit_at(Guard::AdminIdentifiers, id) {
            Ok(local) => Some(local),
            Err(foreign) => {
                self.foreign.get_or_insert((foreign, text.to_owned()));
                None
            }
        }
    }

    /// Several fields of the same kind, at most `most`.
    pub(super) fn all<T>(
        &mut self,
        field: &str,
        texts: &[String],
        most: usize,
        one: impl Fn(&mut Self, &str, &str) -> Option<T>,
    ) -> Option<Vec<T>> {
        if texts.len() > most {
            self.violation(field, format!("has {} entries; at most {most}", texts.len()));
            return None;
        }
        // Every entry is looked at, so that every violation is told.
        let values: Vec<Option<T>> =
            texts.iter().enumerate().map(|(i, text)| one(self, &format!("{field}[{i}]"), text)).collect();
        values.into_iter().collect()
    }

    /// From where calls are taken.
    pub(super) fn allowed_ranges(&mut self, field: &str, texts: &[String]) -> Option<AllowedRanges> {
        let parse = |edge: &mut Self, field: &str, text: &str| edge.parse(field, text);
        let ranges = self.all(field, texts, AllowedRanges::MOST, parse)?;
        AllowedRanges::new(ranges).map_err(|error| self.violation(field, error.to_string())).ok()
    }

    pub(super) fn idempotency_key(&mut self, text: &str) -> Option<IdempotencyKey> {
        self.parse("idempotency_key", text)
    }

    pub(super) fn page(&mut self, page: Option<wire::PageRequest>) -> Option<Page> {
        let page = page.unwrap_or_default();
        if !(0..=LARGEST_PAGE).contains(&page.page_size) {
            self.violation("page.page_size", "is 0 to 1000".to_owned());
            return None;
        }
        let size = u32::try_from(page.page_size).ok().filter(|size| *size > 0).unwrap_or(DEFAULT_PAGE);
        Some(Page { size, token: Some(page.page_token).filter(|token| !token.is_empty()) })
    }

    /// A time that may be absent (0), and is not negative.
    pub(super) fn time(&mut self, field: &str, micros: i64) -> Option<Option<Timestamp>> {
        if micros < 0 {
            self.violation(field, "is negative".to_owned());
            return None;
        }
        Some(Some(micros).filter(|micros| *micros > 0).map(Timestamp::from_micros))
    }

    /// What else breaks rules.
    pub(super) fn violations(&mut self, broken: Vec<Violation>) {
        self.violations.extend(broken);
    }

    pub(super) fn violation(&mut self, field: &str, description: String) {
        self.violations.push(Violation { field: field.to_owned(), description });
    }

    /// The request's values, if all of them were good. A foreign identifier goes before everything else, and is recorded.
    pub(super) async fn checked<T>(&mut self, values: Option<T>) -> Result<T, Status> {
        let control_plane = &self.admin.control_plane;
        if let Some((foreign, text)) = self.foreign.take() {
            control_plane.note_foreign(&self.caller.actor().to_string(), &text).await;
            return Err(Refusal::wrong_region(&foreign, &control_plane.parts.regions).into());
        }
        let violations = std::mem::take(&mut self.violations);
        match values {
            Some(values) if violations.is_empty() => Ok(values),
            _ => Err(status::refusal(UseCaseError::Invalid(violations), &control_plane.parts.regions).into()),
        }
    }
}

pub(super) fn change(revision: Revision) -> Option<wire::Change> {
    Some(wire::Change { revision: revision.0 })
}

pub(super) fn next_page(token: Option<String>) -> Option<wire::PageResponse> {
    Some(wire::PageResponse { next_page_token: token.unwrap_or_default() })
}

pub(super) fn micros(time: Option<Timestamp>) -> i64 {
    time.map_or(0, Timestamp::as_micros)
}
