//! What libsasl2 asks us while it works.
//!
//! A list of callbacks holds pointers into the context that it is made from, and keeps that context;
//! so whoever keeps the list for as long as libsasl2 knows of it may let libsasl2 call. No panic
//! passes from here into C.
#![expect(
    unsafe_code,
    reason = "libsasl2 calls with pointers of C, and keeps functions without their types"
)]

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::slice;
use std::sync::Arc;

use sasl2_sys::prelude::{
    SASL_BADAUTH, SASL_BADPARAM, SASL_CB_AUTHNAME, SASL_CB_GETOPT, SASL_CB_GETREALM,
    SASL_CB_LIST_END, SASL_CB_LOG, SASL_CB_PASS, SASL_CB_PROXY_POLICY, SASL_CB_USER, SASL_FAIL,
    SASL_LOG_ERR, SASL_LOG_PASS, SASL_LOG_TRACE, SASL_LOG_WARN, SASL_OK, propctx, sasl_callback_t,
    sasl_conn_t, sasl_secret_t,
};
use tracing::{debug, trace, warn};

use crate::options::Options;
use crate::policy::{Admission, Verdicts};
use crate::secret::PasswordBlock;

/// What callbacks of a server's connection know.
#[derive(Debug)]
pub(crate) struct ServerContext {
    pub(crate) options: Arc<Options>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) verdicts: Verdicts,
}

/// What callbacks of a client's connection know.
#[derive(Debug)]
pub(crate) struct ClientContext {
    pub(crate) options: Arc<Options>,
    pub(crate) user: CString,
    pub(crate) authname: Option<CString>,
    pub(crate) realm: Option<CString>,
    pub(crate) password: Option<PasswordBlock>,
}

/// A list of callbacks as libsasl2 takes it.
pub(crate) struct Callbacks {
    list: Box<[sasl_callback_t]>,
    /// What the pointers of the list point into.
    _context: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks").finish_non_exhaustive()
    }
}

impl Callbacks {
    /// For the library as a whole.
    pub(crate) fn global(options: Arc<Options>) -> Self {
        let list = [
            getopt_entry(&options),
            entry(SASL_CB_LOG, erase_log(log), ptr::null()),
        ];
        Self::new(list, options)
    }

    /// For a server's connection.
    pub(crate) fn server(context: Arc<ServerContext>) -> Self {
        let list = [
            getopt_entry(&context.options),
            entry(
                SASL_CB_PROXY_POLICY,
                erase_authorize(authorize),
                Arc::as_ptr(&context).cast(),
            ),
        ];
        Self::new(list, context)
    }

    /// For a client's connection. What is not configured has no entry, so that mechanisms which need it
    /// are not chosen.
    pub(crate) fn client(context: Arc<ClientContext>) -> Self {
        let text = |id, value: &CString| entry(id, erase_simple(simple), value.as_ptr().cast());
        let mut list = vec![
            getopt_entry(&context.options),
            text(SASL_CB_USER, &context.user),
        ];
        list.extend(
            context
                .authname
                .iter()
                .map(|name| text(SASL_CB_AUTHNAME, name)),
        );
        list.extend(context.realm.iter().map(|realm| {
            entry(
                SASL_CB_GETREALM,
                erase_realm(realm_of),
                realm.as_ptr().cast(),
            )
        }));
        list.extend(context.password.iter().map(|password| {
            entry(
                SASL_CB_PASS,
                erase_secret(secret),
                password.words().as_ptr().cast(),
            )
        }));
        Self::new(list, context)
    }

    fn new(
        list: impl IntoIterator<Item = sasl_callback_t>,
        context: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        let end = sasl_callback_t {
            id: SASL_CB_LIST_END,
            proc_: None,
            context: ptr::null_mut(),
        };
        Self {
            list: list.into_iter().chain([end]).collect(),
            _context: context,
        }
    }

    pub(crate) fn as_ptr(&self) -> *const sasl_callback_t {
        self.list.as_ptr()
    }
}

type Erased = unsafe extern "C" fn() -> c_int;
type GetOpt = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    *const c_char,
    *mut *const c_char,
    *mut c_uint,
) -> c_int;
type Log = unsafe extern "C" fn(*mut c_void, c_int, *const c_char) -> c_int;
type Simple = unsafe extern "C" fn(*mut c_void, c_int, *mut *const c_char, *mut c_uint) -> c_int;
type Realm =
    unsafe extern "C" fn(*mut c_void, c_int, *mut *const c_char, *mut *const c_char) -> c_int;
type GetSecret =
    unsafe extern "C" fn(*mut sasl_conn_t, *mut c_void, c_int, *mut *mut sasl_secret_t) -> c_int;
type Authorize = unsafe extern "C" fn(
    *mut sasl_conn_t,
    *mut c_void,
    *const c_char,
    c_uint,
    *const c_char,
    c_uint,
    *const c_char,
    c_uint,
    *mut propctx,
) -> c_int;

macro_rules! erase {
    ($name:ident, $type:ty) => {
        fn $name(function: $type) -> Erased {
            // SAFETY: libsasl2 keeps every callback under this type and calls it under the type that
            // belongs to its id, which is the one here.
            unsafe { std::mem::transmute::<$type, Erased>(function) }
        }
    };
}
erase!(erase_getopt, GetOpt);
erase!(erase_log, Log);
erase!(erase_simple, Simple);
erase!(erase_realm, Realm);
erase!(erase_secret, GetSecret);
erase!(erase_authorize, Authorize);

fn entry(id: c_ulong, function: Erased, context: *const c_void) -> sasl_callback_t {
    sasl_callback_t {
        id,
        proc_: Some(function),
        context: context.cast_mut(),
    }
}

fn getopt_entry(options: &Arc<Options>) -> sasl_callback_t {
    entry(
        SASL_CB_GETOPT,
        erase_getopt(getopt),
        Arc::as_ptr(options).cast(),
    )
}

/// Runs `work`; a panic becomes a failure.
fn guarded(work: impl FnOnce() -> c_int) -> c_int {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(SASL_FAIL)
}

/// SAFETY: `text` must be null or a string of C that lives as long as the result is used.
unsafe fn borrowed<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: as the caller promises.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

/// `sasl_getopt_t`. The context is an [`Options`].
unsafe extern "C" fn getopt(
    context: *mut c_void,
    plugin: *const c_char,
    option: *const c_char,
    result: *mut *const c_char,
    length: *mut c_uint,
) -> c_int {
    guarded(|| {
        // SAFETY: the context is what `getopt_entry` put there, kept by its list; the rest are valid
        // strings, or null, and places to write to, as libsasl2 documents this callback.
        let (options, plugin, option) = unsafe {
            (
                context.cast::<Options>().as_ref(),
                borrowed(plugin),
                borrowed(option),
            )
        };
        let (Some(options), Some(option)) = (options, option) else {
            return SASL_BADPARAM;
        };
        let plugin = plugin.and_then(|plugin| plugin.to_str().ok());
        let answer = option
            .to_str()
            .ok()
            .and_then(|option| options.answer(plugin, option));
        // SAFETY: as above.
        unsafe { give(answer, result, length) }
    })
}

/// Hands a string to libsasl2, which copies it or forgets it before its owner is gone.
///
/// SAFETY: `result` and `length` must be null or places to write to.
unsafe fn give(text: Option<&CStr>, result: *mut *const c_char, length: *mut c_uint) -> c_int {
    // SAFETY: as the caller promises.
    let Some(result) = (unsafe { result.as_mut() }) else {
        return SASL_BADPARAM;
    };
    let Some(text) = text else {
        *result = ptr::null();
        return SASL_FAIL;
    };
    *result = text.as_ptr();
    // SAFETY: as the caller promises.
    if let Some(length) = unsafe { length.as_mut() } {
        *length = c_uint::try_from(text.count_bytes()).unwrap_or(c_uint::MAX);
    }
    SASL_OK
}

/// `sasl_log_t`. What a peer can bring about is not for the log of every day, except that something is
/// out of order here.
unsafe extern "C" fn log(_context: *mut c_void, level: c_int, message: *const c_char) -> c_int {
    guarded(|| {
        // SAFETY: a string that is valid during the call.
        let message = unsafe { borrowed(message) }.map(CStr::to_string_lossy);
        let message = message.as_deref().unwrap_or_default();
        match level {
            SASL_LOG_ERR => warn!(message, "libsasl2"),
            // Passwords are at this level.
            SASL_LOG_PASS => {}
            level if level <= SASL_LOG_WARN => debug!(message, "libsasl2"),
            level if level <= SASL_LOG_TRACE => trace!(message, "libsasl2"),
            _ => {}
        }
        SASL_OK
    })
}

/// `sasl_authorize_t`. The context is a [`ServerContext`].
unsafe extern "C" fn authorize(
    _connection: *mut sasl_conn_t,
    context: *mut c_void,
    _requested: *const c_char,
    _requested_length: c_uint,
    identity: *const c_char,
    identity_length: c_uint,
    _realm: *const c_char,
    _realm_length: c_uint,
    _properties: *mut propctx,
) -> c_int {
    guarded(|| {
        let Ok(length) = usize::try_from(identity_length) else {
            return SASL_BADPARAM;
        };
        if identity.is_null() {
            return SASL_BADPARAM;
        }
        // SAFETY: the context is what `Callbacks::server` put there, kept by its list; the identity is
        // that many octets, valid during the call.
        let (context, identity) = unsafe {
            (
                context.cast::<ServerContext>().as_ref(),
                slice::from_raw_parts(identity.cast::<u8>(), length),
            )
        };
        let Some(context) = context else {
            return SASL_BADPARAM;
        };
        let identity = String::from_utf8_lossy(identity);
        if context.verdicts.judge(&context.admission, &identity) {
            SASL_OK
        } else {
            SASL_BADAUTH
        }
    })
}

/// `sasl_getsimple_t`. The context is the string that is asked for.
unsafe extern "C" fn simple(
    context: *mut c_void,
    _id: c_int,
    result: *mut *const c_char,
    length: *mut c_uint,
) -> c_int {
    // SAFETY: the context is what `Callbacks::client` put there, kept by its list; the others are
    // places to write to, or null.
    guarded(|| unsafe { give(borrowed(context.cast_const().cast()), result, length) })
}

/// `sasl_getrealm_t`. The context is the realm.
unsafe extern "C" fn realm_of(
    context: *mut c_void,
    _id: c_int,
    _offered: *mut *const c_char,
    result: *mut *const c_char,
) -> c_int {
    // SAFETY: as in `simple`.
    guarded(|| unsafe {
        give(
            borrowed(context.cast_const().cast()),
            result,
            ptr::null_mut(),
        )
    })
}

/// `sasl_getsecret_t`. The context is the start of a [`PasswordBlock`].
unsafe extern "C" fn secret(
    _connection: *mut sasl_conn_t,
    context: *mut c_void,
    _id: c_int,
    result: *mut *mut sasl_secret_t,
) -> c_int {
    guarded(|| {
        // SAFETY: a place to write to, or null.
        let Some(result) = (unsafe { result.as_mut() }) else {
            return SASL_BADPARAM;
        };
        // libsasl2 reads the password and does not write to it.
        *result = context.cast();
        SASL_OK
    })
}
