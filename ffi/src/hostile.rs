//! Configurations of C's in which anything may stand: refused with a message, or an election that can be ended.
//!
//! What a C programmer may not do at all (a text without its end, a pointer to nowhere) is left out.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

use crate::border::el_last_error;
use crate::config::el_config;
use crate::election::{el_free, el_start, el_stop};
use crate::event::el_event;
use crate::handle::el_election;
use crate::poll::{el_next, el_poll};
use crate::settings::{el_config_settings, el_effective};
use crate::status::{EL_INVALID, EL_OK};
use crate::truth::{el_is_leader, el_time_left_ms, el_token};

/// In no message, wherever it was written by mistake.
const PASSWORD: &str = "Planted-Swordfish-6";
const SIZE: usize = size_of::<el_config>();
/// As many bytes as any size that is read.
const ROOM: usize = 4096;
const MAX_ENDPOINTS: u32 = 64;

/// A text of C's, or NULL.
type Text = Option<Vec<u8>>;

#[derive(Clone, Debug)]
struct Given {
    endpoints: Option<Vec<Text>>,
    /// In the place of the true count; only where the array is not read.
    count: Option<u32>,
    key: Text,
    name: Text,
    has_callback: bool,
    numbers: [u32; 5],
    choices: [i32; 2],
    access: [Text; 9],
    size: usize,
    /// A byte behind what this version knows, at this place.
    tail: Option<(usize, u8)>,
    has_place: bool,
}

fn a_text(good: &'static str) -> impl Strategy<Value = Text> {
    prop_oneof![
        12 => Just(Some(good.as_bytes().to_vec())),
        1 => Just(None),
        1 => Just(Some(Vec::new())),
        1 => vec(1..=255u8, 0..40).prop_map(Some),
        1 => prop_oneof![Just(1024), Just(1025), Just(200_000)].prop_map(|length| Some(vec![b'k'; length])),
        1 => Just(Some(PASSWORD.as_bytes().to_vec())),
        1 => Just(Some(vec![b'a', 0xff, 0xfe])),
    ]
}

fn seldom(good: &'static str) -> impl Strategy<Value = Text> {
    prop_oneof![14 => Just(None), 1 => a_text(good)]
}

fn a_number(most: u32) -> impl Strategy<Value = u32> {
    prop_oneof![12 => Just(0), 4 => 0..=most, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn a_choice() -> impl Strategy<Value = i32> {
    prop_oneof![12 => 0..4, 1 => any::<i32>(), 1 => Just(i32::MIN)]
}

fn given() -> impl Strategy<Value = Given> {
    let url =
        || prop_oneof![9 => a_text("http://127.0.0.1:1"), 1 => a_text("http://root:Planted-Swordfish-6@127.0.0.1:1")];
    let urls = prop_oneof![
        9 => vec(url(), 1..3).prop_map(Some), 1 => Just(None), 1 => Just(Some(Vec::new())), 1 => vec(url(), 64..66).prop_map(Some),
    ];
    let count = prop_oneof![12 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(65)), 1 => Just(Some(u32::MAX))];
    let numbers = [a_number(310), a_number(6_000), a_number(3_000), a_number(3_000), a_number(4_000_000)];
    let login = prop_oneof![
        6 => Just((None, None)), 3 => (a_text("host-1"), a_text(PASSWORD)),
    ];
    let files = [seldom("/nowhere.pem"), seldom("-----BEGIN PRIVATE KEY-----"), seldom("/dev/zero")];
    let pems = [seldom(PASSWORD), seldom("-----BEGIN CERTIFICATE-----"), seldom("etcd"), seldom("etcd")];
    let access = (login, files, pems).prop_map(|((username, password), files, pems)| {
        let [one, two, three] = files;
        let [four, five, six, seven] = pems;
        [username, password, one, two, three, four, five, six, seven]
    });
    let size = prop_oneof![
        12 => Just(SIZE), 2 => (0..ROOM / 8).prop_map(|words| words * 8), 1 => 0..ROOM,
        1 => prop_oneof![Just(0), Just(ROOM + 8), Just(usize::MAX), Just(usize::MAX - 7)], 2 => Just(SIZE + 8),
    ];
    let tail = prop_oneof![6 => Just(None), 1 => (SIZE..ROOM, any::<u8>()).prop_map(Some)];
    let choices = [a_choice(), a_choice()];
    let texts = (a_text("/jobs/nightly"), a_text("one"));
    let odd = (prop_oneof![15 => Just(true), 1 => Just(false)], prop_oneof![15 => Just(true), 1 => Just(false)]);
    (urls, count, texts, numbers, choices, access, size, tail, odd).prop_map(
        |(endpoints, count, (key, name), numbers, choices, access, size, tail, (has_callback, has_place))| Given {
            endpoints,
            count,
            key,
            name,
            has_callback,
            numbers,
            choices,
            access,
            size,
            tail,
            has_place,
        },
    )
}

unsafe extern "C-unwind" fn on_event(event: *const el_event, _: *mut c_void) {
    assert!(!event.is_null());
}

/// The texts with their ends, for as long as C's pointers are used.
#[derive(Default)]
struct Texts(Vec<Vec<u8>>);

impl Texts {
    fn of(&mut self, text: &Text) -> *const c_char {
        let Some(text) = text else { return null() };
        self.0.push(text.iter().copied().chain([0]).collect());
        self.0.last().map_or(null(), |kept| kept.as_ptr().cast())
    }
}

fn try_it(given: &Given) {
    let mut texts = Texts::default();
    let array: Option<Vec<_>> = given.endpoints.as_ref().map(|urls| urls.iter().map(|url| texts.of(url)).collect());
    let count = array.as_ref().map_or(0, |array| u32::try_from(array.len()).expect("few"));
    // More than there are is said only where the array is not read.
    let said = given.count.filter(|said| array.is_none() || *said == 0 || *said > MAX_ENDPOINTS).unwrap_or(count);
    let [ttl_s, renew_ms, step_down_ms, request_timeout_ms, stop_timeout_ms] = given.numbers;
    let access = given.access.each_ref().map(|text| texts.of(text));
    let config = el_config {
        endpoints: array.as_ref().map_or(null(), |array| array.as_ptr()),
        key: texts.of(&given.key),
        name: texts.of(&given.name),
        on_event: given.has_callback.then_some(on_event as unsafe extern "C-unwind" fn(*const el_event, *mut c_void)),
        user_data: null_mut(),
        endpoint_count: said,
        api: given.choices[0],
        ttl_s,
        renew_ms,
        step_down_ms,
        request_timeout_ms,
        stop_timeout_ms,
        on_store_reset: given.choices[1],
        username: access[0],
        password: access[1],
        ca_file: access[2],
        cert_file: access[3],
        key_file: access[4],
        ca_pem: access[5],
        cert_pem: access[6],
        key_pem: access[7],
        tls_server_name: access[8],
        queue: null_mut(),
    };
    let mut room = vec![config; ROOM.div_ceil(SIZE)];
    let bytes = room.as_mut_ptr().cast::<u8>();
    // SAFETY: the room has more than ROOM bytes, which are all written before and may be anything behind the first.
    unsafe {
        bytes.add(SIZE).write_bytes(0, ROOM - SIZE);
        if let Some((at, byte)) = given.tail {
            bytes.add(at).write(byte);
        }
    }
    let mut effective = std::mem::MaybeUninit::<el_effective>::uninit();
    // SAFETY: there are as many bytes as any size says that is read, and all texts live and have their ends.
    let checked =
        unsafe { el_config_settings(room.as_ptr(), given.size, effective.as_mut_ptr(), size_of::<el_effective>()) };
    let mut election: *mut el_election = null_mut();
    let place = if given.has_place { &raw mut election } else { null_mut() };
    // SAFETY: there are as many bytes as any size says that is read, and all texts live and have their ends.
    let status = unsafe { el_start(room.as_ptr(), given.size, place) };
    if status == EL_OK {
        assert_eq!(checked, EL_OK);
        // Nothing of it is needed any more.
        drop((texts, array, room));
        assert!(!election.is_null());
        // SAFETY: a handle that was started and not freed.
        unsafe {
            assert_eq!((el_is_leader(election), el_token(election), el_time_left_ms(election)), (0, 0, 0));
            if given.has_callback {
                assert!(el_poll(election, 0) >= 0);
            } else {
                assert_eq!(el_poll(election, 0), EL_INVALID);
                let mut event = std::mem::MaybeUninit::<el_event>::uninit();
                assert!(el_next(election, 0, event.as_mut_ptr(), size_of::<el_event>()) >= 0);
            }
            el_stop(election);
            assert_eq!(el_free(election), EL_OK);
        }
        return;
    }
    assert_eq!(status, EL_INVALID);
    assert!(election.is_null());
    // SAFETY: the text is this thread's, and nothing fails meanwhile.
    let why = unsafe { CStr::from_ptr(el_last_error()) }.to_str().expect("UTF-8");
    assert!(
        !why.is_empty() && why.len() < 16_384 && !why.contains(char::is_control),
        "{} bytes: {why:.300}",
        why.len()
    );
    let is_shown = |text: &Text| text.as_deref() == Some(PASSWORD.as_bytes());
    // What is shown anyway: key, name and user, files, endpoints without a user, and the name of the servers.
    let urls = given.endpoints.iter().flatten();
    let shown = [&given.key, &given.name, &given.access[0], &given.access[8]].into_iter().chain(&given.access[2..5]);
    let mut shown = shown.chain(urls);
    assert!(shown.any(is_shown) || !why.contains(PASSWORD), "{why}");
}

/// The verdict is given, not thrown: the library silences panics.
#[test]
fn any_configuration_of_cs_is_refused_with_a_message_or_can_be_ended() -> Result<(), Box<TestError<Given>>> {
    let cases = std::env::var("PROPTEST_CASES").map_or(2_000, |cases| cases.parse().expect("a number"));
    let seed = std::env::var("PROPTEST_RNG_SEED").map_or(0, |seed| seed.parse().expect("a number"));
    let config = Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    let verdict = TestRunner::new(config).run(&given(), |given| {
        try_it(&given);
        Ok(())
    });
    verdict.map_err(Box::new)
}

/// Each combination of pointers that are NULL.
#[test]
fn whatever_is_null_is_refused_with_a_message_or_left_out() {
    let good = |text: &str| Some(text.as_bytes().to_vec());
    for nulls in 0..16u32 {
        let unless = |bit: u32, text: Text| if nulls & (1 << bit) == 0 { text } else { None };
        try_it(&Given {
            endpoints: if nulls & 8 == 0 { Some(vec![unless(2, good("http://127.0.0.1:1"))]) } else { None },
            count: None,
            key: unless(0, good("/jobs")),
            name: unless(1, good("one")),
            has_callback: true,
            numbers: [0; 5],
            choices: [0; 2],
            access: std::array::from_fn(|_| None),
            size: SIZE,
            tail: None,
            has_place: true,
        });
    }
    let mut election: *mut el_election = null_mut();
    for size in [0, SIZE, usize::MAX] {
        // SAFETY: NULL is refused before it is read.
        assert_eq!(unsafe { el_start(null(), size, &raw mut election) }, EL_INVALID);
    }
}
