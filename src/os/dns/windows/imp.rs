//! The registry of this host, by Windows' own calls: they are the only way without a program in between that speaks the user's language.
#![allow(unsafe_code, reason = "std has no registry and no services")]

use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{io, ptr};

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_NO_MORE_ITEMS, ERROR_PATH_NOT_FOUND};
use windows_sys::Win32::System::GroupPolicy::RefreshPolicyEx;
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, KEY_WOW64_64KEY, KEY_WRITE, REG_OPTION_NON_VOLATILE, RegCloseKey,
    RegCreateKeyExW, RegDeleteKeyExW, RegDeleteValueW, RegEnumKeyExW, RegFlushKey, RegOpenKeyExW, RegQueryInfoKeyW,
    RegQueryValueExW, RegSetValueExW,
};
use windows_sys::Win32::System::Services::{
    CloseServiceHandle, ControlService, OpenSCManagerW, OpenServiceW, SC_MANAGER_CONNECT, SERVICE_CONTROL_PARAMCHANGE,
    SERVICE_PAUSE_CONTINUE, SERVICE_STATUS,
};
use windows_sys::Win32::System::SystemInformation::GetSystemDirectoryW;

use super::places::INSTALLED;
use super::registry::{Key, Registry, Value};

/// This host's.
#[derive(Debug, Default)]
pub struct LocalMachine;

/// An open key, closed when it goes.
struct Open(HKEY);

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: a key that was opened and is closed once.
        unsafe { RegCloseKey(self.0) };
    }
}

/// The longest name of a key (Registry Element Size Limits), with its end.
const MAX_NAME_LEN: u32 = 256;

/// More than any value of DNS.
const MAX_VALUE_LEN: u32 = 64 * 1024;

/// More than any host has adapters.
const MAX_KEYS: u32 = 4096;

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

fn check(code: u32) -> io::Result<()> {
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.cast_signed())),
    }
}

/// `None` for what is not there.
fn absent<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    let absent = [ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND].map(|code| Some(code.cast_signed()));
    match done {
        Err(error) if absent.contains(&error.raw_os_error()) => Ok(None),
        done => done.map(Some),
    }
}

fn open(path: &str, rights: u32) -> io::Result<Open> {
    let (path, mut key) = (wide(path), ptr::null_mut());
    // SAFETY: the path ends with zero and the key's place lives, both until the call returns.
    let code = unsafe {
        RegOpenKeyExW(
            HKEY_LOCAL_MACHINE,
            path.as_ptr(),
            0,
            rights | KEY_WOW64_64KEY,
            &raw mut key,
        )
    };
    check(code).map(|()| Open(key))
}

fn create(path: &str) -> io::Result<Open> {
    let (path, mut key) = (wide(path), ptr::null_mut());
    // SAFETY: as above; class, security and disposition may be null.
    let code = unsafe {
        RegCreateKeyExW(
            HKEY_LOCAL_MACHINE,
            path.as_ptr(),
            0,
            ptr::null(),
            REG_OPTION_NON_VOLATILE,
            KEY_WRITE | KEY_WOW64_64KEY,
            ptr::null(),
            &raw mut key,
            ptr::null_mut(),
        )
    };
    check(code).map(|()| Open(key))
}

fn query(key: &Open, name: &str) -> io::Result<Value> {
    let name = wide(name);
    let (mut kind, mut len, mut octets) = (0, MAX_VALUE_LEN, vec![0; MAX_VALUE_LEN as usize]);
    // SAFETY: at most `len` octets are written, which the buffer has; all live until the call returns.
    let code = unsafe {
        RegQueryValueExW(
            key.0,
            name.as_ptr(),
            ptr::null(),
            &raw mut kind,
            octets.as_mut_ptr(),
            &raw mut len,
        )
    };
    check(code)?;
    octets.truncate(len as usize);
    Ok(Value::read(kind, &octets))
}

fn store(key: &Open, name: &str, value: &Value) -> io::Result<()> {
    let (name, (kind, octets)) = (wide(name), value.stored());
    let len = u32::try_from(octets.len()).map_err(io::Error::other)?;
    // SAFETY: `len` octets are read, which the buffer has; all live until the call returns.
    check(unsafe { RegSetValueExW(key.0, name.as_ptr(), 0, kind, octets.as_ptr(), len) })
}

fn delete(key: &Open, name: &str) -> io::Result<()> {
    let name = wide(name);
    // SAFETY: the name ends with zero and lives until the call returns.
    check(unsafe { RegDeleteValueW(key.0, name.as_ptr()) })
}

/// The name of the key at this place; none at the end.
fn name_at(key: &Open, at: u32) -> io::Result<Option<String>> {
    let mut name = [0_u16; MAX_NAME_LEN as usize];
    let mut len = MAX_NAME_LEN;
    // SAFETY: at most `len` units are written, which the buffer has; what is not wanted may be null.
    let code = unsafe {
        RegEnumKeyExW(
            key.0,
            at,
            name.as_mut_ptr(),
            &raw mut len,
            ptr::null(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    if code == ERROR_NO_MORE_ITEMS {
        return Ok(None);
    }
    check(code)?;
    Ok(Some(String::from_utf16_lossy(&name[..len as usize])))
}

/// Whether a key has neither keys nor values.
fn is_empty(key: &Open) -> io::Result<bool> {
    let (mut keys, mut values) = (0, 0);
    let none = ptr::null_mut();
    // SAFETY: two numbers are written, which live until the call returns; what is not wanted may be null.
    let code = unsafe {
        RegQueryInfoKeyW(
            key.0,
            ptr::null_mut(),
            none,
            ptr::null(),
            &raw mut keys,
            none,
            none,
            &raw mut values,
            none,
            none,
            none,
            ptr::null_mut(),
        )
    };
    check(code)?;
    Ok(keys == 0 && values == 0)
}

/// Has it be on the disk, not only in memory: a journal is taken away after it.
fn flush(key: &Open) -> io::Result<()> {
    // SAFETY: an open key.
    check(unsafe { RegFlushKey(key.0) })
}

fn read(key: &Key) -> io::Result<Option<Value>> {
    absent(open(&key.path, KEY_READ).and_then(|open| query(&open, &key.name)))
}

fn write(key: &Key, value: Option<&Value>) -> io::Result<()> {
    if let Some(value) = value {
        let open = create(&key.path)?;
        store(&open, &key.name, value)?;
        return flush(&open);
    }
    let Some(open) = absent(open(&key.path, KEY_WRITE))? else {
        return Ok(());
    };
    absent(delete(&open, &key.name))?;
    flush(&open)
}

fn below(path: &str) -> io::Result<Vec<String>> {
    let Some(key) = absent(open(path, KEY_READ))? else {
        return Ok(Vec::new());
    };
    (0..MAX_KEYS).map_while(|at| name_at(&key, at).transpose()).collect()
}

fn remove_empty(path: &str) -> io::Result<()> {
    match absent(open(path, KEY_READ))? {
        Some(key) if is_empty(&key)? => {}
        _ => return Ok(()),
    }
    let path = wide(path);
    // SAFETY: the path ends with zero and lives until the call returns. A key with keys below it is refused.
    let code = unsafe { RegDeleteKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), KEY_WOW64_64KEY, 0) };
    absent(check(code)).map(drop)
}

impl Registry for LocalMachine {
    fn read(&self, key: &Key) -> Result<Option<Value>, String> {
        read(key).map_err(|error| format!("{key}: {error}"))
    }

    fn write(&self, key: &Key, value: Option<&Value>) -> Result<(), String> {
        write(key, value).map_err(|error| format!("cannot write {key}: {error}"))
    }

    fn below(&self, path: &str) -> Result<Vec<String>, String> {
        below(path).map_err(|error| format!(r"HKLM\{path}: {error}"))
    }

    fn exists(&self, path: &str) -> bool {
        open(path, KEY_READ).is_ok()
    }

    fn remove_empty(&self, path: &str) -> Result<(), String> {
        remove_empty(path).map_err(|error| format!(r"cannot take away HKLM\{path}: {error}"))
    }

    fn announce(&self, by_policy: bool) {
        if by_policy {
            // SAFETY: two numbers. Only tells a service.
            unsafe { RefreshPolicyEx(1, RP_FORCE) };
        }
        tell_resolver();
        flush_answers();
    }

    fn programs(&self) -> PathBuf {
        let known = read(&Key::new(INSTALLED, "ProgramFilesDir")).ok().flatten();
        let known = known.as_ref().map(Value::as_text).filter(|path| !path.is_empty());
        PathBuf::from(known.unwrap_or(r"C:\Program Files"))
    }
}

/// Of RefreshPolicyEx: all policies, not only those that changed.
const RP_FORCE: u32 = 1;

/// Has the resolver's service read its settings, as VPN programs do.
fn tell_resolver() {
    let name = wide("Dnscache");
    // SAFETY: the name ends with zero and lives until the calls return, and so does the status; each handle is closed once, if there is one.
    unsafe {
        let manager = OpenSCManagerW(ptr::null(), ptr::null(), SC_MANAGER_CONNECT);
        if manager.is_null() {
            return;
        }
        let service = OpenServiceW(manager, name.as_ptr(), SERVICE_PAUSE_CONTINUE);
        if !service.is_null() {
            let mut status = SERVICE_STATUS::default();
            ControlService(service, SERVICE_CONTROL_PARAMCHANGE, &raw mut status);
            CloseServiceHandle(service);
        }
        CloseServiceHandle(manager);
    }
}

/// Answers that are kept from before. By the system's own program at its own place: the call behind it is not documented.
fn flush_answers() {
    let mut folder = [0_u16; MAX_NAME_LEN as usize];
    // SAFETY: at most as many units are written as the buffer has.
    let len = unsafe { GetSystemDirectoryW(folder.as_mut_ptr(), MAX_NAME_LEN) } as usize;
    let Some(folder) = folder.get(..len).filter(|folder| !folder.is_empty()) else {
        return;
    };
    let program = PathBuf::from(OsString::from_wide(folder)).join("ipconfig.exe");
    let _ = Command::new(program)
        .arg("/flushdns")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

#[cfg(test)]
mod tests;
