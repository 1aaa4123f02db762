//! One measurement: `wrk` against one edge, and what the edge's process spent.

use std::path::PathBuf;
use std::process::Command;

use super::edges::Edge;

/// Connections of wrk's one thread.
const CONNECTIONS: u32 = 32;

/// What one measurement came to.
pub struct Measured {
    pub per_second: f64,
    /// Processor time of the Envoy for each request, in microseconds.
    pub cpu_us: f64,
}

/// Requests to send, one after the other, and the status that each must have.
pub struct Load {
    script: PathBuf,
    /// How many there are.
    requests: usize,
    _folder: tempdir::Folder,
}

impl Load {
    pub fn of(tokens: Vec<String>, status: u16) -> Self {
        let lines = tokens.join("\n");
        Load::write(&lines, status)
    }

    pub fn without_token(status: u16) -> Self {
        Load::write("", status)
    }

    /// At most some requests a second, so that edges which differ much in what else they
    /// keep busy are compared at the same rate.
    pub fn paced(mut self, per_second: u32) -> Self {
        let pause_ms = CONNECTIONS * 1_000 / per_second;
        let text = std::fs::read_to_string(&self.script).unwrap();
        let pace = format!("function delay() return {pause_ms} end\n{text}");
        self.script = self.script.with_file_name("paced.lua");
        std::fs::write(&self.script, pace).unwrap();
        self
    }

    fn write(tokens: &str, status: u16) -> Self {
        let folder = tempdir::Folder::new();
        let list = folder.0.join("tokens");
        std::fs::write(&list, tokens).unwrap();
        let script = folder.0.join("load.lua");
        let text = format!(
            r#"
local requests, at, other = {{}}, 0, 0
function init(args)
  for token in io.lines("{list}") do
    local headers = {{ ["user-agent"] = "bench/1", ["accept"] = "*/*", ["x-request-id"] = "00000000-0000-4000-8000-000000000000" }}
    if token ~= "" then headers["authorization"] = "Bearer " .. token end
    requests[#requests + 1] = wrk.format("GET", nil, headers)
  end
  if #requests == 0 then requests[1] = wrk.format("GET") end
  at = tonumber(args[1])
end
function request() at = at + 1; return requests[(at - 1) % #requests + 1] end
local threads = {{}}
function setup(thread) table.insert(threads, thread) end
unexpected = 0
function response(status) if status ~= {status} then unexpected = unexpected + 1 end end
function done(summary)
  local wrong = 0
  for _, thread in ipairs(threads) do wrong = wrong + thread:get("unexpected") end
  local e = summary.errors
  print(string.format("RESULT %d %d %d", summary.requests, summary.duration, wrong + e.connect + e.read + e.write + e.timeout))
end
"#,
            list = list.display()
        );
        std::fs::write(&script, text).unwrap();
        Load {
            script,
            requests: tokens.lines().count(),
            _folder: folder,
        }
    }

    /// Sends for some seconds, beginning at one part of the requests out of some:
    /// those before it are for another measurement, which leaves none known that
    /// has to be new.
    pub fn send(&self, edge: &Edge, path: &str, part: (usize, usize), seconds: u64) -> Measured {
        let first = self.requests * part.0 / part.1;
        let before = edge.cpu_us();
        let output = Command::new("taskset")
            .args([
                "-c",
                edge.clients(),
                "wrk",
                "-t1",
                "-c",
                &CONNECTIONS.to_string(),
            ])
            .args(["-d", &format!("{seconds}s"), "-s"])
            .arg(&self.script)
            .arg(format!("http://{}{path}", edge.address))
            .args(["--", &first.to_string()])
            .output()
            .expect("wrk and taskset");
        let spent = edge.cpu_us() - before;
        let text = String::from_utf8_lossy(&output.stdout);
        let result = text.lines().find_map(|line| line.strip_prefix("RESULT "));
        let result = result
            .unwrap_or_else(|| panic!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr)));
        let numbers: Vec<f64> = result.split(' ').map(|n| n.parse().unwrap()).collect();
        let [requests, micros, wrong] = numbers[..] else {
            panic!("{result}")
        };
        assert!(
            wrong == 0.0,
            "{}{path}: {wrong} of {requests} answers were others than expected",
            edge.name
        );
        Measured {
            per_second: requests * 1e6 / micros,
            cpu_us: spent / requests,
        }
    }
}

mod tempdir {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static COUNT: AtomicUsize = AtomicUsize::new(0);

    /// A folder that goes when it is dropped.
    pub struct Folder(pub PathBuf);

    impl Folder {
        pub fn new() -> Self {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("caracal-bench-{}-{number}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
