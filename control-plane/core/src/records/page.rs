//! Pages of lists.

/// Which page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// 1 to 1000.
    pub size: u32,
    /// From the previous answer.
    pub token: Option<String>,
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOf<T> {
    /// Its rows.
    pub rows: Vec<T>,
    /// `None`: this was the last.
    pub next: Option<String>,
}
