//! Gives an Envoy its own wall clock, with a preloaded library.

use super::*;

/// A wall clock for the programs that are started with it.
pub struct Clock {
    pub(super) file: PathBuf,
}

impl Default for Clock {
    fn default() -> Self {
        let file = crate::processes::folder("clock").join("offset");
        let clock = Clock { file };
        clock.set(0);
        clock
    }
}

impl Clock {
    /// Sets the clock off by this many seconds, for every program at once.
    pub fn set(&self, seconds: i64) {
        // Written in place, because the programs have the file mapped.
        let mut options = fs::File::options();
        let mut file = options
            .create(true)
            .write(true)
            .truncate(false)
            .open(&self.file)
            .unwrap();
        file.write_all(&seconds.to_ne_bytes()).unwrap();
    }

    /// The environment with which a program uses this clock.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("LD_PRELOAD", clock_shim()),
            ("CARACAL_CLOCK_FILE", self.file.clone()),
        ]
    }
}

/// Builds the library that sets the wall clock, once.
pub fn clock_shim() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT.get_or_init(build_clock_shim).clone()
}

fn build_clock_shim() -> PathBuf {
    let library = std::env::temp_dir().join(format!("caracal-clock-{}.so", std::process::id()));
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(crate::root().join("tests/envoy/clock_shim.c"))
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "the C compiler `cc` is missing or failed on tests/envoy/clock_shim.c"
    );
    library
}
