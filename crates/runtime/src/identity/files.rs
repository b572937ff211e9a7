//! The three files of an identity: `ca.pem`, `cert.pem`, and `key.pem` with mode 0600.
//!
//! A replacement is all or nothing, also when the process dies in the middle: the new files are written to a folder, which gets the
//! name `pending` when it is complete and on disk, and are then moved over the old ones one by one. Whoever finds a `pending`
//! folder finishes the move.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::material::{IdentityError, Material};

const ROOT: &str = "ca.pem";
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";
const NAMES: [&str; 3] = [ROOT, CERTIFICATE, KEY];
const PENDING: &str = "pending";
const UNFINISHED: &str = "unfinished";

pub(super) fn exist(directory: &Path) -> bool {
    directory.join(PENDING).exists() || NAMES.iter().all(|name| directory.join(name).exists())
}

pub(super) fn read(directory: &Path) -> Result<Material, IdentityError> {
    finish_pending(directory)?;
    let text = |name: &str| {
        let path = directory.join(name);
        fs::read_to_string(&path).map_err(failed("read", &path))
    };
    refuse_permissive(&directory.join(KEY))?;
    let key = Zeroizing::new(text(KEY)?);
    Ok(Material { root_pem: text(ROOT)?, certificate_pem: text(CERTIFICATE)?, key_pem: key.as_str().into() })
}

/// Others may not touch the key. A group may read it: mounted secrets come so.
pub(super) fn refuse_permissive(key: &Path) -> Result<(), IdentityError> {
    let mode = fs::metadata(key).map_err(failed("read", key))?.permissions().mode() & 0o777;
    if mode & 0o037 == 0 { Ok(()) } else { Err(IdentityError::Permissive { path: key.to_owned(), mode }) }
}

pub(super) fn write(directory: &Path, material: &Material) -> Result<(), IdentityError> {
    create_private(directory)?;
    finish_pending(directory)?;

    let unfinished = directory.join(UNFINISHED);
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(failed("remove", &unfinished))?;
    }
    create_private(&unfinished)?;
    write_file(&unfinished.join(ROOT), &material.root_pem, 0o644)?;
    write_file(&unfinished.join(CERTIFICATE), &material.certificate_pem, 0o644)?;
    write_file(&unfinished.join(KEY), material.key_pem.expose_secret(), 0o600)?;
    sync(&unfinished)?;

    let pending = directory.join(PENDING);
    fs::rename(&unfinished, &pending).map_err(failed("rename", &unfinished))?;
    sync(directory)?;
    finish_pending(directory)
}

/// From here on nothing is lost: the folder is complete, and a crash leaves it (or what was not moved yet) for the next reader.
fn finish_pending(directory: &Path) -> Result<(), IdentityError> {
    let pending = directory.join(PENDING);
    if !pending.exists() {
        return Ok(());
    }
    for name in NAMES {
        let from = pending.join(name);
        match fs::rename(&from, directory.join(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // moved before
            Err(error) => return Err(failed("rename", &from)(error)),
        }
    }
    sync(directory)?;
    match fs::remove_dir_all(&pending) {
        // Another process has finished it meanwhile: both have moved the same files to the same places.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(failed("remove", &pending)),
    }
}

/// Deletes the key first: without it the rest is worth nothing.
pub(super) fn remove(directory: &Path) -> Result<(), IdentityError> {
    finish_pending(directory)?;
    for name in [KEY, CERTIFICATE, ROOT] {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("remove", &path)(error)),
        }
    }
    sync(directory)
}

/// When the files last changed, as far as it can be told.
pub(super) fn changed_at(directory: &Path) -> [Option<SystemTime>; 3] {
    NAMES.map(|name| fs::metadata(directory.join(name)).and_then(|file| file.modified()).ok())
}

fn create_private(directory: &Path) -> Result<(), IdentityError> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed("create", directory))
}

fn write_file(path: &Path, text: &str, mode: u32) -> Result<(), IdentityError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(failed("write", path))
}

fn sync(directory: &Path) -> Result<(), IdentityError> {
    File::open(directory).and_then(|folder| folder.sync_all()).map_err(failed("sync", directory))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |source| IdentityError::File { action, path, source }
}
