//! A database made at once, of pairs in order.

use super::cursor::Order;
use super::database::Options;
use super::header::Header;
use super::load::Loader;
use crate::Error;
use crate::file::File;

/// Writes a whole database into an empty file that nobody else knows of, and syncs it. `pairs` come
/// in the order of the options, each key once; else this fails and the file is of no use.
pub fn build(
    file: &impl File,
    options: &Options,
    generation: u64,
    pairs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
) -> Result<Header, Error> {
    let mut loader = Loader::new(file, options.fillers);
    let mut last: Option<Vec<u8>> = None;
    for (key, value) in pairs {
        check_next(options.order, last.as_deref(), &key)?;
        loader.push(&key, &value)?;
        last = Some(key);
    }
    let header = loader.finish(generation)?;
    file.sync().map_err(Error::io("sync the new file"))?;
    Ok(header)
}

fn check_next(order: Order, last: Option<&[u8]>, key: &[u8]) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::EmptyKey);
    }
    match last {
        Some(last) if order.compare(last, key).is_ge() => {
            Err(Error::corrupt(0, "keys for a new file are out of order"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::twoskip::Database;

    #[test]
    fn what_is_built_is_consistent_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        for count in [0, 1, 3000] {
            let path = dir.path().join(format!("{count}.db"));
            let file = std::fs::File::create_new(&path).unwrap();
            let pairs = (0..count).map(|n| (format!("k{n:05}").into_bytes(), vec![b'v'; n % 90]));
            let header = build(&file, &Options::default(), 7, pairs.clone()).unwrap();
            assert_eq!((header.generation, header.records), (7, crate::wide(count)));
            let mut database = Database::open_path(&path, Options::default()).unwrap();
            assert_eq!(database.check(|_, _| {}).unwrap().faults, []);
            assert!(database.is_in_order().unwrap());
            let page = database.page(None, 5000).unwrap();
            let read = page
                .iter()
                .map(|pair| (pair.key().to_vec(), pair.value().to_vec()));
            assert!(read.eq(pairs));
            let mut transaction = database.write().unwrap();
            transaction.put(b"k00001x", b"more").unwrap();
            transaction.commit().unwrap();
            assert_eq!(database.check(|_, _| {}).unwrap().faults, []);
        }
    }

    #[test]
    fn keys_out_of_order_are_refused() {
        let file = tempfile::tempfile().unwrap();
        let pairs = [b"b", b"a"].map(|key| (key.to_vec(), Vec::new()));
        assert!(build(&file, &Options::default(), 1, pairs.into_iter()).is_err());
    }
}
