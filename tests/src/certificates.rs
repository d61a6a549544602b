//! Certificates of a throw-away authority.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::link::Identity;

/// Files of an authority, a server and a client, all in PEM.
#[derive(Debug)]
pub struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Makes them below `directory`; the client's common name is `client`.
    pub fn make(directory: &Path, client: &str) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let ca = "req -x509 -newkey rsa:2048 -nodes -days 30 -keyout ca.key -out ca.pem -subj";
        openssl(directory, ca, Some("/CN=authority of a test"))?;
        fs::write(
            directory.join("ext"),
            "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
        )?;
        for (name, subject) in [("server", "localhost"), ("client", client)] {
            let request =
                format!("req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj");
            openssl(directory, &request, Some(&format!("/CN={subject}")))?;
            let sign = format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out {name}.pem"
            );
            openssl(directory, &sign, None)?;
        }
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// Path of `ca.pem`, `server.pem`, `server.key`, `client.pem` or `client.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What the client shows.
    pub fn client(&self) -> ClientFiles {
        ClientFiles {
            certificate: self.file("client.pem"),
            key: self.file("client.key"),
        }
    }
}

/// Certificate and key of the client.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    certificate: PathBuf,
    key: PathBuf,
}

impl ClientFiles {
    /// For [`crate::wire::Wire::start_tls`].
    pub fn identity(&self) -> Identity<'_> {
        Identity {
            certificate: &self.certificate,
            key: &self.key,
        }
    }
}

fn openssl(directory: &Path, arguments: &str, last: Option<&str>) -> Result<()> {
    let mut command = Command::new("openssl");
    command
        .args(arguments.split(' '))
        .args(last)
        .current_dir(directory)
        .stdin(Stdio::null());
    let output = command.output().context("start openssl")?;
    ensure!(
        output.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
