//! The security layer that a log-in agreed on.

use std::io;

use transport::sasl::SecurityLayer;

use crate::connection::{Connection, Refused};

/// A connection object whose log-in is done.
#[derive(Debug)]
struct Layer {
    connection: Connection,
    plain_bytes_max: usize,
}

/// The layer of a finished log-in, if it agreed on one.
pub(crate) fn layer_of(
    mut connection: Connection,
) -> Result<Option<Box<dyn SecurityLayer>>, Refused> {
    if connection.layer_bits()? == 0 {
        return Ok(None);
    }
    let plain_bytes_max = connection.plain_bytes_max()?;
    Ok(Some(Box::new(Layer {
        connection,
        plain_bytes_max,
    })))
}

impl SecurityLayer for Layer {
    fn plain_bytes_max(&self) -> usize {
        self.plain_bytes_max
    }

    fn seal(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> io::Result<()> {
        self.connection.seal(plain, wire).map_err(broken)
    }

    fn open(&mut self, wire: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        self.connection.open(wire, plain).map_err(broken)
    }
}

fn broken(refused: Refused) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, refused)
}
