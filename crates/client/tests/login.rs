//! Log-in, TLS and compression against the real session, mechanisms and layers of the server.

#[cfg(test)]
mod server;

use client::{Client, Error, Options, Tls};
use server::{Certificates, Server};

async fn connect(server: &Server, options: &Options) -> Result<Client, Error> {
    Client::connect("localhost", server.port(), options).await
}

#[tokio::test]
async fn every_mechanism_logs_in() {
    let server = Server::start(None);
    for mechanism in ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] {
        let mut options = server::options("secret");
        options.login.policy.only = Some(vec![mechanism.into()]);
        let mut client = connect(&server, &options).await.unwrap();
        client.noop().await.unwrap();
        client.logout().await.unwrap();
        let wrong = Options {
            login: server::options("wrong").login,
            ..options
        };
        assert!(
            connect(&server, &wrong).await.unwrap_err().is_refusal(),
            "{mechanism}"
        );
    }
}

#[tokio::test]
async fn starttls_and_compress_are_layers_of_one_connection() {
    let certificates = Certificates::new();
    let server = Server::start(Some(certificates.server()));
    for tls in [
        Tls::Required(certificates.tls_client(false)),
        Tls::IfOffered(certificates.tls_client(false)),
    ] {
        let options = Options {
            tls,
            ..server::options("secret")
        };
        let client = connect(&server, &options).await.unwrap();
        assert!(client.stream().is_tls());
        assert!(!client.banner().offers("STARTTLS"));
        let mut client = client.compress().await.unwrap();
        assert!(client.stream().is_compressed());
        client.noop().await.unwrap();
        client.logout().await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_is_enough_for_external() {
    let certificates = Certificates::new();
    let server = Server::start(Some(certificates.server()));
    let mut options = Options {
        tls: Tls::Required(certificates.tls_client(true)),
        ..server::options("wrong")
    };
    options.login.policy.external = true;
    let mut client = connect(&server, &options).await.unwrap();
    client.noop().await.unwrap();
    client.logout().await.unwrap();
}
