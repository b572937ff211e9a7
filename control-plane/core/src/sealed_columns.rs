//! R4: where sealed values are. Whoever adds a column of sealed values adds it here; the verification of a store finds bytes that are in no list.

/// A column of sealed values, and what is bound into them besides the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedColumn {
    /// Its table.
    pub table: &'static str,
    /// Its name.
    pub column: &'static str,
    /// Its name in the associated data.
    pub bound_as: &'static str,
    /// The column whose text is the row's name in the associated data.
    pub row: &'static str,
    /// The column that names the scope whose keys seal it; `None`: the region's.
    pub scope: Option<&'static str>,
    /// Whether its values are never sealed anew: hashes were made over them.
    pub is_final: bool,
}

const fn sealed(
    table: &'static str,
    column: &'static str,
    row: &'static str,
    scope: &'static str,
) -> SealedColumn {
    SealedColumn { table, column, bound_as: column, row, scope: Some(scope), is_final: false }
}

/// All of them.
pub const SEALED_COLUMNS: &[SealedColumn] = &[
    SealedColumn {
        table: "region_secrets",
        column: "sealed",
        bound_as: "value",
        row: "name",
        scope: None,
        is_final: false,
    },
    sealed("organizations", "name", "id", "id"),
    sealed("organizations", "contact_email", "id", "id"),
    sealed("api_keys", "name", "id", "organization_id"),
    sealed("service_accounts", "name", "id", "organization_id"),
    SealedColumn {
        table: "token_keys",
        column: "sealed",
        bound_as: "sealed",
        row: "id",
        scope: None,
        is_final: false,
    },
    sealed("credentials", "name", "id", "organization_id"),
    sealed("credentials", "secret", "id", "organization_id"),
    // Chains are hashed over the sealed bytes.
    SealedColumn { is_final: true, ..sealed("audit_records", "actor", "chain", "chain") },
];

/// Region secrets whose names begin so are certificates, and public.
pub const PUBLIC_SECRETS: &str = "ca_certificate";
