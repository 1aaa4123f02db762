//! What config.yaml for APISIX says of https services and of the access log, in a real nginx,
//! among the lines that APISIX itself writes into its nginx.conf.

use caracal_tests::processes::{folder, free_address};

use super::gate_in_nginx::{Nginx, nginx_with};
use super::*;

const HOST: &str = "billing.internal";
const KEY: &str = "key-of-the-provider";

/// The lines of the server's snippet that are about TLS.
fn of_tls(snippet: &str) -> String {
    let lines = snippet.lines().map(str::trim);
    let lines: Vec<&str> = lines
        .filter(|line| line.starts_with("proxy_ssl_"))
        .collect();
    lines.join("\n")
}

fn nginx_config() -> Value {
    yaml("apisix/config.yaml")["nginx_config"].clone()
}

fn snippet() -> String {
    let name = "http_server_configuration_snippet";
    nginx_config()[name].as_str().unwrap().to_owned()
}

/// A service with a certificate, and what APISIX makes of config.yaml in front of it. The
/// header `x-host` stands for the host that the filter sets.
struct Edge {
    folder: PathBuf,
    nginx: Nginx,
}

impl Edge {
    /// `trusts` says whether the service's certificate is among the CAs.
    fn start(tls: &str, trusts: bool) -> Self {
        let folder = folder("apisix-nginx");
        let service = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let trusted = if trusts { &service } else { &other };
        for (name, text) in [
            ("service.pem", service.cert.pem()),
            ("service.key", service.signing_key.serialize_pem()),
            ("trusted.pem", trusted.cert.pem()),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        let (address, behind) = (free_address(), free_address());
        let config = nginx_config();
        let format = config["http"]["access_log_format"].as_str().unwrap();
        let whole = format!(
            "daemon off; master_process off; pid pid;
            events {{}}
            http {{
              client_body_temp_path body; proxy_temp_path proxy;
              log_format main escape=default '{format}';
              access_log access.log main;
              upstream apisix_backend {{ server {behind}; }}
              server {{
                listen {behind} ssl; access_log off;
                ssl_certificate service.pem; ssl_certificate_key service.key;
                location / {{ return 200 'the service'; }}
              }}
              server {{
                listen {address};
                proxy_ssl_trusted_certificate trusted.pem;
                {tls}
                proxy_ssl_name $upstream_host;
                proxy_ssl_server_name on;
                location / {{
                  set $upstream_scheme https;
                  set $upstream_host $http_x_host;
                  set $upstream_uri '/v1/x?api_key={KEY}';
                  proxy_set_header Host $upstream_host;
                  proxy_pass $upstream_scheme://apisix_backend$upstream_uri;
                }}
              }}
            }}"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, whole).unwrap();
        let tested = nginx_with(&folder, &file).arg("-t").output().unwrap();
        let said = String::from_utf8_lossy(&tested.stderr).into_owned();
        assert!(tested.status.success(), "{said}");
        let nginx = Nginx::of_file(&folder, &file, address);
        Edge { folder, nginx }
    }

    fn get(&self, host: &str) -> u16 {
        self.nginx.get("/x", &[("x-host", host)])
    }
}

#[test]
fn only_the_service_itself_gets_a_request_over_https() {
    let verifying = Edge::start(&of_tls(&snippet()), true);
    assert_eq!(verifying.get(HOST), 200);
    // The name is compared without the port.
    assert_eq!(verifying.get(&format!("{HOST}:8443")), 200);
    assert_eq!(verifying.get("crm.internal"), 502);
    let stranger = Edge::start(&of_tls(&snippet()), false);
    assert_eq!(stranger.get(HOST), 502);
    // Without these lines nginx sends it to anybody: the test would see it.
    let trusting = Edge::start("", false);
    assert_eq!(trusting.get("crm.internal"), 200);
}

#[test]
fn the_access_log_has_no_key_of_the_query() {
    let edge = Edge::start(&of_tls(&snippet()), true);
    assert_eq!(edge.get(HOST), 200);
    let log = || fs::read_to_string(edge.folder.join("access.log")).unwrap();
    caracal_tests::processes::until("a line", std::time::Duration::from_secs(10), || {
        log().contains('\n')
    });
    let log = log();
    assert!(log.contains(&format!("https://{HOST}")), "{log}");
    assert!(log.contains("GET /x"), "{log}");
    assert!(!log.contains(KEY), "{log}");
}
