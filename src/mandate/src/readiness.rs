//! Readiness: whether an edge can decide, for load balancers and orchestrators. The answer is
//! public and no decision: nothing goes on because of it.

use crate::reply::Reply;
use crate::request::RequestView;

/// Longest `readiness_path`, in bytes.
pub const MAX_PATH_BYTES: usize = 256;

/// What a decision lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Zones that are accepted.
    pub zones: usize,
    /// Those of them without a key set that can be used.
    pub without_key_set: usize,
    /// The revocation state is missing or too old.
    pub revocations: bool,
    /// Something is in shadow. That makes an edge no less ready.
    pub in_shadow: bool,
}

impl Lacking {
    /// Whether mandates can be judged. One of several zones may lack its key set: its outage
    /// must not take the others' traffic away.
    pub fn is_ready(&self) -> bool {
        self.without_key_set < self.zones && !self.revocations
    }

    /// The answer: 200 or 503. Also to `HEAD`, whose body every proxy leaves out.
    ///
    /// ```json
    /// {"ready":false,"missing":["key_set","revocations"]}
    /// ```
    ///
    /// With `"shadow":true` besides if something is in shadow.
    pub fn reply(&self) -> Reply {
        let is_ready = self.is_ready();
        let missing = [
            ("\"key_set\"", self.without_key_set > 0),
            ("\"revocations\"", self.revocations),
        ];
        let missing: Vec<&str> = missing
            .into_iter()
            .filter_map(|(name, is_missing)| is_missing.then_some(name))
            .collect();
        let ready = if is_ready { "true" } else { "false" };
        let body = [
            "{\"ready\":",
            ready,
            ",\"missing\":[",
            &missing.join(","),
            if self.in_shadow {
                "],\"shadow\":true}"
            } else {
                "]}"
            },
        ];
        Reply {
            status: if is_ready { 200 } else { 503 },
            grpc_status: 0,
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("cache-control", "no-store".to_owned()),
            ],
            body: body.concat().into_bytes(),
        }
    }
}

/// Whether a request asks for it: `GET` or `HEAD`, and exactly this path, without a query.
/// Every other spelling is judged as any other request.
pub fn is_asked(path: &str, request: &RequestView<'_>) -> bool {
    request.target == Some(path.as_bytes()) && matches!(request.method, Some(b"GET" | b"HEAD"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_zones_may_lack_its_keys() {
        for (zones, without_key_set, revocations, status, body) in [
            (1, 0, false, 200, r#"{"ready":true,"missing":[]}"#),
            (1, 1, false, 503, r#"{"ready":false,"missing":["key_set"]}"#),
            (
                1,
                0,
                true,
                503,
                r#"{"ready":false,"missing":["revocations"]}"#,
            ),
            (
                1,
                1,
                true,
                503,
                r#"{"ready":false,"missing":["key_set","revocations"]}"#,
            ),
            (3, 2, false, 200, r#"{"ready":true,"missing":["key_set"]}"#),
            (3, 3, false, 503, r#"{"ready":false,"missing":["key_set"]}"#),
            (0, 0, false, 503, r#"{"ready":false,"missing":[]}"#),
        ] {
            let reply = Lacking {
                zones,
                without_key_set,
                revocations,
                in_shadow: false,
            };
            let in_shadow = Lacking {
                in_shadow: true,
                ..reply
            };
            let reply = reply.reply();
            assert_eq!(reply.status, status, "{body}");
            assert_eq!(std::str::from_utf8(&reply.body), Ok(body));
            let with_shadow = body.replace("]}", r#"],"shadow":true}"#);
            let reply = in_shadow.reply();
            assert_eq!(reply.status, status, "{body}");
            assert_eq!(std::str::from_utf8(&reply.body), Ok(with_shadow.as_str()));
        }
    }

    #[test]
    fn only_the_very_path_is_answered() {
        let of = |method: &'static [u8], target: &'static [u8]| {
            let request = RequestView {
                method: Some(method),
                target: Some(target),
                ..RequestView::default()
            };
            is_asked("/ready", &request)
        };
        assert!(of(b"GET", b"/ready") && of(b"HEAD", b"/ready"));
        for (method, target) in [
            (&b"POST"[..], &b"/ready"[..]),
            (b"get", b"/ready"),
            (b"OPTIONS", b"/ready"),
            (b"GET", b"/ready/"),
            (b"GET", b"/ready?x"),
            (b"GET", b"/Ready"),
            (b"GET", b"//ready"),
            (b"GET", b"/%72eady"),
            (b"GET", b"/ready/../payouts"),
            (b"GET", b"http://host/ready"),
        ] {
            assert!(!of(method, target), "{target:?}");
        }
        assert!(!is_asked("/ready", &RequestView::default()));
    }
}
