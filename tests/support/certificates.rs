//! A certificate authority of the test's own and a certificate by it, made with openssl.

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const CONFIG: &str = "
[req]
distinguished_name = name
prompt = no
[name]
CN = bsft tests
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = ${ENV::HOSTS}
";

/// Where the servers of tests are.
const HERE: &str = "IP:127.0.0.1, DNS:localhost";

/// What a server and its clients are given.
pub(crate) struct Certificates {
    dir: TempDir,
}

impl Certificates {
    /// For servers on this machine; `None` without openssl, which is printed.
    pub(crate) fn made() -> Option<Certificates> {
        Certificates::made_for(HERE)
    }

    /// For servers by these names, as in a `subjectAltName`.
    pub(crate) fn made_for(hosts: &str) -> Option<Certificates> {
        if Command::new("openssl").arg("version").output().is_err() {
            #[expect(clippy::print_stderr, reason = "a test that does nothing has to say so")]
            {
                eprintln!("SKIPPED: openssl is not installed (apt-get install openssl)");
            }
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("openssl.cnf"), CONFIG).unwrap();
        let request = |kind: &str, by: &[&str]| {
            let output = Command::new("openssl")
                .current_dir(&dir)
                .env("HOSTS", hosts)
                .args(["req", "-x509", "-config", "openssl.cnf", "-extensions", kind])
                .args([
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                    "-noenc",
                ])
                .args([
                    "-days",
                    "2",
                    "-keyout",
                    &format!("{kind}.key"),
                    "-out",
                    &format!("{kind}.pem"),
                ])
                .args(by)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        request("authority", &[]);
        request("server", &["-CA", "authority.pem", "-CAkey", "authority.key"]);
        Some(Certificates { dir })
    }

    /// The folder with server.pem, server.key and authority.pem.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Whom clients have to trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.dir().join("authority.pem")
    }
}
