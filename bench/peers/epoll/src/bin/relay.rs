//! What moving the bytes costs, and nothing else: epoll, one buffer, a connection to the origin for each client.
//!
//! `bench-relay-epoll LISTEN ORIGIN`. It parses nothing, limits nothing and times nothing out: no proxy can cost less.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::epoll::{self, EventData, EventFlags};

/// By descriptor.
type Ends = Vec<Option<Box<End>>>;

/// No descriptor has this number.
const LISTENER: usize = usize::MAX;

/// One socket, and what was read for it and is not written yet.
struct End {
    stream: TcpStream,
    other: usize,
    unsent: Vec<u8>,
    sent: usize,
    /// Bytes may wait here that were not read because the other side is full.
    may_have_more: bool,
    has_ended: bool,
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(origin)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: bench-relay-epoll LISTEN ORIGIN");
        std::process::exit(2);
    };
    let listener = TcpListener::bind(listen)?;
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER as u64), EventFlags::IN)?;
    let mut ends: Ends = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut events = Vec::with_capacity(512);
    loop {
        events.clear();
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let flags = event.flags;
            let Ok(id) = usize::try_from(event.data.u64()) else { continue };
            if id == LISTENER {
                while let Ok((client, _)) = listener.accept() {
                    // The origin is on this machine: its connection is there at once.
                    let Ok(origin) = TcpStream::connect(&origin) else { continue };
                    let (a, b) = (id_of(&client), id_of(&origin));
                    add(&poll, &mut ends, client, b)?;
                    add(&poll, &mut ends, origin, a)?;
                }
                continue;
            }
            // A pair that is over was told of twice in one batch.
            let Some(mut one) = ends[id].take() else { continue };
            let Some(mut other) = ends[one.other].take() else { continue };
            if relay(&mut one, &mut other, flags, &mut buffer).unwrap_or(false) {
                let its_id = one.other;
                ends[id] = Some(one);
                ends[its_id] = Some(other);
            }
        }
    }
}

fn id_of(stream: &TcpStream) -> usize {
    usize::try_from(stream.as_raw_fd()).unwrap_or(0)
}

fn add(poll: &OwnedFd, ends: &mut Ends, stream: TcpStream, other: usize) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let id = id_of(&stream);
    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(poll, &stream, EventData::new_u64(id as u64), flags)?;
    let end = End { stream, other, unsent: Vec::new(), sent: 0, may_have_more: false, has_ended: false };
    if ends.len() <= id {
        ends.resize_with(id + 1, || None);
    }
    ends[id] = Some(Box::new(end));
    Ok(())
}

/// Does what the event allows; false when the pair is over.
fn relay(one: &mut End, other: &mut End, flags: EventFlags, buffer: &mut [u8]) -> io::Result<bool> {
    if flags.contains(EventFlags::OUT) && !one.unsent.is_empty() {
        flush(one)?;
        if one.unsent.is_empty() && other.may_have_more && !pass(other, one, buffer, true)? {
            return Ok(false);
        }
    }
    let is_readable = EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
    if !flags.intersects(is_readable) {
        return Ok(true);
    }
    pass(one, other, buffer, flags.contains(EventFlags::RDHUP))
}

/// Reads from one and writes to the other, until nothing is there or nothing more is taken.
fn pass(from: &mut End, to: &mut End, buffer: &mut [u8], to_the_end: bool) -> io::Result<bool> {
    while to.unsent.is_empty() && !from.has_ended {
        from.may_have_more = false;
        match from.stream.read(buffer) {
            Ok(0) => {
                from.has_ended = true;
                to.stream.shutdown(Shutdown::Write)?;
            }
            Ok(len) => {
                let written = write(&mut to.stream, &buffer[..len])?;
                to.unsent.extend_from_slice(&buffer[written..len]);
                if len < buffer.len() && !to_the_end {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    from.may_have_more = !from.has_ended;
    Ok(!(from.has_ended && to.has_ended))
}

/// Writes as much as is taken now.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(len) => written += len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn flush(end: &mut End) -> io::Result<()> {
    end.sent += write(&mut end.stream, &end.unsent[end.sent..])?;
    if end.sent == end.unsent.len() {
        end.unsent = Vec::new();
        end.sent = 0;
    }
    Ok(())
}
