//! Compiled modules: the engine that all share, compilation, and the cache with which
//! many tests compile a file once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use wasmtime::{Config, Engine};

/// A compiled proxy-wasm module. Cloning is cheap.
#[derive(Clone)]
pub struct Module {
    pub(crate) inner: wasmtime::Module,
}

type Cached = Arc<Mutex<Option<(SystemTime, Module)>>>;

impl Module {
    /// The module in a file, compiled once for each process and version of the
    /// file.
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
        let module = Self::from_bytes(&std::fs::read(&path)?)?;
        *slot = Some((changed, module.clone()));
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

/// The engine of the process. It counts fuel.
pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.consume_fuel(true);
        Engine::new(&config).expect("this machine has a code generator")
    })
}
