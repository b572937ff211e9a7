use std::{fs::OpenOptions, path::Path, sync::Arc};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::metering::{
    Journals, OpenCall, Writer, settled,
    tests::{call, clock, completed, now},
};

fn journal(folder: &Path) -> Writer {
    Journals::open(folder, 1, 1 << 20, now()).unwrap().writers.pop().unwrap()
}

#[tokio::test]
async fn a_call_on_record_goes_out_also_when_the_disk_takes_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let meter = Meter::new(Some(journal(folder.path())), clock());
    let (mut connection, mut provider, carried) = connect(&meter);
    let open = meter.start(call()).unwrap();
    meter.write().unwrap();
    meter.write_to(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let other = meter.start(call()).unwrap();
    carried.carries(open.event_id());
    connection.write_all(b"POST").await.unwrap();
    provider.read_exact(&mut [0; 4]).await.unwrap();
    assert!(open.is_recorded() && !other.is_recorded());
}

/// A connection, whose other end this is, and what it is told.
fn connect(meter: &Meter) -> (Recorded<DuplexStream>, DuplexStream, Carried) {
    let ((ours, provider), carried) = (tokio::io::duplex(64), Carried::default());
    (Recorded::new(ours, meter.clone(), carried.clone()), provider, carried)
}

#[tokio::test]
async fn r10_no_byte_goes_to_a_provider_before_the_call_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let on_disk = || settled::started(folder.path()).len();
    let meter = Meter::new(Some(journal(folder.path())), clock());
    let (mut connection, mut provider, carried) = connect(&meter);
    let open: Vec<OpenCall> = (0..3).map(|_| meter.start(call()).unwrap()).collect();
    assert_eq!(on_disk(), 0, "they wait for each other");
    carried.carries(open[1].event_id());
    connection.write_all(b"POST").await.unwrap();
    provider.read_exact(&mut [0; 4]).await.unwrap();
    assert_eq!(on_disk(), 3);
    assert!(open.iter().all(OpenCall::is_recorded));
    open.into_iter().for_each(|call| call.settle(completed(1), now()).at_once());

    // The same where it comes in pieces, as hyper writes it.
    let open = meter.start(call()).unwrap();
    assert_eq!(on_disk(), 3);
    carried.carries(open.event_id());
    let written = connection.write_vectored(&[IoSlice::new(b"PO"), IoSlice::new(b"ST")]).await.unwrap();
    assert_eq!(written, 4);
    provider.read_exact(&mut [0; 4]).await.unwrap();
    assert_eq!(on_disk(), 4);
    drop(open);
}

#[tokio::test]
async fn r10_a_connection_that_carries_no_call_lets_nothing_out() {
    let folder = tempfile::tempdir().unwrap();
    let meter = Meter::new(Some(journal(folder.path())), clock());
    let (mut connection, mut provider, carried) = connect(&meter);
    let open = meter.start(call()).unwrap();
    connection.write_all(b"POST").await.unwrap_err();
    let over = open.event_id();
    open.settle(completed(1), now()).at_once();
    carried.carries(over);
    connection.write_all(b"POST").await.unwrap_err();
    drop(connection);
    let mut heard = Vec::new();
    provider.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"");
}

#[tokio::test]
async fn r10_a_disk_that_takes_no_record_lets_nothing_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = journal(folder.path());
    let _good = writer.write_to(Arc::new(OpenOptions::new().write(true).open("/dev/full").unwrap()));
    let meter = Meter::new(Some(writer), clock());
    let (mut connection, mut provider, carried) = connect(&meter);
    let (mut another, mut elsewhere, of_another) = connect(&meter);
    let (open, with_it) = (meter.start(call()).unwrap(), meter.start(call()).unwrap());
    carried.carries(open.event_id());
    of_another.carries(with_it.event_id());
    connection.write_all(b"POST").await.unwrap_err();
    another.write_all(b"POST").await.expect_err("its record was lost with the first one's");
    assert!(!open.is_recorded() && !with_it.is_recorded());
    assert!(meter.start(call()).is_err(), "from now on, calls are refused before anything is made of them");
    drop((connection, another, open, with_it));
    for provider in [&mut provider, &mut elsewhere] {
        let mut heard = Vec::new();
        provider.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"");
    }
}
