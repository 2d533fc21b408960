//! Content: how it goes through, how it is held back, and how it ends.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::Poll;

use sheave_net::socket::{Liveness, Socket};
use sheave_sim::plan::Plan;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::rig::{Secured, calm, client, play, secured, server};

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

/// Writes all in one call as often as it takes, in parts of these lengths over and over.
async fn write_in_parts(socket: &mut Secured, bytes: &[u8], lengths: &[usize]) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        sent += poll_fn(|cx| {
            let mut rest = &bytes[sent..];
            let mut parts = Vec::new();
            for len in lengths.iter().cycle().take(40) {
                let (part, behind) = rest.split_at((*len).min(rest.len()));
                parts.push(IoSlice::new(part));
                rest = behind;
            }
            Pin::new(&mut *socket).poll_write_vectored(cx, &parts)
        })
        .await?;
    }
    socket.flush().await
}

async fn read_all(socket: &mut Secured, room: usize) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; room]);
    loop {
        match socket.read(&mut buffer).await? {
            0 => return Ok(all),
            len => all.extend_from_slice(&buffer[..len]),
        }
    }
}

#[test]
fn all_arrives_however_it_is_written_read_and_carried() {
    for (len, lengths, room, kernel) in [
        (0, &[1][..], 1, 0),
        (1, &[1], 1, 0),
        (300_000, &[300_000], 65_536, 0),
        (300_000, &[100, 20_000], 65_536, 3_000),
        (100_000, &[0, 1, 16_384, 0, 16_383, 16_385], 100, 0),
        (20_000, &[7], 1, 100),
        (70_000, &[65_535, 2], 16_384, 1_000),
    ] {
        let mut plan = Plan { seed: 5, spurious: 4, lag: 2, ..calm() };
        if kernel > 0 {
            (plan.buffers.send_bytes, plan.buffers.receive_bytes) = (kernel, kernel);
        }
        let sent = content(len);
        let (read, is_cut_off) = play(&plan, |net| {
            let sent = sent.clone();
            async move {
                let (mut ours, mut theirs) = secured(&net, &client(), &server(), "localhost").await;
                let write = async {
                    write_in_parts(&mut ours, &sent, lengths).await.unwrap();
                    ours.shutdown().await.unwrap();
                };
                let (_, read) = tokio::join!(write, read_all(&mut theirs, room));
                (read.unwrap(), theirs.is_cut_off())
            }
        });
        assert!(read == sent, "{len} {lengths:?} {room}: {} of {}", read.len(), sent.len());
        assert!(!is_cut_off, "{len} {lengths:?} {room}");
    }
}

/// What the kernel takes no more of is kept up to a bound; then nothing is taken.
#[test]
fn a_reader_that_rests_holds_the_writer_back() {
    let mut plan = calm();
    (plan.buffers.send_bytes, plan.buffers.receive_bytes) = (4_096, 4_096);
    play(&plan, |net| async move {
        let (mut ours, mut theirs) = secured(&net, &client(), &server(), "localhost").await;
        let bytes = content(300_000);
        let mut taken = 0;
        let is_held_back = poll_fn(|cx| match Pin::new(&mut ours).poll_write(cx, &bytes[taken..]) {
            Poll::Ready(written) => {
                taken += written.unwrap();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Ready(true),
        })
        .await;
        assert!(is_held_back && ours.has_unsent());
        assert!((147_456..170_000).contains(&taken), "{taken}");
        assert!((100_000..300_000).contains(&ours.buffer_bytes()), "{}", ours.buffer_bytes());
        let rest = async {
            ours.write_all(&bytes[taken..]).await.unwrap();
            ours.flush().await.unwrap();
            assert!(!ours.has_unsent());
            ours.shutdown_write().unwrap();
            ours.buffer_bytes()
        };
        let (owned, read) = tokio::join!(rest, read_all(&mut theirs, 1_000));
        assert!(read.unwrap() == bytes);
        assert_eq!(owned, 0, "what was kept is given back");
    });
}

/// FIN without a word is no end that anybody may rely on; RFC 8446 §6.1.
#[test]
fn the_end_is_announced_or_is_told_to_be_none() {
    for (how, is_cut_off, is_reset) in
        [("shutdown", false, false), ("drop", false, false), ("silent", true, false), ("abort", false, true)]
    {
        let (read, found, liveness) = play(&calm(), |net| async move {
            let (mut ours, mut theirs) = secured(&net, &client(), &server(), "localhost").await;
            ours.write_all(b"half").await.unwrap();
            assert_eq!(theirs.read(&mut [0; 10]).await.unwrap(), 4);
            match how {
                "shutdown" => ours.shutdown_write().unwrap(),
                "drop" => drop(ours),
                "silent" => {
                    // As a process that is killed does: the kernel says FIN, and nobody announces it.
                    ours.inner().shutdown_now().unwrap();
                    ours.set_abortive_close();
                    std::mem::forget(std::mem::replace(&mut ours, idle_stand_in(&net).await));
                }
                _ => {
                    ours.set_abortive_close();
                    drop(ours);
                }
            }
            let read = theirs.read(&mut [0; 10]).await;
            (read.map_err(|error| error.kind()), theirs.is_cut_off(), theirs.probe())
        });
        let expected = if is_reset { Err(io::ErrorKind::ConnectionReset) } else { Ok(0) };
        assert_eq!((read, found), (expected, is_cut_off), "{how}");
        // A reset is told once, by the kernel.
        assert_eq!(liveness, Liveness::Closed, "{how}");
    }
}

/// Another connection, to be put in the place of one that must not be dropped.
async fn idle_stand_in(net: &sheave_sim::net::SimNet) -> Secured {
    crate::rig::connected(net, &client(), &server(), "localhost").await.0
}

/// Nothing goes out behind `close_notify`, and what the peer still sends can be read.
#[test]
fn each_direction_ends_by_itself() {
    play(&calm(), |net| async move {
        let (mut ours, mut theirs) = secured(&net, &client(), &server(), "localhost").await;
        ours.write_all(b"question").await.unwrap();
        ours.shutdown_write().unwrap();
        assert_eq!(ours.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(read_all(&mut theirs, 100).await.unwrap(), b"question");
        theirs.write_all(b"answer").await.unwrap();
        theirs.shutdown_write().unwrap();
        assert_eq!(read_all(&mut ours, 100).await.unwrap(), b"answer");
        assert!(!ours.is_cut_off() && !theirs.is_cut_off());
    });
}

/// What lies in the socket after the last read is seen by whoever reads with less room.
#[test]
fn what_a_reader_had_no_room_for_is_read_next() {
    play(&calm(), |net| async move {
        let (mut ours, mut theirs) = secured(&net, &client(), &server(), "localhost").await;
        ours.write_all(b"abcdef").await.unwrap();
        let mut read = Vec::new();
        while read.len() < 6 {
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            poll_fn(|cx| Pin::new(&mut theirs).poll_read(cx, &mut buffer)).await.unwrap();
            read.extend_from_slice(buffer.filled());
            let expected = if read.len() < 6 { Liveness::Unasked } else { Liveness::Alive };
            assert_eq!(theirs.probe(), expected);
        }
        assert_eq!(read, b"abcdef");
        assert_eq!(theirs.buffer_bytes(), 0);
    });
}
