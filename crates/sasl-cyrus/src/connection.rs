//! One connection object of libsasl2, server or client: a log-in, and then its security layer.
#![expect(unsafe_code, reason = "functions of libsasl2")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use sasl2_sys::prelude::{
    SASL_AUTH_EXTERNAL, SASL_CONTINUE, SASL_MAXOUTBUF, SASL_OK, SASL_SEC_PROPS, SASL_SSF,
    SASL_SSF_EXTERNAL, sasl_client_new, sasl_client_start, sasl_client_step, sasl_conn_t,
    sasl_decode, sasl_dispose, sasl_encode, sasl_errdetail, sasl_getprop, sasl_listmech,
    sasl_security_properties_t, sasl_server_new, sasl_server_start, sasl_server_step, sasl_setprop,
};
use thiserror::Error;

use crate::callbacks::{Callbacks, ClientContext, ServerContext};
use crate::library::{Library, describe};

/// libsasl2 says no.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text}")]
pub(crate) struct Refused {
    /// One of its result codes.
    pub(crate) code: c_int,
    /// What it says about it; for the log.
    pub(crate) text: String,
}

/// A step that went well.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send this, if anything, and come back with the answer.
    Continue(Option<Vec<u8>>),
    /// Done at this end; this is still to be sent, if anything.
    Done(Option<Vec<u8>>),
}

/// What a log-in must be worth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Properties {
    pub(crate) layer_bits_min: u32,
    pub(crate) layer_bits_max: u32,
    /// `SASL_SEC_*`.
    pub(crate) flags: u32,
}

/// One connection object.
pub(crate) struct Connection {
    raw: NonNull<sasl_conn_t>,
    /// What libsasl2 has pointers to. Dropped after the object itself.
    _callbacks: Callbacks,
}

// SAFETY: libsasl2 allows an object to be used by any thread, one at a time; its locks are real ones
// (`Library`). What the callbacks point to is `Send` and `Sync`.
unsafe impl Send for Connection {}
// SAFETY: nothing can be done with a shared reference.
unsafe impl Sync for Connection {}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut raw = self.raw.as_ptr();
        // SAFETY: the object is ours and is not used after this.
        unsafe { sasl_dispose(&raw mut raw) };
    }
}

impl Connection {
    /// A server's, for a service on this host.
    pub(crate) fn server(
        _library: Library,
        service: &CStr,
        host: &CStr,
        context: Arc<ServerContext>,
    ) -> Result<Self, Refused> {
        let callbacks = Callbacks::server(context);
        let mut raw = ptr::null_mut();
        // SAFETY: strings of C, copied by libsasl2; the callbacks live longer than the object; null
        // stands for what is not known.
        let code = unsafe {
            sasl_server_new(
                service.as_ptr(),
                host.as_ptr(),
                ptr::null(),
                ptr::null(),
                ptr::null(),
                callbacks.as_ptr(),
                0,
                &raw mut raw,
            )
        };
        Self::take(code, raw, callbacks)
    }

    /// A client's, for a service on that host.
    pub(crate) fn client(
        _library: Library,
        service: &CStr,
        host: &CStr,
        context: Arc<ClientContext>,
    ) -> Result<Self, Refused> {
        let callbacks = Callbacks::client(context);
        let mut raw = ptr::null_mut();
        // SAFETY: as in `server`.
        let code = unsafe {
            sasl_client_new(
                service.as_ptr(),
                host.as_ptr(),
                ptr::null(),
                ptr::null(),
                callbacks.as_ptr(),
                0,
                &raw mut raw,
            )
        };
        Self::take(code, raw, callbacks)
    }

    fn take(code: c_int, raw: *mut sasl_conn_t, callbacks: Callbacks) -> Result<Self, Refused> {
        match NonNull::new(raw) {
            Some(raw) => {
                let connection = Self {
                    raw,
                    _callbacks: callbacks,
                };
                connection.check(code).map(|()| connection)
            }
            None => Err(Refused {
                code,
                text: describe(code),
            }),
        }
    }

    /// What the log-in must be worth.
    pub(crate) fn require(&mut self, properties: Properties) -> Result<(), Refused> {
        let value = sasl_security_properties_t {
            min_ssf: properties.layer_bits_min,
            max_ssf: properties.layer_bits_max,
            maxbufsize: BUFFER_BYTES,
            security_flags: properties.flags,
            property_names: ptr::null_mut(),
            property_values: ptr::null_mut(),
        };
        // SAFETY: the property's own type.
        unsafe { self.set(SASL_SEC_PROPS, (&raw const value).cast()) }
    }

    /// What lies below: a layer of `bits`, and whom it proves the other end to be.
    pub(crate) fn set_external(
        &mut self,
        bits: u32,
        identity: Option<&CStr>,
    ) -> Result<(), Refused> {
        let bits: c_uint = bits;
        // SAFETY: the property's own type.
        unsafe { self.set(SASL_SSF_EXTERNAL, (&raw const bits).cast()) }?;
        let Some(identity) = identity else {
            return Ok(());
        };
        // SAFETY: the property's own type, a string of C.
        unsafe { self.set(SASL_AUTH_EXTERNAL, identity.as_ptr().cast()) }
    }

    /// The mechanisms that this connection may use, in libsasl2's order.
    pub(crate) fn mechanisms(&mut self) -> Result<Vec<String>, Refused> {
        let mut list = ptr::null();
        // SAFETY: the object is ours; strings of C; the places to write to are there, or null where
        // nothing is asked for.
        let code = unsafe {
            sasl_listmech(
                self.raw.as_ptr(),
                ptr::null(),
                c"".as_ptr(),
                c" ".as_ptr(),
                c"".as_ptr(),
                &raw mut list,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        self.check(code)?;
        // SAFETY: null, or a string that lives until the next call with this object.
        let list = unsafe { (!list.is_null()).then(|| CStr::from_ptr(list)) };
        let list = list.unwrap_or_default().to_string_lossy();
        Ok(list.split_whitespace().map(str::to_owned).collect())
    }

    /// A server's first step, with or without a first message of the client.
    pub(crate) fn server_start(
        &mut self,
        mechanism: &CStr,
        input: Option<&[u8]>,
    ) -> Result<Step, Refused> {
        let raw = self.raw.as_ptr();
        self.step(input, |input, length, output, output_length| {
            // SAFETY: see `step`; the mechanism is a string of C, which libsasl2 only compares.
            unsafe {
                sasl_server_start(
                    raw,
                    mechanism.as_ptr(),
                    input,
                    length,
                    output,
                    output_length,
                )
            }
        })
    }

    /// A server's next step.
    pub(crate) fn server_step(&mut self, input: &[u8]) -> Result<Step, Refused> {
        let raw = self.raw.as_ptr();
        self.step(Some(input), |input, length, output, output_length| {
            // SAFETY: see `step`.
            unsafe { sasl_server_step(raw, input, length, output, output_length) }
        })
    }

    /// A client's first step with the best mechanism of a list, separated by spaces; and which that
    /// is, if there is one.
    pub(crate) fn client_start(&mut self, list: &CStr) -> (Option<String>, Result<Step, Refused>) {
        let raw = self.raw.as_ptr();
        let mut mechanism = ptr::null();
        let step = self.step(None, |_, _, output, output_length| {
            // SAFETY: see `step`; the list is a string of C; no prompts are taken.
            unsafe {
                sasl_client_start(
                    raw,
                    list.as_ptr(),
                    ptr::null_mut(),
                    output,
                    output_length,
                    &raw mut mechanism,
                )
            }
        });
        // SAFETY: null, or the name in a plugin, which is never unloaded.
        let mechanism = unsafe { (!mechanism.is_null()).then(|| CStr::from_ptr(mechanism)) };
        (
            mechanism.map(|name| name.to_string_lossy().into_owned()),
            step,
        )
    }

    /// A client's next step.
    pub(crate) fn client_step(&mut self, input: &[u8]) -> Result<Step, Refused> {
        let raw = self.raw.as_ptr();
        self.step(Some(input), |input, length, output, output_length| {
            // SAFETY: see `step`; no prompts are taken.
            unsafe { sasl_client_step(raw, input, length, ptr::null_mut(), output, output_length) }
        })
    }

    /// Bits of the security layer that the log-in agreed on; 0: there is none.
    pub(crate) fn layer_bits(&mut self) -> Result<u32, Refused> {
        self.number(SASL_SSF)
    }

    /// Octets that may be sealed at once.
    pub(crate) fn plain_bytes_max(&mut self) -> Result<usize, Refused> {
        // 0 stands for no bound.
        let max = match self.number(SASL_MAXOUTBUF)? {
            0 => BUFFER_BYTES,
            max => max.min(BUFFER_BYTES),
        };
        Ok(usize::try_from(max).unwrap_or(1))
    }

    /// Appends what is to be sent for `plain`.
    pub(crate) fn seal(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), Refused> {
        let raw = self.raw.as_ptr();
        self.transform(plain, wire, |input, length, output, output_length| {
            // SAFETY: see `transform`.
            unsafe { sasl_encode(raw, input, length, output, output_length) }
        })
    }

    /// Appends what is complete by the next octets that came.
    pub(crate) fn open(&mut self, wire: &[u8], plain: &mut Vec<u8>) -> Result<(), Refused> {
        let raw = self.raw.as_ptr();
        self.transform(wire, plain, |input, length, output, output_length| {
            // SAFETY: see `transform`.
            unsafe { sasl_decode(raw, input, length, output, output_length) }
        })
    }

    /// Calls one of the functions that take a message and give one. They get a message that is valid
    /// during the call, with a NUL behind it, or null and 0, and places for their own message, which
    /// they leave valid until the next call with this object.
    fn step(
        &mut self,
        input: Option<&[u8]>,
        call: impl FnOnce(*const c_char, c_uint, *mut *const c_char, *mut c_uint) -> c_int,
    ) -> Result<Step, Refused> {
        // An answer may be empty, and must not be null for that.
        let input = input.map(|message| {
            let mut message = message.to_vec();
            message.push(0);
            message
        });
        let (pointer, length) = match &input {
            Some(message) => (message.as_ptr().cast(), message.len().saturating_sub(1)),
            None => (ptr::null(), 0),
        };
        let (mut output, mut output_length) = (ptr::null(), 0);
        let length = c_uint::try_from(length).unwrap_or(c_uint::MAX);
        let code = call(pointer, length, &raw mut output, &raw mut output_length);
        // SAFETY: as described above.
        let output = unsafe { copied(output, output_length) };
        match code {
            SASL_CONTINUE => Ok(Step::Continue(output)),
            SASL_OK => Ok(Step::Done(output)),
            code => Err(self.refused(code)),
        }
    }

    /// Calls one of the two functions of a security layer, with octets that are valid during the call
    /// and places for theirs, which they leave valid until the next call with this object.
    fn transform(
        &mut self,
        from: &[u8],
        to: &mut Vec<u8>,
        call: impl FnOnce(*const c_char, c_uint, *mut *const c_char, *mut c_uint) -> c_int,
    ) -> Result<(), Refused> {
        let (mut output, mut output_length) = (ptr::null(), 0);
        let length = c_uint::try_from(from.len()).unwrap_or(c_uint::MAX);
        let code = call(
            from.as_ptr().cast(),
            length,
            &raw mut output,
            &raw mut output_length,
        );
        self.check(code)?;
        // SAFETY: as described above.
        to.extend(unsafe { copied(output, output_length) }.unwrap_or_default());
        Ok(())
    }

    fn number(&mut self, property: c_uint) -> Result<u32, Refused> {
        let mut value: *const c_void = ptr::null();
        // SAFETY: the object is ours, and the place to write to is there.
        let code =
            unsafe { sasl_getprop(self.raw.as_ptr(), property.cast_signed(), &raw mut value) };
        self.check(code)?;
        // SAFETY: for the properties asked for here the value is a number within the object, or null.
        Ok(unsafe { value.cast::<c_uint>().as_ref() }
            .copied()
            .unwrap_or(0))
    }

    /// SAFETY: `value` must be of the type that belongs to the property.
    unsafe fn set(&mut self, property: c_uint, value: *const c_void) -> Result<(), Refused> {
        // SAFETY: the object is ours; libsasl2 copies the value.
        let code = unsafe { sasl_setprop(self.raw.as_ptr(), property.cast_signed(), value) };
        self.check(code)
    }

    fn check(&self, code: c_int) -> Result<(), Refused> {
        if code == SASL_OK {
            Ok(())
        } else {
            Err(self.refused(code))
        }
    }

    fn refused(&self, code: c_int) -> Refused {
        // SAFETY: the object is ours; the result is null or a string that lives until the next call.
        let text = unsafe {
            let text = sasl_errdetail(self.raw.as_ptr());
            (!text.is_null()).then(|| CStr::from_ptr(text))
        };
        let text = text.map_or_else(
            || describe(code),
            |text| text.to_string_lossy().into_owned(),
        );
        Refused { code, text }
    }
}

/// A message of libsasl2 as our own; `None` for null.
///
/// SAFETY: `octets` must be null or valid for `count` octets.
unsafe fn copied(octets: *const c_char, count: c_uint) -> Option<Vec<u8>> {
    let count = usize::try_from(count).ok()?;
    // SAFETY: as the caller promises.
    (!octets.is_null())
        .then(|| unsafe { slice::from_raw_parts(octets.cast::<u8>(), count) }.to_vec())
}

/// Longest packet of a security layer that we take, and most that we put into one: the size that
/// Cyrus's programs use.
const BUFFER_BYTES: u32 = 4096;
