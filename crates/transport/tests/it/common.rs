//! Certificates made by `openssl`, and pairs of connected streams.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use transport::Stream;
use transport::tls::CertificateFiles;

/// A CA with the certificates it signed, in a directory of their own.
pub(crate) struct Authority {
    directory: TempDir,
}

impl Authority {
    /// A fresh CA.
    pub(crate) fn new() -> Self {
        let authority = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "2",
            "-subj",
            "/CN=test ca",
        ]);
        authority
    }

    /// A certificate for this common name, and for `localhost` if `is_server`.
    pub(crate) fn issue(&self, common_name: &str, is_server: bool) -> CertificateFiles {
        let text = if is_server {
            "subjectAltName=DNS:localhost\n"
        } else {
            "extendedKeyUsage=clientAuth\n"
        };
        self.sign(common_name, Some(text))
    }

    /// A certificate of X.509 version 1, which has no extensions.
    pub(crate) fn issue_old(&self, common_name: &str) -> CertificateFiles {
        self.sign(common_name, None)
    }

    fn sign(&self, common_name: &str, extensions: Option<&str>) -> CertificateFiles {
        let stem = common_name.replace(['.', ' '], "_");
        let (key, request, certificate) = (
            format!("{stem}.key"),
            format!("{stem}.csr"),
            format!("{stem}.pem"),
        );
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &request,
            "-subj",
            &format!("/O=murder/CN={common_name}"),
        ]);
        let mut sign = vec![
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-set_serial",
            "7",
            "-days",
            "2",
            "-out",
            &certificate,
        ];
        if let Some(extensions) = extensions {
            std::fs::write(self.path("extensions"), extensions).unwrap();
            sign.extend(["-extfile", "extensions"]);
        }
        self.openssl(&sign);
        CertificateFiles::new(self.path(&certificate), self.path(&key))
    }

    /// The CA's own certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The directory with everything in it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Both ends of a connection over loopback.
pub(crate) async fn pair() -> (Stream, Stream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (
        Stream::from_tcp(near.unwrap()),
        Stream::from_tcp(far.unwrap().0),
    )
}
