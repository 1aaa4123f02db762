//! Secrets and addresses from the environment: `NAME` itself, or the file that
//! `NAME_FILE` names. They are not in options, because a process list shows arguments. No
//! message shows their values.

use anyhow::{Context as _, Result, bail, ensure};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The value of a variable or of its file; `None` if neither is set.
///
/// # Errors Both are set, one is empty, or the file cannot be read. Continuing without
/// the value would be less secure than the operator thinks.
pub(crate) fn secret(name: &str) -> Result<Option<String>> {
    let in_file = format!("{name}_FILE");
    let value = match (read(name)?, read(&in_file)?) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => bail!("both {name} and {in_file} are set: unset one"),
        (Some(value), None) => value,
        (None, Some(path)) => {
            let size = std::fs::metadata(&path).map(|file| file.len());
            let size = size.with_context(|| format!("{in_file}: cannot read {path}"))?;
            ensure!(
                size <= MAX_FILE,
                "{in_file}: {path} is over {MAX_FILE} bytes"
            );
            std::fs::read_to_string(&path)
                .with_context(|| format!("{in_file}: cannot read {path}"))?
        }
    };
    let value = value.trim_end_matches(['\r', '\n']).to_owned();
    ensure!(
        !value.trim().is_empty(),
        "{name} is set and empty: give it a value, or unset it"
    );
    Ok(Some(value))
}

fn read(name: &str) -> Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => bail!("{name} is not UTF-8"),
    }
}
