//! libsasl2 as a whole: set up once for the process, never taken down.
#![expect(
    unsafe_code,
    reason = "functions of libsasl2, and locks that it owns as pointers"
)]

use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, OnceLock};

use sasl2_sys::prelude::{
    SASL_FAIL, SASL_OK, sasl_client_init, sasl_errstring, sasl_server_init, sasl_set_mutex,
};
use thiserror::Error;

use crate::callbacks::Callbacks;
use crate::mutex::SplitMutex;
use crate::options::Options;

/// libsasl2 can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// It does not come up.
    #[error("libsasl2 does not start as a {side}: {text}")]
    Start {
        /// Server or client.
        side: &'static str,
        /// What it says.
        text: String,
    },
    /// It does not take what it is given.
    #[error("libsasl2: {text}")]
    Use {
        /// What it says.
        text: String,
    },
    /// A text with a NUL in it, which C can't have.
    #[error("{what} has a NUL in it")]
    Nul {
        /// Which text.
        what: &'static str,
    },
    /// No threads.
    #[error("threads for log-ins can't be started")]
    Threads,
}

/// Proof that libsasl2 is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Library(());

impl Library {
    /// Sets libsasl2 up, as a server and as a client, if that has not been done. What plugins ask for
    /// when they are loaded they get from the first `options` of the process; later questions are
    /// those of a connection, which has options of its own.
    pub(crate) fn get(options: &Arc<Options>) -> Result<Self, LibraryError> {
        static LIBRARY: OnceLock<Result<Library, LibraryError>> = OnceLock::new();
        LIBRARY.get_or_init(|| set_up(options)).clone()
    }
}

fn set_up(options: &Arc<Options>) -> Result<Library, LibraryError> {
    // libsasl2 keeps the pointer for the life of the process.
    let callbacks = Box::leak(Box::new(Callbacks::global(Arc::clone(options))));
    // SAFETY: called once, before anything else of libsasl2, by `OnceLock`; the callbacks and all they
    // point to live for ever, and so does the name.
    let (as_server, as_client) = unsafe {
        sasl_set_mutex(
            Some(mutex_alloc),
            Some(mutex_lock),
            Some(mutex_unlock),
            Some(mutex_free),
        );
        (
            sasl_server_init(callbacks.as_ptr(), APPLICATION.as_ptr()),
            sasl_client_init(callbacks.as_ptr()),
        )
    };
    for (side, code) in [("server", as_server), ("client", as_client)] {
        if code != SASL_OK {
            let text = describe(code);
            return Err(LibraryError::Start { side, text });
        }
    }
    Ok(Library(()))
}

/// libsasl2's words for a result code.
pub(crate) fn describe(code: c_int) -> String {
    // SAFETY: any code is allowed, no languages are asked for, and the result is a constant.
    let text = unsafe {
        let text = sasl_errstring(code, ptr::null(), ptr::null_mut());
        (!text.is_null()).then(|| CStr::from_ptr(text))
    };
    text.unwrap_or_default().to_string_lossy().into_owned()
}

unsafe extern "C" fn mutex_alloc() -> *mut c_void {
    catch_unwind(|| Box::into_raw(Box::<SplitMutex>::default()).cast()).unwrap_or(ptr::null_mut())
}

/// Calls `work` with a lock of [`mutex_alloc`].
///
/// SAFETY: `mutex` must be null or from there, and not freed.
unsafe fn with_mutex(mutex: *mut c_void, work: fn(&SplitMutex)) -> c_int {
    // SAFETY: as the caller promises.
    let Some(mutex) = (unsafe { mutex.cast::<SplitMutex>().as_ref() }) else {
        return SASL_FAIL;
    };
    catch_unwind(AssertUnwindSafe(|| work(mutex))).map_or(SASL_FAIL, |()| SASL_OK)
}

unsafe extern "C" fn mutex_lock(mutex: *mut c_void) -> c_int {
    // SAFETY: libsasl2 gives what `mutex_alloc` gave it.
    unsafe { with_mutex(mutex, SplitMutex::lock) }
}

unsafe extern "C" fn mutex_unlock(mutex: *mut c_void) -> c_int {
    // SAFETY: libsasl2 gives what `mutex_alloc` gave it.
    unsafe { with_mutex(mutex, SplitMutex::unlock) }
}

unsafe extern "C" fn mutex_free(mutex: *mut c_void) {
    if !mutex.is_null() {
        // SAFETY: from `mutex_alloc`, and libsasl2 frees it once, when nobody uses it.
        drop(unsafe { Box::from_raw(mutex.cast::<SplitMutex>()) });
    }
}

/// As Cyrus's programs call themselves; plugins may look for a file of that name.
const APPLICATION: &CStr = c"Cyrus";
