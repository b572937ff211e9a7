//! `bailiwick context`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::{
    contexts::{Context, Contexts, Entry, LocalInstallation, Selection},
    environment::Environment,
    failure::Failure,
    input::unreadable,
    output::{Output, Record, Value},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Lists the contexts; the one in use is marked
    List,
    /// Uses a context from now on
    Use { name: String },
    /// Adds a context, or replaces one of the same name
    Add(AddArguments),
    /// Forgets a context; its identity's files stay
    Remove { name: String },
    /// Adds a context for each region that a local installation's description (local.json) names
    Import { file: PathBuf },
}

#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    name: String,
    /// Address of the control plane's admin API
    #[arg(long, value_name = "HOST:PORT")]
    admin: String,
    /// Name of the installation, as in its certificates; the region's name is given with --region
    #[arg(long, value_name = "NAME")]
    installation: String,
    /// Directory of ca.pem, cert.pem and key.pem
    #[arg(long, value_name = "DIRECTORY")]
    identity: PathBuf,
    /// Base URL for applications, for `bailiwick check`
    #[arg(long, value_name = "URL")]
    router: Option<String>,
    /// host:port where workers and routers call the control plane; needed by `verify isolation` alone
    #[arg(long)]
    processes: Option<String>,
    /// host:port where newcomers enroll; needed by `verify isolation` alone
    #[arg(long)]
    enrollment: Option<String>,
    /// host:port where callers with bearer tokens are served
    #[arg(long, value_name = "HOST:PORT")]
    tokens: Option<String>,
    /// File of a service account's secret: ask as that account, over --tokens. Of the identity's files, only ca.pem is read then
    #[arg(long, value_name = "FILE", requires = "tokens")]
    service_account: Option<PathBuf>,
}

impl ContextCommand {
    pub(crate) fn run(
        self,
        selection: &Selection,
        environment: &Environment,
        output: &Output,
    ) -> Result<(), Failure> {
        let file = environment.contexts_file().ok_or_else(|| {
            Failure::usage("neither HOME nor BAILIWICK_CONFIG is set: where are contexts kept?")
        })?;
        let mut contexts = Contexts::read(&file)?.unwrap_or_default();
        match self {
            Self::List => {
                list(&contexts, selection, environment, output);
                return Ok(());
            }
            Self::Use { name } => {
                known(&contexts, &name)?;
                contexts.current = Some(name);
            }
            Self::Add(arguments) => {
                let (name, entry) = arguments.entry(selection)?;
                contexts.contexts.insert(name, entry);
            }
            Self::Remove { name } => {
                known(&contexts, &name)?;
                contexts.contexts.remove(&name);
                contexts.current = contexts.current.filter(|current| *current != name);
            }
            Self::Import { file: description } => {
                let found = LocalInstallation::read(&description)?
                    .ok_or_else(|| Failure::not_found(format!("there is no {}", description.display())))?
                    .contexts();
                for (name, mut entry) in found {
                    entry.identity = absolute(&entry.identity)?;
                    contexts.contexts.insert(name, entry);
                }
            }
        }
        contexts.write(&file)?;
        list(&contexts, selection, environment, output);
        Ok(())
    }
}

impl AddArguments {
    fn entry(self, selection: &Selection) -> Result<(String, Entry), Failure> {
        let region = selection
            .region
            .clone()
            .ok_or_else(|| Failure::usage("which region answers there?").hint("add --region NAME"))?;
        let entry = Entry {
            admin: self.admin,
            region,
            installation: self.installation,
            identity: absolute(&self.identity)?,
            router: self.router,
            processes: self.processes,
            enrollment: self.enrollment,
            tokens: self.tokens,
            service_account: self.service_account.as_deref().map(absolute).transpose()?,
        };
        Ok((self.name, entry))
    }
}

fn known(contexts: &Contexts, name: &str) -> Result<(), Failure> {
    if contexts.contexts.contains_key(name) {
        return Ok(());
    }
    Err(Failure::not_found(format!("there is no context {name:?}")).hint("bailiwick context list"))
}

/// The file must serve from every directory.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| unreadable(path, &error))
}

/// Where there is no file yet: those of the local installation, which are used instead.
fn list(contexts: &Contexts, selection: &Selection, environment: &Environment, output: &Output) {
    let local = || LocalInstallation::read(&environment.local_file()).ok().flatten();
    let entries = match contexts.contexts.is_empty() {
        true => local().map(|local| local.contexts()).unwrap_or_default(),
        false => contexts.contexts.clone(),
    };
    let used = Context::resolve(selection, environment).ok().map(|context| context.name);
    let record = |(name, entry): (&String, &Entry)| {
        Record::default()
            .text("name", name)
            .with("used", Value::Flag(used.as_ref() == Some(name)))
            .text("region", &entry.region)
            .text("installation", &entry.installation)
            .text("admin", &entry.admin)
            .text("identity", entry.identity.display().to_string())
            .text("router", entry.router.clone().unwrap_or_default())
    };
    output.list(&entries.iter().map(record).collect::<Vec<_>>());
}
