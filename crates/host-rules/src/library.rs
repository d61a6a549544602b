//! The calls of C.
#![expect(
    unsafe_code,
    reason = "libwrap is C; all calls are here, on one thread, which `Library` stands for"
)]

use std::ffi::{CString, c_char, c_int};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{HostRulesError, Tables};

/// `tcpd.h`: the argument behind this is a socket.
const RQ_FILE: c_int = 1;
/// `tcpd.h`: the argument behind this is the name of the service.
const RQ_DAEMON: c_int = 2;
/// End of the arguments.
const RQ_END: c_int = 0;

/// `struct request_info`, whose 872 octets (on 64-bit systems) are libwrap's own business; with room to spare.
#[repr(C, align(16))]
struct RequestInfo([u8; 4096]);

#[link(name = "wrap")]
unsafe extern "C" {
    static mut hosts_allow_table: *mut c_char;
    static mut hosts_deny_table: *mut c_char;
    static mut resident: c_int;
    fn request_init(request: *mut RequestInfo, ...) -> *mut RequestInfo;
    fn sock_host(request: *mut RequestInfo);
    fn hosts_access(request: *mut RequestInfo) -> c_int;
}

/// The right to call libwrap, of which a process has one, for one service.
#[derive(Debug)]
pub(crate) struct Library {
    service: CString,
}

impl Library {
    pub(crate) fn take(service: CString, tables: Option<Tables>) -> Result<Self, HostRulesError> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        let path = |path: std::path::PathBuf, what| {
            let text = CString::new(path.into_os_string().into_vec());
            text.map_err(|_| HostRulesError::Nul { what })
        };
        let tables = match tables {
            Some(Tables { allow, deny }) => {
                Some((path(allow, "a file's name")?, path(deny, "a file's name")?))
            }
            None => None,
        };
        if TAKEN.swap(true, Ordering::AcqRel) {
            return Err(HostRulesError::Twice);
        }
        // SAFETY: nobody has called libwrap before in this process, so nobody reads these meanwhile; the names
        // are never freed. A program that is `resident` refuses the rule option `twist`, which would put a
        // command in the place of this process.
        unsafe {
            resident = 1;
            if let Some((allow, deny)) = tables {
                hosts_allow_table = allow.into_raw();
                hosts_deny_table = deny.into_raw();
            }
        }
        Ok(Self { service })
    }

    /// What the rules say about the peer of a connected socket, as `libwrap_ask` of Cyrus's services has it.
    pub(crate) fn admits(&self, socket: &OwnedFd) -> bool {
        let mut request = RequestInfo([0; 4096]);
        let request = ptr::from_mut(&mut request);
        // SAFETY: `request` is writable, large enough and aligned for what C keeps there, and outlives the calls;
        // name and descriptor do so too. There is one `Library`, and it is used by one thread, so calls never
        // overlap. `request_init` wants pairs of a key and its value, up to a zero.
        unsafe {
            request_init(
                request,
                RQ_DAEMON,
                self.service.as_ptr(),
                RQ_FILE,
                socket.as_raw_fd(),
                RQ_END,
            );
            sock_host(request);
            hosts_access(request) != 0
        }
    }
}
