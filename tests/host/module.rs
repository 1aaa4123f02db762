//! Compiled modules: the engine that all share, compilation, and the caches with which
//! many tests and suites compile a file once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use wasmtime::{CacheStore, Config, Engine};

/// A compiled proxy-wasm module. Cloning is cheap.
#[derive(Clone)]
pub struct Module {
    pub(crate) inner: wasmtime::Module,
}

type Cached = Arc<Mutex<Option<(SystemTime, Module)>>>;

impl Module {
    /// The module in a file, compiled once for each version of the file.
    pub fn from_file(path: impl AsRef<Path>) -> anyhow::Result<Self> {
        static CACHE: OnceLock<Mutex<HashMap<PathBuf, Cached>>> = OnceLock::new();
        let path = path
            .as_ref()
            .canonicalize()
            .map_err(|e| anyhow::anyhow!("{}: {e} (is it built?)", path.as_ref().display()))?;
        let changed = path.metadata()?.modified()?;
        let entry = {
            let cache = CACHE.get_or_init(Mutex::default);
            let mut cache = cache.lock().unwrap_or_else(|e| e.into_inner());
            cache.entry(path.clone()).or_default().clone()
        };
        // Only this file's lock is held while it compiles.
        let mut slot = entry.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((of, module)) = &*slot
            && *of == changed
        {
            return Ok(module.clone());
        }
        let module = Self::kept(&path)?;
        *slot = Some((changed, module.clone()));
        Ok(module)
    }

    /// What another suite has compiled of the same bytes, or what this one compiles.
    fn kept(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path)?;
        let name = path.file_name().unwrap_or_default();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            // Text, of a test that writes it for itself.
            return Self::from_bytes(bytes);
        }
        let folder = crate::root().join("run/compiled");
        let file = folder.join(name);
        let compiled = std::fs::read(&file).unwrap_or_default();
        if let Some(inner) = whole_code(&bytes, &compiled).and_then(code_of_ours) {
            return Ok(Self { inner });
        }
        let module = Self::from_bytes(&bytes)?;
        let code = module.inner.serialize().map_err(anyhow::Error::msg)?;
        // Suites that run beside each other find either all of it or nothing, also on a full
        // disk. Whether it can be kept is of no consequence.
        let part = folder.join(format!("{}.{}", name.display(), std::process::id()));
        let _ = std::fs::create_dir_all(&folder);
        match std::fs::write(&part, to_keep(&bytes, &code)) {
            Ok(()) => drop(std::fs::rename(&part, &file)),
            Err(_) => drop(std::fs::remove_file(&part)),
        }
        Ok(module)
    }

    /// A module from its bytes, or from text in the WAT format.
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> anyhow::Result<Self> {
        let inner = wasmtime::Module::new(engine(), bytes)
            .map_err(|e| anyhow::anyhow!("the module does not compile: {e:#}"))?;
        Ok(Self { inner })
    }

    /// The names of the functions it imports, as `module.name`.
    pub fn imports(&self) -> Vec<String> {
        let imports = self.inner.imports();
        imports
            .map(|i| format!("{}.{}", i.module(), i.name()))
            .collect()
    }
}

/// What is kept of compiled code: what it is of, what it is, and the code.
fn to_keep(wasm: &[u8], code: &[u8]) -> Vec<u8> {
    let digests = [wasm, code].map(Sha256::digest);
    [digests[0].as_slice(), &digests[1], code].concat()
}

/// The code in a file, if it is of these bytes and nothing of it is damaged: it is run as it
/// is.
fn whole_code<'f>(wasm: &[u8], file: &'f [u8]) -> Option<&'f [u8]> {
    let rest = file.strip_prefix(Sha256::digest(wasm).as_slice())?;
    let (digest, code) = rest.split_at_checked(32)?;
    (Sha256::digest(code).as_slice() == digest).then_some(code)
}

/// Code that an engine like ours has made; none if it was another version of the engine, with
/// other settings or for another processor.
#[allow(unsafe_code, reason = "code that is run as it is")]
fn code_of_ours(code: &[u8]) -> Option<wasmtime::Module> {
    // SAFETY: the project's folder holds it, whose test binaries are run as they are too.
    unsafe { wasmtime::Module::deserialize(engine(), code) }.ok()
}

/// The code of single functions: a module that differs from another in its exports alone has
/// the same.
#[derive(Debug, Default)]
struct Functions(Mutex<HashMap<Vec<u8>, Vec<u8>>>);

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        known.get(key).cloned().map(Cow::Owned)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        known.insert(key.to_owned(), value);
        true
    }
}

/// The engine of the process. It counts fuel.
pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.consume_fuel(true);
        let functions = Arc::new(Functions::default());
        let config = config.enable_incremental_compilation(functions);
        let config = config.expect("there is a compiler");
        Engine::new(config).expect("this machine has a code generator")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_taken_only_whole_and_of_the_same_bytes() {
        let kept = to_keep(b"wasm", b"code");
        assert_eq!(whole_code(b"wasm", &kept), Some(&b"code"[..]));
        assert_eq!(whole_code(b"other", &kept), None);
        for end in 0..kept.len() {
            assert_eq!(whole_code(b"wasm", &kept[..end]), None, "cut at {end}");
        }
        for place in 0..kept.len() {
            let mut damaged = kept.clone();
            damaged[place] ^= 1;
            assert_eq!(whole_code(b"wasm", &damaged), None, "changed at {place}");
        }
    }
}
