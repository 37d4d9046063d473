//! The ways to the plugin: directly, through others' proxies, through ours.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use om_system_tests::{Bed, Program, SOON, wait_until};

use super::backend;

/// One way.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) socket: PathBuf,
    /// What stands between; `None`: nothing.
    pub(crate) proxy: Option<Arc<Program>>,
}

/// The leader's name.
pub(crate) const LEADER: &str = "m";

/// Starts all of them; the manager leads when this returns.
pub(crate) fn start(bed: &Bed) -> Vec<Way> {
    let plugins = bed.plugins().display().to_string();
    let plugin = bed.start(backend::NAME, bed.command("om-bench", &["backend", &plugins]));
    bed.wait_serving(&plugin);
    let to = bed.socket(backend::NAME);
    let mut ways = vec![Way { name: "direct", socket: to.clone(), proxy: None }];
    let mut add = |name, program: Arc<Program>, socket: PathBuf| {
        wait_until(&format!("{name} to serve"), SOON, || {
            assert!(program.is_alive(), "{name} ended:\n{}", program.log_tail());
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        ways.push(Way { name, socket, proxy: Some(program) });
    };

    let socket = bed.path("splice.sock");
    let mut splice = bed.command("om-bench", &["splice"]);
    splice.args([&socket, &to]);
    add("raw splice", bed.start("splice", splice), socket);

    let socket = bed.path("nginx.sock");
    let mut nginx = bed.placed(None, Path::new("/usr/sbin/nginx"));
    nginx.arg("-p").arg(bed.path("")).arg("-c").arg(bed.write("nginx.conf", nginx_conf(bed, &socket, &to)));
    add("nginx", bed.start("nginx", nginx), socket);

    let socket = bed.path("haproxy.sock");
    let mut haproxy = bed.placed(None, Path::new("/usr/sbin/haproxy"));
    haproxy.arg("-db").arg("-f").arg(bed.write("haproxy.cfg", haproxy_cfg(&socket, &to)));
    add("HAProxy", bed.start("haproxy", haproxy), socket);

    let manager = bed.manager(LEADER, &["--log", "3"]);
    bed.name_leader(LEADER);
    bed.wait_leading(LEADER);
    add("om-manager", manager, bed.socket(LEADER));
    ways
}

/// One process; connections to the plugin are kept, for nginx puts one call at a time on each.
fn nginx_conf(bed: &Bed, socket: &Path, to: &Path) -> String {
    format!(
        "daemon off; master_process off; worker_processes 1; pid {pid}; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 0;
  upstream plugin {{ server unix:{to}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen unix:{socket} http2; keepalive_requests 1000000000; http2_max_concurrent_streams 4096;
    location / {{ grpc_pass grpc://plugin; grpc_read_timeout 60s; }}
  }}
}}
",
        pid = bed.path("nginx.pid").display(),
        to = to.display(),
        socket = socket.display(),
    )
}

/// One thread.
fn haproxy_cfg(socket: &Path, to: &Path) -> String {
    format!(
        "global
  nbthread 1
  tune.h2.max-concurrent-streams 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend front
  bind unix@{socket} proto h2
  default_backend plugin
backend plugin
  http-reuse always
  server plugin unix@{to} proto h2
",
        to = to.display(),
        socket = socket.display(),
    )
}
