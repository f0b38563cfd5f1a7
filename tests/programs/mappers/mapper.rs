// Maps a file; obeys `load PAGE`, `store PAGE BYTE`, `sync`; answers `ok` or what it caught.
use std::io::BufRead;
use std::os::unix::io::AsRawFd;

extern "C" {
    fn mmap(start: *mut u8, size: usize, protection: i32, flags: i32, fd: i32, at: i64) -> *mut u8;
    fn msync(start: *mut u8, size: usize, flags: i32) -> i32;
}

const PAGE: usize = 4096;
const READ_WRITE: i32 = 3;
const SHARED: i32 = 1;
const SYNC: i32 = 4;

fn obey(memory: &mut [u8], words: &[&str]) -> String {
    let number = |at: usize| words[at].parse::<usize>().unwrap();
    match words[0] {
        "load" => return format!("ok {}", memory[number(1) * PAGE]),
        "store" => memory[number(1) * PAGE] = number(2) as u8,
        _ => {
            if unsafe { msync(memory.as_mut_ptr(), memory.len(), SYNC) } != 0 {
                return format!("caught {}", std::io::Error::last_os_error());
            }
        }
    }
    "ok".to_string()
}

fn main() {
    let path = std::env::args().nth(1).unwrap();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let size = file.metadata().unwrap().len() as usize;
    let memory = unsafe {
        let start = mmap(std::ptr::null_mut(), size, READ_WRITE, SHARED, file.as_raw_fd(), 0);
        std::slice::from_raw_parts_mut(start, size)
    };
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let obeys = std::panic::AssertUnwindSafe(|| obey(memory, &words));
        let answer = std::panic::catch_unwind(obeys);
        println!("{}", answer.unwrap_or("caught panic".to_string()));
    }
}
