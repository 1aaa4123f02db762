//! The queue's folder: its lock, its segments, and what was set aside.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

const SEGMENT: &str = "audit";
const CORRUPT: &str = "corrupt";

/// The folder, as long as this process has it for itself.
pub(super) struct Folder {
    path: PathBuf,
    /// The lock ends with the file, however the process ends.
    _lock: File,
}

/// What is in the folder.
#[derive(Default)]
pub(super) struct Contents {
    /// Numbers of the segments, the oldest first.
    pub(super) segments: Vec<u64>,
    /// The largest number of what was set aside, and the bytes of all of it.
    pub(super) corrupt: (u64, u64),
}

impl Folder {
    /// Takes the folder for this process, and makes it if it is missing.
    ///
    /// # Errors
    /// Another process has it, others can write into it, or it cannot be used.
    pub(super) fn take(path: &Path) -> Result<Self> {
        let name = path.display();
        if !path.exists() {
            make(path).with_context(|| format!("cannot make {name}"))?;
        }
        let mode = fs::metadata(path)
            .with_context(|| format!("cannot read {name}"))?
            .mode();
        let shown = mode & 0o777;
        ensure!(
            mode & 0o022 == 0,
            "others can write into {name} (mode {shown:o}), so they could take audit events away: chmod 700 {name}, or name a new folder in it, which is then made so"
        );
        if mode & 0o077 != 0 {
            tracing::warn!(folder = %name, mode = format!("{shown:o}"), "others can look into the folder of audit events: chmod 700");
        }
        let lock = private()
            .create(true)
            .truncate(false)
            .open(path.join("lock"));
        let lock = lock.with_context(|| format!("cannot write in {name}"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("{name} is another companion's: each needs a folder of its own")
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {name}"));
            }
        }
        Ok(Folder {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(super) fn contents(&self) -> io::Result<Contents> {
        let mut contents = Contents::default();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((number, kind)) = name.to_str().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            if kind == SEGMENT {
                contents.segments.push(number);
            } else if kind == CORRUPT {
                let (most, bytes) = &mut contents.corrupt;
                *most = (*most).max(number);
                *bytes = bytes.saturating_add(entry.metadata()?.len());
            }
        }
        contents.segments.sort_unstable();
        Ok(contents)
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}.{SEGMENT}"))
    }

    pub(super) fn open(&self, number: u64) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.segment(number))
    }

    /// A new segment, which is still there after a power cut.
    pub(super) fn create(&self, number: u64) -> io::Result<File> {
        let file = private().create_new(true).open(self.segment(number))?;
        if let Err(error) = self.sync() {
            let _ = self.remove(number);
            return Err(error);
        }
        Ok(file)
    }

    pub(super) fn remove(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.segment(number))
    }

    /// Keeps a damaged segment for whoever looks into it; returns its bytes and its name.
    pub(super) fn set_aside(&self, number: u64) -> io::Result<(u64, String)> {
        let name = format!("{number:020}.{CORRUPT}");
        let bytes = fs::metadata(self.segment(number))?.len();
        fs::rename(self.segment(number), self.path.join(&name))?;
        self.sync()?;
        Ok((bytes, name))
    }

    /// A small file, or `None` if there is none.
    pub(super) fn read(&self, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(file) if file.len() > most => Ok(Some(Vec::new())),
            Ok(_) => fs::read(path).map(Some),
        }
    }

    /// Writes a small file whole, or not at all.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let partial = self.path.join(format!("{name}.partial"));
        let mut file = private().create(true).truncate(true).open(&partial)?;
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        fs::rename(partial, self.path.join(name))?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Makes a folder, which is still there after a power cut, with those above it.
fn make(path: &Path) -> io::Result<()> {
    let named = |path: &&Path| !path.as_os_str().is_empty();
    let above = path.ancestors().filter(named);
    let missing: Vec<&Path> = above.take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for made in missing {
        let parent = made.parent().filter(named).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// A file that nobody else can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}
